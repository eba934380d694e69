"""The flags of scone-wrap that say what a policy could: each becomes the TOML that means the same.

So a flag can say nothing that a file couldn't, and is checked by the same rules.
"""

from collections.abc import Callable
from posixpath import join, normpath

from scone_preload.policy.document import Source
from scone_preload.policy.problem import Problem, Where
from scone_preload.policy.quoting import quote

Flag = tuple[str, str | None]  # ("--tls", "6379"): the name, and its value if it has one

STRICT = """\
files.unlisted = "refuse"
network.unlisted = "refuse"
environment.unlisted = "drop"
arguments.unlisted = "refuse"
exec.unlisted = "refuse"
calls.unlisted = "EPERM"
"""


def absolute(path: str, cwd: str) -> str:
    """Return a path that was given on the command line, from the root on."""
    return "/" + normpath(join(cwd, path)).lstrip("/")


def _split(value: str, mark: str, form: str) -> tuple[str, str]:
    left, found, right = value.rpartition(mark) if mark == ":" else value.partition(mark)
    if not found or not left or not right:
        raise ValueError(form)
    return left, right


def _data(value: str, cwd: str) -> str:
    return f'[[volume]]\npath = {quote(absolute(value, cwd))}\nmode = "encrypt"\n'


def _volume(value: str, cwd: str) -> str:
    path, mode = _split(value, ":", "PATH:MODE")
    return f"[[volume]]\npath = {quote(absolute(path, cwd))}\nmode = {quote(mode)}\n"


def _tls(value: str, cwd: str) -> str:
    port = str(int(value)) if value.isascii() and value.isdigit() and len(value) < 9 else quote(value)
    return f'[[network.listen]]\nport = {port}\nshield = "tls"\n'


def _secret(value: str, cwd: str) -> str:
    path, source = _split(value, "=", "PATH=FROM")
    return f"[[secret]]\npath = {quote(path)}\nfrom = {quote(source)}\n"


def _environment(value: str, cwd: str) -> str:
    name, equals, text = value.partition("=")
    if equals:
        return f"environment.set = {{ {quote(name)} = {quote(text)} }}\n"
    return f"environment.pass = [{quote(name)}]\n"


def _deny(value: str, cwd: str) -> str:
    call, _, error = value.partition("=")
    return f"calls.deny = {{ {quote(call)} = {quote(error or 'EPERM')} }}\n"


def _route(value: str, cwd: str) -> str:
    call, route = _split(value, "=", "CALL=ROUTE")
    return f"calls.route = {{ {quote(call)} = {quote(route)} }}\n"


def _route_all(value: str, cwd: str) -> str:
    return f'calls.route = {{ "*" = {quote(value)} }}\n'


def _handlers(value: str, cwd: str) -> str:
    return f"handlers.file = {quote(absolute(value, cwd))}\n"


FRAGMENTS: dict[str, Callable[[str, str], str]] = {
    "--data": _data,
    "--volume": _volume,
    "--tls": _tls,
    "--secret": _secret,
    "--env": _environment,
    "--deny": _deny,
    "--route": _route,
    "--route-all": _route_all,
    "--handlers": _handlers,
    "--preset": lambda value, cwd: f"preset = {quote(value)}\n",
    "--strict": lambda value, cwd: STRICT,
}


def flag_source(flag: Flag, cwd: str) -> Source | Problem:
    """Return the TOML that one flag stands for, or what is wrong with its form."""
    name, value = flag
    shown = name if value is None else f"{name} {value}"
    try:
        return Source(shown, FRAGMENTS[name](value or "", cwd).encode(), is_file=False)
    except UnicodeEncodeError:
        return Problem(Where(name), "not UTF-8", "policies can name what is UTF-8 only")
    except ValueError as error:
        return Problem(Where(shown), "value has not its form", f"write {name} {error}")
