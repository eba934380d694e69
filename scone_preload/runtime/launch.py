"""Starts a program wrapped: finds it, gets its shim, puts the runtime host in the background, becomes the program.

The process that called scone-wrap executes the program itself, so its exit status, signals, job control and terminal
are native. The runtime host is a grandchild, given away to init, with a session of its own.

What a warm start imports is kept small: `signal`, `socket` and `typing` would cost 12 ms of each, so their bare parts
are used.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the type stubs lack it
import errno
import os
import sys
from _socket import AF_UNIX, SO_PASSCRED, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socket, socketpair

from scone_preload.build.provide import provide_shim
from scone_preload.errors import BinaryNotFound, BinaryRefused, MachineLacks, UserError
from scone_preload.log import LOG
from scone_preload.options import Options
from scone_preload.runtime.detaching import detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from scone_preload.runtime.governed import Start

SHIM_VARIABLE = b"SCONE_SHIM"
PRELOAD_VARIABLE = b"LD_PRELOAD"
SHELL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # what shells search without PATH
# No program gets these:
PRIVATE = {b"SCONE_KEYS_PASSPHRASE", b"SCONE_KEYS_NEW_PASSPHRASE", b"SCONE_KEYS_BACKUP_PASSPHRASE",
           b"SCONE_VOLUME_PASSPHRASE", b"SCONE_VOLUME_NEW_PASSPHRASE"}  # fmt: skip
CHANGED_BY_PYTHON = (_signal.SIGPIPE, _signal.SIGXFSZ)  # ignored by every Python process
OLDEST_KERNEL = (5, 11)  # the first with Syscall User Dispatch; x86-64 kernels can't be built without it


def launch(options: Options) -> NoReturn:
    """Become the program that `options` names, wrapped; raise SconeError when that can't be."""
    check_kernel(os.uname().release)
    environment = given_environment()
    private = PRIVATE & environment.keys()
    if private:
        from scone_preload.keys.memory import forget_variables  # lazy: ctypes, and few starts have such variables

        forget_variables(environment, private)
    path = options.path or find_binary(options.binary, os.fsdecode(environment.get(b"PATH", os.fsencode(SHELL_PATH))))
    check_registered(path)
    nonce = int.from_bytes(os.urandom(8), "little") >> 1
    start = None
    if options.policy or options.flags or options.learn:
        from scone_preload.runtime.governed import prepare  # lazy: only a start with a policy

        start, environment = prepare(options, path, environment, nonce)
    environment = {name: value for name, value in environment.items() if name not in private}
    shim = provide_shim(path, environment)
    trace_fd = _open_reports(options)
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    theirs.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
    alive_fd, alive_end = os.pipe()
    os.fchmod(alive_fd, 0o444)  # each process opens it anew, whoever it has become
    if start is not None:
        start.pin(path, shim, environment)
    _start_host(options, theirs, ours, (trace_fd, alive_end), start)
    os.close(alive_end)
    control_fd = os.dup(ours.fileno())
    os.set_inheritable(control_fd, True)
    os.set_inheritable(alive_fd, True)
    _restore_signals()
    given = {"has_policy": start is not None, "has_volumes": bool(start and start.volumes)}
    variable = options.shim_variable(control_fd, alive_fd, nonce, **given)
    _become(path, options, wrapped_environment(environment, held(shim), variable))


def check_kernel(release: str) -> None:
    """Raise MachineLacks for a kernel too old to catch every syscall."""
    numbers = [part for part in release.replace("-", ".").split(".")[:2] if part.isdigit()]
    if tuple(map(int, numbers)) < OLDEST_KERNEL:
        raise MachineLacks("kernel without Syscall User Dispatch", f"Linux {release}", "use Linux 5.11 or newer")


def check_registered(path: str) -> None:
    """Raise BinaryRefused for a file that the kernel would run by a format of binfmt_misc."""
    with open("/proc/self/mountinfo", "rb") as file:
        if b" - binfmt_misc " not in file.read():
            return
    from scone_preload.runtime.registered import check_start  # lazy: few machines have registrations

    check_start(path)


def find_binary(name: str, search_path: str) -> str:
    """Return the file that a shell would run for `name`; raise BinaryNotFound or BinaryRefused."""
    if "/" in name:
        return _check_file(name)
    refused = None
    for folder in search_path.split(":") if name else ():
        try:
            return _check_file(f"{folder or '.'}/{name}")
        except BinaryRefused as error:
            refused = refused or error
        except BinaryNotFound:
            continue
    raise refused or BinaryNotFound("command not found", name, "install it, or write its path")


