"""What was learned allows what was done, says why, and grows by merging without ever changing by it alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.policy.document import Source
from scone_preload.policy.effective import effective, parse
from scone_preload.policy.explain import decide
from scone_preload.policy.group import group, pattern_of
from scone_preload.policy.learn import Event, Learned, learn, learned_from, merge
from scone_preload.policy.why import Why, read_why

NAMES = st.sampled_from(
    ["a", "b.conf", "lib", "1", "4711", "x86_64-linux-gnu", "tmpab12cd_3", "é", "a b", "*", "q\n", "."]
)
FOLDERS = st.sampled_from(["/etc", "/etc/app", "/usr/lib", "/tmp", "/proc", "/var/lib/app/d", "/home/me"])
PATHS = st.tuples(FOLDERS, st.lists(NAMES, max_size=2)).map(lambda found: "/".join([found[0], *found[1]]))
SOCKETS = st.one_of(
    st.tuples(st.sampled_from(["", "udp "]), st.integers(1, 9), st.sampled_from([0, 53, 80, 443, 8080, 9090])).map(
        lambda found: f"{found[0]}10.0.0.{found[1]}:{found[2]}"
    ),
    st.sampled_from(["example.com:443", "[::1]:80", "0.0.0.0:80", "[::]:80", "unix:/run/x.sock", "unix:@abc"]),
)


def events_of(kind: str, objects: st.SearchStrategy[str], call: str) -> st.SearchStrategy[Event]:
    return st.builds(Event, kind=st.just(kind), object=objects, call=st.just(call), count=st.integers(1, 5))


EVENTS = st.lists(
    st.one_of(
        events_of("read", PATHS, "openat"),
        events_of("look", PATHS, "newfstatat"),
        events_of("write", PATHS, "openat"),
        events_of("execute", PATHS, "mmap"),
        events_of("exec", PATHS, "execve"),
        events_of("connect", SOCKETS, "connect"),
        events_of("listen", SOCKETS.filter(lambda one: "example" not in one), "bind"),
        events_of("call", st.sampled_from(["read", "write", "ptrace"]), "read"),
        events_of("variable", st.sampled_from(["PATH", "LC_ALL", "BASH_FUNC_x%%", "1A"]), "execve"),
        events_of("argument", st.sampled_from(["-v", "a*b", "x\n"]), "execve"),
    ),
    max_size=12,
)
MERGED = settings(deadline=None, max_examples=40)


def again(learned: Learned, name: str = "p.toml") -> Learned:
    """What is read from the file that was written."""
    return learned_from(Source(name, learned.text().encode()))


def question(event: Event) -> str:
    return f"{'arguments' if event.kind == 'argument' else event.kind} {event.object}"


def denied(learned: Learned, events: list[Event]) -> list[str]:
    asked = [event for event in events if event.object not in ("ptrace", "x\n") and "\n" not in event.object]
    return [question(event) for event in asked if not decide(learned.policy, question(event)).allowed]


@MERGED
@given(EVENTS)
def test_what_was_done_is_allowed(events: list[Event]) -> None:
    assert denied(learn(events), events) == []


@MERGED
@given(EVENTS, EVENTS)
def test_with_strict_it_is_allowed_as_well(first: list[Event], second: list[Event]) -> None:
    merged = merge(again(learn(first)), learn(second))
    policy = effective(Source("p.toml", merged.text().encode()), [("--strict", None)])
    assert denied(Learned(policy, {}), first + second) == []


@MERGED
@given(EVENTS)
def test_the_text_is_the_policy_and_its_reasons(events: list[Event]) -> None:
    learned = learn(events)
    assert parse(learned.text().encode()) == learned.policy
    assert again(learned).text() == learned.text()


@MERGED
@given(EVENTS)
def test_merging_the_same_again_changes_nothing(events: list[Event]) -> None:
    learned = learn(events)
    assert merge(learned, learned).text() == learned.text()
    assert merge(again(learned), learned).text() == learned.text()


@MERGED
@given(EVENTS, EVENTS)
def test_a_merged_policy_allows_both_runs(first: list[Event], second: list[Event]) -> None:
    merged = merge(again(learn(first)), learn(second))
    assert denied(merged, first + second) == []
    assert parse(merged.text().encode()) == merged.policy
    assert merge(merged, learn(second)).text() == merged.text()
    assert merge(merged, merged).text() == merged.text()


def read(*paths: str, call: str = "openat") -> list[Event]:
    return [Event(kind="read", object=path, call=call) for path in paths]


def test_nothing_that_was_not_done_is_allowed() -> None:
    learned = learn([*read("/etc/app/a"), Event(kind="listen", object="80", call="bind")])
    for other in (
        "read /etc/app/b",
        "write /etc/app/a",
        "exec /bin/sh",
        "listen 81",
        "connect 1.2.3.4:80",
        "call mkdir",
    ):
        assert not decide(learned.policy, other).allowed


def test_each_line_says_which_call_how_often_and_of_how_many() -> None:
    events = read("/etc/app/a", "/etc/app/a", "/etc/app/b", "/etc/app/c", "/etc/app/d") + read("/etc/x", call="stat")
    text = learn(events).text()
    assert '    "/etc/app/",  # openat 5 (4 names, such as a, b)\n' in text
    assert '    "/etc/x",  # stat 1\n' in text
    assert '    "openat",  # openat 5\n' in text


def test_a_second_run_grows_the_list_and_keeps_the_greater_count() -> None:
    first = learn(read("/etc/app/a", "/etc/app/a", "/etc/app/b", "/etc/app/c"))
    merged = merge(again(first), learn(read("/etc/app/a", "/etc/app/d")))
    assert '    "/etc/app/",  # openat 5 (4 names, such as a, b)\n' in merged.text()


def test_what_a_person_wrote_stays() -> None:
    text = (
        'version = 1\n[files]\nunlisted = "system"  # mine\nread = [\n  "/etc/mine",  # because I say so\n]\n'
        '[[network.listen]]  # the shop\nport = 80\nshield = "tls"\n[calls]\nunlisted = "EPERM"\n'
    )
    merged = merge(learned_from(Source("p.toml", text.encode())), learn(read("/etc/app/a")))
    assert 'unlisted = "system"  # mine\n' in merged.text()
    assert '"/etc/mine",  # because I say so\n' in merged.text()
    assert '[[network.listen]]  # the shop\nport = 80\nshield = "tls"\n' in merged.text()
    assert merged.policy.calls.allow == (), "an open list of calls stays open"


def given_start(*arguments: str, variables: tuple[str, ...] = ()) -> list[Event]:
    events = [Event(kind="argument", object=one, call="given") for one in arguments]
    return events + [Event(kind="variable", object=name, call="given") for name in variables]


def test_arguments_are_listed_with_why_and_others_pass_unless_strict() -> None:
    merged = merge(again(learn(given_start())), learn(given_start("-l", "/usr", variables=("PATH",))))
    assert '[arguments]\nallow = [\n    "-l",  # given 1\n    "/usr",  # given 1\n]\n' in merged.text()
    assert '[environment]\npass = [\n    "PATH",  # given 1\n]\n' in merged.text()
    assert decide(merged.policy, "arguments -a").allowed
    strict = effective(Source("p.toml", merged.text().encode()), [("--strict", None)])
    assert decide(strict, "arguments -l /usr").allowed
    assert not decide(strict, "arguments -a").allowed
    assert not decide(strict, "variable HOME").allowed
    assert merged.policy.calls.allow == (), "the start was no call of the program's"


def test_what_a_person_fixed_set_or_dropped_is_not_learned_over() -> None:
    text = (
        'version = 1\n[environment]\nset.TZ = "UTC"\ndrop = ["LC_*"]\n[arguments]\nfixed = ["--port", "1"]\n'
        '[calls]\nallow = ["read"]\n'
    )
    events = given_start("--port", "2", variables=("TZ", "LC_ALL", "HOME"))
    policy = merge(learned_from(Source("p.toml", text.encode())), learn(events)).policy
    assert (policy.arguments.fixed, policy.arguments.allow) == (("--port", "1"), ())
    assert policy.environment.keep == ("HOME",)


@pytest.mark.parametrize(
    ("path", "written", "pattern"),
    [
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", False, "/usr/lib/"),
        ("/lib/x86_64-linux-gnu/libc.so.6", False, "/lib/"),
        ("/usr/lib/x/state", True, "/usr/lib/x/state"),
        ("/proc/4711/stat", False, "/proc/*/stat"),
        ("/proc/self/task/12/comm", True, "/proc/self/task/*/comm"),
        ("/tmp/tmpk3j9x_2a/file", False, "/tmp/tmp????????/file"),
        ("/tmp/tmpjrmgdgfc", True, "/tmp/tmp????????"),
        ("/tmp/database", True, "/tmp/database"),
        ("/tmp/ssh-XXaB3dE9/agent.1234", True, "/tmp/ssh-*/agent.*"),
        ("/tmp/sess_deadbeef01", True, "/tmp/sess_*"),
        ("/tmp/app/config", True, "/tmp/app/config"),
        ("/var/lib/redis/temp-4321.rdb", True, "/var/lib/redis/temp-*.rdb"),
        ("/var/lib/redis/appendonly.aof.1.incr.aof", True, "/var/lib/redis/appendonly.aof.1.incr.aof"),
        ("/etc/app-2023/x.conf", False, "/etc/app-2023/x.conf"),
        ("/srv/a*b\n", False, "/srv/a?b?"),
    ],
)
def test_a_name_that_changes_from_run_to_run_becomes_a_pattern(path: str, written: bool, pattern: str) -> None:
    assert pattern_of(path, written=written) == pattern


def grouped(*paths: str) -> list[str]:
    return list(group({path: Why((("openat", 1),)) for path in paths}))


def test_a_folder_stands_for_many_names_but_not_a_broad_one() -> None:
    assert grouped("/etc/x/a", "/etc/x/b", "/etc/x/c") == ["/etc/x/a", "/etc/x/b", "/etc/x/c"]
    assert grouped("/etc/x/a", "/etc/x/b", "/etc/x/c", "/etc/x/d", "/etc/x/e/f") == ["/etc/x/"]
    assert grouped("/etc/a", "/etc/b", "/etc/c", "/etc/d") == ["/etc/a", "/etc/b", "/etc/c", "/etc/d"]
    deep = [f"/srv/app/{folder}/{name}" for folder in "abcd" for name in "wxyz"]
    assert grouped(*deep) == ["/srv/app/"]


@given(st.lists(PATHS, max_size=12))
def test_grouping_what_is_grouped_changes_nothing(paths: list[str]) -> None:
    whys = group({pattern_of(path, written=False): Why((("openat", 1),)) for path in paths})
    assert group(whys) == whys


WORDS = st.text("abc.-_/ ", min_size=1, max_size=5).map(str.strip).filter(bool)


@given(
    st.dictionaries(st.sampled_from(["openat", "stat"]), st.integers(1, 99), min_size=1),
    st.sets(WORDS),
    st.integers(0, 3),
)
def test_a_reason_is_read_as_it_was_written(calls: dict[str, int], names: set[str], more: int) -> None:
    shown = tuple(sorted(names)[:2])
    why = Why(tuple(sorted(calls.items())), shown, len(shown) + more if shown else 0)
    assert read_why(str(why)) == why


def test_many_addresses_are_any_and_many_ports_are_any() -> None:
    events = [Event(kind="connect", object=f"10.0.0.{at}:443", call="connect") for at in range(4)]
    events += [Event(kind="connect", object=f"127.0.0.1:{port}", call="connect") for port in range(5000, 5004)]
    assert [rule.label for rule in learn(events).policy.network.connect] == ["tcp *:443", "tcp 127.0.0.1:any"]
    merged = merge(again(learn(events)), learn(events[:1]))
    assert [rule.label for rule in merged.policy.network.connect] == ["tcp *:443", "tcp 127.0.0.1:any"]


def test_a_program_with_a_locale_may_look_for_its_messages() -> None:
    learned = learn([Event(kind="read", object="/etc/locale.alias", call="openat")])
    assert decide(learned.policy, "read /usr/share/locale/de/LC_MESSAGES/coreutils.mo").allowed
    assert again(learned).text() == learned.text() == merge(again(learned), learned).text()
    assert not learn([Event(kind="read", object="/etc/passwd", call="openat")]).policy.files.read[1:]
