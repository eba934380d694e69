"""Decisions: what is allowed, by which line; and the line that a denial names does allow it."""

import errno
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.errors import PolicyDenied, UserError
from scone_preload.policy.decide import decide_call, decide_file, decide_open
from scone_preload.policy.decision import Decision
from scone_preload.policy.document import Source
from scone_preload.policy.effective import combine, parse
from scone_preload.policy.explain import decide
from tests.policy.samples import POLICIES

TEXT = """\
version = 1
[[volume]]
path = "/data"
mode = "encrypt"
[[volume]]
path = "/data/tmp"
mode = "ephemeral"
[files]
unlisted = "refuse"
read = ["/etc/nginx/", "/srv/*/index.html"]
write = ["/var/log/x.log"]
execute = ["/opt/plugins/"]
[network]
unlisted = "refuse"
listen = [{ port = 80, shield = "tls" }, { address = "unix:/run/x/", shield = "pass" }]
[[network.connect]]
address = "*.example.com"
port = 443
shield = "tls"
[[network.connect]]
address = "10.0.0.0/8"
port = "any"
shield = "refuse"
[[network.connect]]
address = "10.1.2.3"
port = "any"
shield = "pass"
[[network.connect]]
address = "10.1.2.3"
port = "20-30"
shield = "tls"
[environment]
unlisted = "drop"
set.A = "1"
pass = ["LC_*"]
drop = ["LC_ALL"]
[arguments]
unlisted = "refuse"
allow = ["--port", "8*"]
[[secret]]
path = "/run/secrets/a"
from = "env:SECRET"
[calls]
unlisted = "EPERM"
allow = ["read", "openat"]
route.openat = "runtime"
deny.mkdir = "ENOSYS"
[exec]
unlisted = "refuse"
programs = ["/usr/bin/x*"]
unwrapped = ["/opt/static"]
"""
POLICY = parse(TEXT.encode())
ANSWERS = dict(re.findall(r"^(\S.*)\n    (.*)$", (Path(__file__).parent / "answers.txt").read_text(), re.M))
DENIED = [question for question, answer in ANSWERS.items() if answer.startswith("denied")]


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_names_rule_object_line_and_remedy(question: str) -> None:
    assert str(decide(POLICY, question)) == ANSWERS[question]


def test_questions_of_both_kinds_are_asked() -> None:
    assert len(DENIED) > 15
    assert len(ANSWERS) - len(DENIED) > 20


def still(policy: str, found: Decision, question: str) -> Decision:
    """The decision when the line that a denial names stands in the policy, too."""
    more = Source("more.toml", f"version = 1\n{found.line}\n".encode())
    return decide(combine([Source("scone.toml", policy.encode()), more]), question)


@pytest.mark.parametrize("question", DENIED)
def test_the_line_that_a_denial_names_allows_it(question: str) -> None:
    found = decide(POLICY, question)
    assert found.line or "to allow it, write" not in found.remedy
    assert not found.line or still(TEXT, found, question).allowed


QUESTIONS = st.sampled_from(
    ["read /x#y", "write /etc/nginx/q", "execute /a b/c", "look /w", "exec /opt/x", "exec /usr/bin/id", "listen 80",
     "listen udp 53", "listen unix:/run/a b", "connect EXAMPLE.com:443", "connect 10.0.0.1:7", "connect [::1]:9",
     "connect udp 9.9.9.9:53", "connect unix:@x", "call read", "call mkdir", "variable PATH", "variable Q"]
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(POLICIES, QUESTIONS)
def test_in_any_policy_a_denial_s_line_allows_it(text: str, question: str) -> None:
    found = decide(parse(text.encode()), question)
    assert not found.line or still(text, found, question).allowed
    assert found.allowed or found.remedy


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [(0, True), (0o1, False), (0o2, False), (0o100, False), (0o1000, False), (0o2200000, True), (0o10000000, True)],
)
def test_opening_to_write_or_create_needs_leave_to_write(flags: int, allowed: bool) -> None:
    assert decide_open(POLICY, "/etc/nginx/nginx.conf", flags).allowed == allowed


def test_a_path_may_be_looked_at_that_may_not_be_read() -> None:
    assert decide_open(POLICY, "/etc", 0o10000000).allowed
    assert not decide_open(POLICY, "/etc", 0).allowed


def test_system_allows_what_the_system_needs_and_no_more() -> None:
    policy = parse(b'version = 1\n[files]\nunlisted = "system"\n')
    for path in ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/etc/ld.so.cache"):
        assert decide_file(policy, path, "read").allowed
        assert decide_file(policy, path, "execute").allowed
        assert not decide_file(policy, path, "write").allowed
    assert decide_file(policy, "/dev/null", "write").allowed
    assert not decide_file(policy, "/etc/shadow", "read").allowed
    assert decide(policy, "exec /usr/bin/env").allowed
    assert not decide(policy, "exec /home/me/tool").allowed


def test_protect_shields_streams_and_refuses_the_rest() -> None:
    policy = parse(b'version = 1\n[network]\nunlisted = "protect"\n')
    assert decide(policy, "connect 1.2.3.4:5").action == "tls"
    assert not decide(policy, "connect udp 1.2.3.4:5").allowed


def test_a_denial_carries_the_errno() -> None:
    policy = parse(b'version = 1\n[calls]\ndeny.mkdir = "ENOSPC"\ndeny.rmdir = "stop"\n')
    assert decide_call(policy, "mkdir").errno == errno.ENOSPC
    assert decide_call(policy, "rmdir").action == "stop"
    assert decide_call(policy, "ptrace").errno == errno.EPERM
    assert decide_file(POLICY, "/x", "read").errno == errno.EACCES


def test_a_denial_is_an_error_to_raise() -> None:
    error = decide(POLICY, "exec /bin/sh").error()
    assert isinstance(error, PolicyDenied)
    assert str(error) == (
        'denied by exec.unlisted = "refuse": exec /bin/sh: scone.toml:49: to allow it, write [exec]'
        ' programs = ["/bin/sh"]'
    )


@pytest.mark.parametrize(
    "question", ["", "raed /x", "read", "read x", "connect x", "connect 1.2.3.4:99999", "connect :80"]
)
def test_what_is_no_question_is_the_users_error(question: str) -> None:
    with pytest.raises(UserError):
        decide(POLICY, question)
