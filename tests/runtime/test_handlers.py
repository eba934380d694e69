"""The user's handlers: what they answer and get, and that whatever they do wrong denies, closed, and says where."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from scone_preload.errors import UserError
from scone_preload.handlers import Answer, Call, allow, deny, file, handles, result
from scone_preload.runtime.handling import Handling, check_handlers, load_handlers, never_asked, where_thread
from tests.helpers.modes import WRAPPED, Mode, warm
from tests.helpers.processes import nothing_left_behind, run
from tests.runtime.probing import Probed, Prober

HEAD = "from scone_preload.handlers import *\nfrom scone_preload.handlers import handles, deny, file, result, allow\n"
KILL = '[calls]\nroute.kill = "runtime"\nroute.open = "runtime"\nroute.stat = "runtime"\nroute.getppid = "runtime"\n'


def ask(prober: Prober, code: str, *calls: str, mode: Mode = Mode.SYNC, policy: str = KILL, more: str = "") -> Probed:
    """Make calls under handlers of this code, from its line 3 on."""
    path = prober.place / "handlers.py"
    path.write_text(HEAD + code)
    return prober.ask(mode, policy + f'[handlers]\nfile = "{path}"\n' + more, *calls)


ANSWERS = {
    "nothing": ("return None", "0"),
    "allow": ("return allow()", "0"),
    "deny": ("return deny('ESRCH')", "ESRCH"),
    "deny by number": ("return deny(11)", "EAGAIN"),
    "a result": ("return result(0)", "0"),
    "an errno as a result": ("return result(-3)", "ESRCH"),
}


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ANSWERS)
def test_a_handler_answers(name: str, mode: Mode, prober: Prober) -> None:
    line, expected = ANSWERS[name]
    probed = ask(prober, f"@handles('kill')\ndef f(call): {line}\n", "kill", mode=mode)
    assert (probed.results, probed.err) == ([expected], "")


WRONG = {
    "an exception": ("raise LookupError('no such thing')", "handlers.py:4 in f: LookupError: no such thing"),
    "an exit": ("raise SystemExit(3)", "handlers.py:4 in f: SystemExit: 3"),
    "a word": ("return 'yes'", "str is no answer"),
    "a truth": ("return True", "bool is no answer"),
    "bytes where nothing is read": ("return b'x'", "bytes are no answer to kill: write result(...)"),
    "a file where nothing is opened": ("return file(b'')", "a file is no answer to kill"),
    "a result that the call can't have": ("return result(5)", "kill can't have the result 5"),
    "the kernel's own sign": ("return result(-512)", "-512 is no result"),
    "the shim's own sign": ("return result(-513)", "-513 is no result"),
    "no errno": ("return deny('ENOTHING')", "handlers.py:4 in f: ValueError: 'ENOTHING' is no errno"),
    "bytes for no argument": ("return result(0, buf=b'x')", "kill fills no argument 'buf'; it fills: none"),
    "no time": ("import time; time.sleep(60)", "no answer in 0.3 s: it is at {place}/handlers.py:4 in f"),
}


@pytest.mark.parametrize("name", WRONG)
def test_p7_what_a_handler_does_wrong_denies_and_says_where(name: str, prober: Prober) -> None:
    line, words = WRONG[name]
    probed = ask(prober, f"@handles('kill')\ndef f(call):\n  {line}\n".replace("def f(call):\n  ", "def f(call): "),
                 "kill", "kill", more="timeout_ms = 300\n")  # fmt: skip
    assert probed.results == ["EACCES", "EACCES"]
    assert "scone-wrap: handler of kill failed, the call is denied: " in probed.err
    assert words.replace("{place}", str(prober.place)) in probed.err


FILES = {
    "too large": ("return file(bytes((16 << 20) + 1))", "EACCES"),
    "as large as may be": ("return file(bytes(16 << 20))", "0"),
    "with an impossible mode": ("return file(b'', mode=0o10000)", "EACCES"),
    "by bytes alone": ("return b'x' * 100000", "0"),
    "empty": ("return file(b'')", "0"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_given_or_refused(name: str, prober: Prober) -> None:
    line, expected = FILES[name]
    assert ask(prober, f"@handles('open')\ndef f(call): {line}\n", "open /x r").results == [expected]


def test_a_result_fills_what_the_call_fills_and_no_more(prober: Prober) -> None:
    code = "@handles('stat')\ndef f(call): return result(0, st=bytes({size}))\n"
    assert ask(prober, code.format(size=144), "stat /nowhere").results == ["0"]
    assert ask(prober, code.format(size=145), "stat /nowhere").results == ["EACCES"]


@pytest.mark.parametrize("mode", WRAPPED, ids=lambda mode: mode.value)
def test_a_handler_gets_the_decoded_call(mode: Mode, prober: Prober) -> None:
    code = (
        "@handles('open', 'rename', 'connect', 'sendto', 'writev', 'kill')\n"
        "def f(call):\n"
        "  print(call.name, call.path, call.second, call.address.hex(), sorted(call.args.items()))\n"
    )
    policy = '[calls.route]\nopen = "runtime"\nrename = "runtime"\nconnect = "runtime"\nsendto = "runtime"\n'
    calls = [
        "open open/../open/./file r",
        "rename open/file open/moved",
        "connect 127.0.0.1:9 udp",
        "sendto 127.0.0.1:9",
    ]
    probed = ask(prober, code, *calls, mode=mode, policy=policy)
    place = prober.place
    address = "020000097f000001" + "00" * 8
    raw = bytes.fromhex(address)
    assert probed.err.splitlines() == [
        f"open {place}/open/file   [('flags', 0), ('mode', 384), ('path', 'open/../open/./file')]",
        f"rename {place}/open/file {place}/open/moved  [('new', 'open/moved'), ('old', 'open/file')]",
        f"connect   {address} [('addr', {raw!r}), ('addrlen', 16), ('fd', 3)]",
        f"sendto   {address} [('addr', {raw!r}), ('addrlen', 16), ('buf', b'x'), ('fd', 3), ('flags', 0), ('size', 1)]",
    ]


def test_p7_a_handler_that_forks_answers_once_and_leaves_nothing(prober: Prober) -> None:
    code = (
        "import os, subprocess, time\n"
        "@handles('kill')\n"
        "def f(call):\n"
        "  if os.fork() == 0: return deny('ESRCH')\n"
        "  subprocess.run(['true'], check=True)\n"
        "  time.sleep(0.2)\n"
        "  return deny('EAGAIN')\n"
    )
    with nothing_left_behind(10):
        assert ask(prober, code, "kill", "kill").results == ["EAGAIN", "EAGAIN"]


def test_p7_a_child_of_a_handler_that_lives_on_does_not_hide_the_end_of_the_host(prober: Prober) -> None:
    code = (
        "import os, time\n"
        "@handles('kill')\n"
        "def f(call):\n"
        "  if os.fork() == 0: time.sleep(3); os._exit(0)\n"
        "  os._exit(1)\n"
    )
    begin = time.monotonic()
    with nothing_left_behind(10):
        probed = ask(prober, code, "kill", "kill")
    assert (probed.results, probed.status) == ([], 120)
    assert "the runtime host is gone" in probed.err
    assert time.monotonic() - begin < 60


def test_a_handler_prints_to_the_programs_standard_error_also_after_the_first_process_ended(prober: Prober) -> None:
    code = "@handles('kill')\ndef f(call):\n  print('seen'); return deny('ESRCH')\n"
    assert ask(prober, code, "kill").err == "seen\n"
    script = f"({prober.binary} kill >{prober.place}/out 2>&1; sleep 0.2; {prober.binary} kill >>{prober.place}/out) &"
    policy = prober.policy(
        f'{KILL}[exec]\nprograms = ["{prober.binary}"]\n[handlers]\nfile = "{prober.place}/handlers.py"\n'
    )
    warm("/bin/sh", "/bin/sleep")
    with nothing_left_behind(10):
        run(Mode.SYNC, ["/bin/sh", "-c", script], cwd=prober.place, options=["--policy", str(policy)])
        end = time.monotonic() + 20
        while (prober.place / "out").read_text().count("ESRCH") < 2 and time.monotonic() < end:
            time.sleep(0.1)
    assert (prober.place / "out").read_text() == "kill: ESRCH\nkill: ESRCH\n"


def test_a_handler_of_all_calls_sees_each_of_every_process(prober: Prober) -> None:
    log = prober.place / "log"
    code = f"LOG = open({str(log)!r}, 'a', buffering=1)\n@handles('*')\n"
    code += "def f(call): print(call.pid, call.name, file=LOG)\n"
    warm("/bin/sh", "/bin/cat")
    (prober.place / "handlers.py").write_text(HEAD + code)
    options = ["--handlers", str(prober.place / "handlers.py"), "--route-all", "runtime"]
    done = run(Mode.ASYNC, ["/bin/sh", "-c", "echo a | cat | cat"], cwd=prober.place, options=options)
    assert (done.out, done.status) == (b"a\n", 0), str(done)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({pid for pid, _ in lines}) == 4
    assert [name for _, name in lines].count("exit_group") == 4
    assert {"execve", "pipe2", "read", "write"} <= {name for _, name in lines}


def test_what_all_calls_get_wrong_lets_the_program_still_end(prober: Prober) -> None:
    probed = ask(prober, "@handles('*')\ndef f(call): raise ValueError(call.name)\n", "kill",
                 policy='[calls]\nroute.exit_group = "runtime"\nroute.kill = "runtime"\n')  # fmt: skip
    assert (probed.results, probed.status) == (["EACCES"], 0)


PARALLEL = """
import ctypes, threading
getppid = ctypes.CDLL(None).getppid
found = []
def work():
    for _ in range(10): found.append(getppid())
