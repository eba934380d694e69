"""The spec against the machine's headers, and against what the rest of the project relies on."""

import errno
import re
from pathlib import Path

import pytest

from scone_preload.spec import Spec, load
from scone_preload.spec.model import Exit, ResultKind, Route, Struct
from tests.spec.kernel import GLIBC, LINUX, NO_SUCH_FIELD, RENAMED, accepts, assertion, defined_equal

UNISTD = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
SPEC = load()
BY_NAME = {call.name: call for call in SPEC.calls}


def test_every_syscall_of_the_machines_headers_has_its_row_and_number() -> None:
    numbers = {name: int(nr) for name, nr in re.findall(r"#define __NR_(\w+) (\d+)", UNISTD.read_text())}
    assert len(numbers) > 350
    assert {name: BY_NAME[name].nr for name in numbers} == numbers


def test_no_number_between_0_and_334_or_424_and_469_is_left_out() -> None:
    assert {call.nr for call in SPEC.calls} == {*range(337), *range(424, 470)}


def test_errnos_are_those_of_python_and_the_kernel() -> None:
    ours = SPEC.errno_numbers
    aliases = {"EDEADLOCK", "EWOULDBLOCK", "ENOTSUP"}
    theirs = {name: nr for nr, name in errno.errorcode.items() if name not in aliases and nr <= 133}
    assert {name: nr for name, nr in ours.items() if name != "EHWPOISON"} == {
        {"ENOTSUP": "EOPNOTSUPP"}.get(name, name): nr for name, nr in theirs.items() if name != "EHWPOISON"
    } | {"EOPNOTSUPP": 95, "EDEADLK": 35, "EAGAIN": 11}


def test_every_errno_set_holds_what_any_call_may_say() -> None:
    common = SPEC.errno_sets["COMMON"]
    for needed in ("EPERM", "EACCES", "ENOSYS", "EINTR", "EIO", "ENOMEM", "EFAULT", "EINVAL", "EBADF", "EAGAIN"):
        assert SPEC.errno_numbers[needed] in common
    for name, members in SPEC.errno_sets.items():
        assert common <= members, name


def test_socket_calls_may_fail_with_every_network_error() -> None:
    network = set(range(SPEC.errno_numbers["ENOTSOCK"], SPEC.errno_numbers["EINPROGRESS"] + 1))
    for name in ("socket", "connect", "accept4", "sendto", "recvmsg", "getsockopt", "read", "write", "shutdown"):
        assert network <= BY_NAME[name].errnos, name


def test_nothing_that_the_ring_can_not_carry_leaves_by_it() -> None:
    for name in ("connect", "listen", "socketpair", "bind", "fcntl", "ioctl", "vmsplice", "chdir", "signalfd4"):
        assert (BY_NAME[name].route, BY_NAME[name].exit) == (Route.HOST, Exit.GATE), name
    for name in ("kill", "wait4", "setsid", "futex", "mmap", "clone3", "timer_create", "prctl", "getpid", "setuid"):
        assert BY_NAME[name].route is Route.INSIDE, name
    for name in ("read", "write", "accept4", "openat", "newfstatat", "epoll_wait", "sendfile", "fsync"):
        assert (BY_NAME[name].route, BY_NAME[name].exit) == (Route.HOST, Exit.ANY), name


def test_what_could_go_past_the_boundary_is_denied_with_a_reason() -> None:
    for name in ("io_uring_setup", "io_submit", "ptrace", "process_vm_writev", "bpf", "kexec_load", "init_module"):
        assert BY_NAME[name].route is Route.DENY, name
    for call in (*SPEC.calls, *(one for rows in SPEC.tables.values() for one in rows)):
        if call.route is Route.DENY:
            assert call.deny_reason, call.name
            assert call.deny_errno, call.name


def test_what_the_shim_is_made_of_can_not_be_changed_by_the_program() -> None:
    options = {option.name: option for option in SPEC.tables["prctl"]}
    assert options["PR_SET_SYSCALL_USER_DISPATCH"].route is Route.DENY
    assert options["PR_SET_SECCOMP"].route is Route.DENY


def test_commands_of_a_multiplexer_need_no_bound() -> None:
    bounded = {ResultKind.AT_MOST, ResultKind.AT_MOST_SUM, ResultKind.COUNT}
    assert not [one.name for rows in SPEC.tables.values() for one in rows if one.result.kind in bounded]


def struct_assertions(struct: Struct, c_type: str) -> str:
    lines = [assertion(f"sizeof({c_type}) == {struct.size}")]
    for field in struct.fields:
        name = field.name
        if any(part.startswith(NO_SUCH_FIELD) for part in name.split(".")):
            continue
        path = RENAMED.get(f"{struct.name}.{name}", name)
        lines.append(assertion(f"offsetof({c_type}, {path}) == {field.offset}"))
        if f"{struct.name}.{name}" not in RENAMED:
            lines.append(assertion(f"sizeof((({c_type} *)0)->{path}) == {field.size}"))
    return "".join(lines)


@pytest.mark.parametrize("name", [*GLIBC, *LINUX])
def test_structs_are_laid_out_as_in_the_machines_headers(name: str, tmp_path: Path) -> None:
    c_type, header = (GLIBC | LINUX)[name]
    assert accepts(tmp_path, [header], struct_assertions(SPEC.structs[name], c_type)) == ""


def table_assertions(spec: Spec, table: str) -> str:
    return "".join(defined_equal(command.name, command.nr & 0xFFFFFFFF) for command in spec.tables[table])


@pytest.mark.parametrize(
    ("table", "headers"),
    [
        ("ioctl", ["linux/fs.h", "linux/sockios.h", "asm/ioctls.h", "asm/termbits.h"]),
        ("fcntl", ["linux/fcntl.h"]),
        ("prctl", ["linux/prctl.h"]),
        ("sockopt", ["sys/socket.h", "netinet/in.h", "netinet/tcp.h"]),
    ],
)
def test_commands_have_the_numbers_of_the_machines_headers(table: str, headers: list[str], tmp_path: Path) -> None:
    assert accepts(tmp_path, headers, table_assertions(SPEC, table)) == ""
    names = [command.name for command in SPEC.tables[table]]
    wrong = assertion(f"(unsigned long)({names[0]}) == 0x12345")
    assert accepts(tmp_path, headers, wrong) != "", "the witness accepts anything"


def test_flag_names_have_the_values_of_the_machines_headers(tmp_path: Path) -> None:
    headers = ["fcntl.h", "sched.h", "sys/socket.h", "sys/mman.h", "linux/fs.h", "linux/futex.h", "sys/epoll.h"]
    headers += ["sys/resource.h", "signal.h", "sys/wait.h", "time.h", "linux/falloc.h", "linux/memfd.h", "sys/file.h"]
    flags = {name: value for table in SPEC.flag_names.values() for name, value in table.items()}
    hidden = ("_MASK", "O_LARGEFILE", "PROT_NONE", "FUTEX_FD")
    body = "".join(defined_equal(name, value) for name, value in flags.items() if name not in hidden)
    body = body.replace("(unsigned long)(", "(unsigned int)(").replace("UL)", "U)")
    assert accepts(tmp_path, headers, body) == ""