def _check_file(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise BinaryNotFound("no such file", path, "check the path") from None
        raise BinaryRefused("file can't be reached", path, f"{error.strerror}; check the path's permissions") from None
    if status.st_mode & 0o170000 == 0o040000:
        raise BinaryRefused("not a program", path, "it is a directory; name a program in it")
    if not os.access(path, os.X_OK, effective_ids=True):
        raise BinaryRefused("permission denied", path, "make it executable for this user (chmod +x)")
    return path


def given_environment() -> dict[bytes, bytes]:
    """Return the environment as this process was given it: Python itself may have added LC_CTYPE to os.environ."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError as error:
        raise MachineLacks("/proc can't be read", str(error), "mount /proc") from None
    environment: dict[bytes, bytes] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            environment.setdefault(name, value)
    return environment


def held(shim: str) -> str:
    """Open the shim's file for the loader and return the name by which it is reached; the new image closes it.

    A loader that can't open a preload goes on without it: this one can't vanish, or be replaced, before it looks.
    """
    try:
        fd = os.open(shim, os.O_RDONLY)
    except OSError as error:
        raise MachineLacks("shim can't be read", shim, f"{error.strerror}; start again") from None
    os.set_inheritable(fd, True)
    return f"/proc/self/fd/{fd}"


def wrapped_environment(given: dict[bytes, bytes], shim: str, variable: str) -> dict[bytes, bytes]:
    """Return what the program is started with: the shim before the user's own preloads, SCONE_SHIM last."""
    environment = {name: value for name, value in given.items() if name != SHIM_VARIABLE}
    own = environment.get(PRELOAD_VARIABLE)
    environment[PRELOAD_VARIABLE] = os.fsencode(shim) + (b":" + own if own is not None else b"")
    environment[SHIM_VARIABLE] = variable.encode()
    return environment


def _open_reports(options: Options) -> int:
    """Open the trace's file (-1: none), and see that the statistics' file can be written at the end."""
    if options.stats:
        options.stats = os.path.abspath(options.stats)
        if not os.access(os.path.dirname(options.stats), os.W_OK):
            raise UserError("can't write the statistics", options.stats, "name a file in a folder you can write to")
    if options.stats_socket:
        from scone_preload.runtime.stats_socket import listen  # lazy: rarely wanted

        options.stats_socket = os.path.abspath(options.stats_socket)
        options.stats_fd = listen(options.stats_socket)
    if not options.trace:
        return -1
    try:
        return os.open(options.trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    except OSError as error:
        raise UserError("can't write the trace", options.trace, f"{error.strerror}; name another file") from None


def _start_host(
    options: Options, control: socket, program_end: socket, more: tuple[int, int], start: Start | None
) -> None:
    """Fork the runtime host away: a grandchild of its own session, so that no wait() of the program meets it.

    `more`: the trace's descriptor, and the end of a pipe that is open as long as the host lives.

    Signals stay blocked until the host has turned them off for itself, so that a Ctrl-C can't end it half-born.
    """
    program_fd = os.pidfd_open(os.getpid())
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        child = _fork()
        if child == 0:
            program_end.close()
            _be_host(options, control, program_fd, more, start)
        if os.waitpid(child, 0)[1] != 0:
            raise MachineLacks("no process for the runtime host", options.binary, "raise the limit (ulimit -u)")
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise MachineLacks("no process for the runtime host", str(error), "raise the limit (ulimit -u)") from None


def _be_host(
    options: Options, control: socket, program_fd: int, more: tuple[int, int], start: Start | None
) -> NoReturn:
    status = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        control_fd = control.detach()
        volumes = start.volumes if start is not None else []
        held = {fd for one in volumes for fd in one.held}
        error_fd = detach({control_fd, program_fd, *more, *held, options.stats_fd, LOG.fd})
        for one in volumes:
            one.taken_over()
        authority, waiting = None, []
        if start is not None:
            from scone_preload.runtime.first import answer_first  # lazy: only a start with a policy
            from scone_preload.runtime.governed import Authority

            authority = Authority(options, start)
            if authority.answers_first:
                waiting = answer_first(control_fd, authority, start.plan)
        from scone_preload.runtime.host import run_host  # lazy: only the host needs it, off the start's path

        status = run_host(options, control_fd, program_fd, error_fd, *more, authority, waiting)
    finally:
        kind, error, trace = sys.exc_info()
        if kind and error:
            sys.excepthook(kind, error, trace)
        os._exit(status)


def _restore_signals() -> None:
    """Give the program the dispositions that this process was started with."""
    ignored = sys._xoptions.get("scone_ignored", "")
    mask = int(ignored, 16) if isinstance(ignored, str) and ignored else 0
    for number in CHANGED_BY_PYTHON:
        if not mask >> (number - 1) & 1:
            _signal.signal(number, _signal.SIG_DFL)


def _become(path: str, options: Options, environment: dict[bytes, bytes]) -> NoReturn:
    try:
        os.execve(path, [options.binary, *options.arguments], environment)
    except OSError as error:
        raise BinaryRefused("can't be executed", path, str(error.strerror)) from None
