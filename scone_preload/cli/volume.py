"""scone-volume: makes, opens up, fills and measures volumes (docs/volume.md); reading them is volume_read.py's.

No passphrase is ever taken from the command line, where every user of the machine could read it.
"""

import sys
from collections.abc import Callable

from scone_preload import __version__
from scone_preload.cli import volume_read
from scone_preload.cli.command_completion import SHELLS, completion
from scone_preload.cli.command_line import CommandLine
from scone_preload.cli.command_main import status_of
from scone_preload.cli.volume_changes import create, rekey
from scone_preload.cli.volume_filling import bench, import_tree
from scone_preload.cli.volume_session import Session, say, show
from scone_preload.cli.volume_table import ENDING, EVERYWHERE, INTRODUCTION, OWN
from scone_preload.errors import UserError

COMMANDS: dict[str, Callable[[Session], None]] = {
    "create": create,
    "rekey": rekey,
    "import": import_tree,
    "bench": bench,
    **volume_read.COMMANDS,
}
LINE = CommandLine("scone-volume", OWN + volume_read.ROWS, EVERYWHERE, INTRODUCTION, ENDING)


def run(argv: list[str]) -> None:
    """Run one command line; raise SconeError."""
    given = LINE.parse(argv)
    if "--help" in given.options:
        show(LINE.help_text())
    elif "--version" in given.options:
        show(f"scone-volume {__version__}\n")
    elif "--print-completion" in given.options:
        shell = given.options["--print-completion"]
        if shell not in SHELLS:
            raise UserError("unknown shell", shell, f"use one of: {', '.join(SHELLS)}; {LINE.see_help}")
        show(completion(LINE, shell))
    else:
        with Session(given) as session:
            COMMANDS[given.command](session)
    sys.stdout.flush()


def main() -> int:
    """Run the command line of this process."""
    return status_of(run, say)


if __name__ == "__main__":
    sys.exit(main())