threads = [threading.Thread(target=work) for _ in range(100)]
for one in threads: one.start()
for one in threads: one.join()
print(len(found), set(found))
"""


def test_a_thousand_calls_at_a_time_are_answered(prober: Prober) -> None:
    code = "import time\n@handles('getppid')\ndef f(call): time.sleep(0.005); return result(4711)\n"
    (prober.place / "handlers.py").write_text(HEAD + code)
    options = ["--handlers", str(prober.place / "handlers.py"), "--route", "getppid=runtime"]
    warm("/usr/bin/python3")
    done = run(Mode.ASYNC, ["/usr/bin/python3", "-c", PARALLEL], cwd=prober.place, options=options)
    assert done.out == b"1000 {4711}\n", str(done)


LOADS = {
    "no Python": ("def f(:\n", 125, "handlers.py:3"),
    "no handler": ("x = 1\n", 120, "no handler in the file"),
    "an exception": ("raise ValueError('at load')\n", 120, "handlers.py:3 in <module>: ValueError: at load"),
    "an exit": ("import sys; sys.exit(0)\n", 120, "SystemExit: 0"),
}


@pytest.mark.parametrize("name", LOADS)
def test_p7_handlers_that_can_not_be_loaded_let_nothing_run(name: str, prober: Prober) -> None:
    code, status, words = LOADS[name]
    probed = ask(prober, code, "kill")
    assert (probed.results, probed.status) == ([], status)
    assert words in probed.err


def test_p7_handlers_that_are_not_there_let_nothing_run(prober: Prober) -> None:
    probed = prober.ask(Mode.SYNC, '[handlers]\nfile = "/nowhere/h.py"\n', "kill")
    assert (probed.results, probed.status) == ([], 125)
    assert probed.err == "scone-wrap: handlers can't be loaded: /nowhere/h.py: No such file or directory\n"


def test_what_a_handlers_file_opens_stays_open(prober: Prober) -> None:
    (prober.place / "log").write_text("")
    code = f"LOG = open('{prober.place}/log', 'a', buffering=1)\n@handles('kill')\ndef f(call): print('x', file=LOG)\n"
    probed = ask(prober, code, *["kill"] * 20)
    assert probed.results == ["0"] * 20, probed.err
    assert (prober.place / "log").read_text() == "x\n" * 20


# ---- one by one ----


def call(name: str = "kill") -> Call:
    return Call(name=name, nr=62, pid=1, tid=1, args={})


def answered(handling: Handling, one: Call, patience: float = 5) -> tuple[object, str]:
    done = threading.Event()
    found: list[tuple[object, str]] = []

    def settle(answer: Answer | bytes | None, trouble: str = "") -> None:
        found.append((answer, trouble))
        done.set()

    handling.ask(one, settle)
    end = time.monotonic() + patience
    while not done.wait(0.02) and time.monotonic() < end:
        handling.expire()
    assert len(found) == 1
    return found[0]


def test_the_first_answer_that_is_one_wins() -> None:
    handlers = [(lambda call: None, frozenset({"kill"})), (lambda call: deny(3), frozenset({"*"})),
                (lambda call: deny(4), frozenset({"kill"}))]  # fmt: skip
    assert answered(Handling(handlers, 5), call()) == (deny(3), "")
    assert len(Handling(handlers, 5).for_call("open")) == 1


def test_an_answer_that_comes_too_late_is_not_given() -> None:
    release = threading.Event()

    def slow(call: Call) -> None:
        release.wait(20)

    handling = Handling([(slow, frozenset({"*"}))], 0.1)
    answer, trouble = answered(handling, call())
    release.set()
    assert answer is None
    assert trouble.startswith("no answer in 0.1 s: it is ")
    time.sleep(0.1)
    assert handling.expire() is None


def test_where_a_thread_is_that_has_not_begun() -> None:
    assert where_thread(0) == "not begun"


def test_a_handlers_file_gives_its_handlers_in_order(tmp_path: Path) -> None:
    path = tmp_path / "h.py"
    path.write_text(HEAD + "@handles('b')\ndef one(call): pass\n@handles('a', '*')\ndef two(call): pass\n")
    check_handlers(str(path))
    assert [names for _, names in load_handlers(str(path))] == [{"b"}, {"a", "*"}]
    path.write_text("def f(:")
    with pytest.raises(UserError, match=r"h\.py:1"):
        check_handlers(str(path))


NEVER = {
    "without a route": ((), [("a", "b"), ("*",)]),
    "with another route": ((("a", "host"),), [("a", "b"), ("*",)]),
    "of another call": ((("c", "runtime"),), [("a", "b")]),
    "of one of its calls": ((("b", "runtime"),), []),
    "of every call": ((("*", "runtime"),), []),
}


@pytest.mark.parametrize("case", NEVER)
def test_handlers_that_no_route_leads_to_are_known(case: str) -> None:
    routes, expected = NEVER[case]
    handlers = [(lambda call: None, frozenset({"a", "b"})), (lambda call: None, frozenset({"*"}))]
    assert never_asked(handlers, routes) == expected


def test_a_handler_that_is_never_asked_is_said(prober: Prober) -> None:
    (prober.place / "handlers.py").write_text(HEAD + "@handles('mkdir', 'mkdirat')\ndef f(call): pass\n")
    probed = prober.ask(Mode.SYNC, f'[handlers]\nfile = "{prober.place}/handlers.py"\n', "kill")
    flags = "--route mkdir=runtime --route mkdirat=runtime"
    assert probed.err == f"scone-wrap: handler of mkdir, mkdirat is never asked: add {flags}\n"


def test_the_api_refuses_what_makes_no_sense() -> None:
    for errno in (0, -1, 512, 5000, "EXYZ"):
        with pytest.raises(ValueError, match="is no errno"):
            deny(errno)
    with pytest.raises(TypeError, match="names of calls"):
        handles()
    assert (allow(), result(3, a=b"x").outputs, file(b"y").mode) == (allow(), {"a": b"x"}, 0o444)
