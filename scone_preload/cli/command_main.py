"""How the tools with commands end: whatever goes wrong is one line and an exit status."""

import os
import sys
from collections.abc import Callable

from scone_preload.errors import InternalError, SconeError


def status_of(run: Callable[[list[str]], None], say: Callable[[str], None]) -> int:
    """Run the command line of this process, tell what went wrong, and return the exit status."""
    try:
        run(sys.argv[1:])
    except SconeError as error:
        say(str(error))
        return error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except (KeyboardInterrupt, EOFError):
        say("given up")
        return 130
    except Exception as error:
        if os.environ.get("SCONE_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        problem = InternalError("internal error", what, "please report it, with the output of SCONE_DEBUG=1")
        say(str(problem))
        return problem.exit_status
    return 0
