"""What --print-policy shows is a policy, and the same one."""

from hypothesis import given, settings

from scone_preload.policy.document import Source
from scone_preload.policy.effective import effective, parse
from scone_preload.policy.render import render, render_with_comments, render_with_places
from tests.policy.samples import POLICIES


@settings(deadline=None, max_examples=40)
@given(POLICIES)
def test_reading_what_was_printed_gives_the_same_policy(text: str) -> None:
    policy = parse(text.encode())
    assert parse(render(policy).encode()) == policy
    assert parse(render_with_places(policy).encode()) == policy
    assert parse(render_with_comments(policy, {}).encode()) == policy


@settings(deadline=None, max_examples=40)
@given(POLICIES)
def test_printing_again_changes_nothing(text: str) -> None:
    printed = render(parse(text.encode()))
    assert render(parse(printed.encode())) == printed


def test_each_line_says_where_it_was_written() -> None:
    text = b'version = 1\n[files]\nread = [\n  "/etc/x",\n]\n[calls]\nunlisted = "EPERM"\n'
    printed = render_with_places(effective(Source("my.toml", text), [("--tls", "80"), ("--env", "A=b")]))
    assert '    "/etc/x",  # my.toml:4\n' in printed
    assert 'unlisted = "EPERM"  # my.toml:7\n' in printed
    assert "[[network.listen]]  # --tls 80\n" in printed
    assert 'set.A = "b"  # --env A=b\n' in printed


def test_a_comment_can_not_break_out_of_its_line() -> None:
    policy = effective(None, [("--env", "A=\nversion = 2\n#")])
    assert parse(render_with_places(policy).encode()) == policy


def test_defaults_are_left_out_on_request_only() -> None:
    policy = parse(b'version = 1\n[console]\nstdout = "protect"\n')
    assert render_with_comments(policy, {}) == 'version = 1\n\n[console]\nstdout = "protect"\n'
    assert 'stdin = "pass"\n' in render(policy)
