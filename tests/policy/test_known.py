"""What a policy says of paths in advance: only of names that nobody whom it governs may change."""

import struct

import pytest

from scone_preload.policy.access import LOOKS, READS
from scone_preload.policy.effective import parse
from scone_preload.policy.image import ANSWER, HEAD, policy_image
from scone_preload.policy.known import known_paths

BOTH = LOOKS | READS


def known(files: str, more: str = "") -> dict[tuple[str, bool], int]:
    text = f'version = 1\n[files]\nunlisted = "refuse"\n{files}\n{more}'
    return {(path, below): access for path, access, below in known_paths(parse(text.encode()))}


def test_listed_paths_are_known_and_their_directories_may_be_looked_at() -> None:
    found = known('read = ["/etc/app.conf", "/srv/app/"]')
    assert found["/etc/app.conf", False] == BOTH
    assert found["/srv/app", True] == BOTH
    assert found["/etc", False] & LOOKS
    assert not found["/etc", False] & READS


FIXED = {
    "the path may be written": 'read = ["/d/a"]\nwrite = ["/d/a"]',
    "a directory on the way may be written": 'read = ["/d/a/b"]\nwrite = ["/d/"]',
    "something below may be written": 'read = ["/d/"]\nwrite = ["/d/e/f"]',
    "a pattern may write below": 'read = ["/d/"]\nwrite = ["/d/e*/f"]',
    "a pattern may write everywhere": 'read = ["/d/a/b"]\nwrite = ["/*/x"]',
}


@pytest.mark.parametrize("why", FIXED)
def test_what_may_be_changed_is_asked_about(why: str) -> None:
    assert not any(path.startswith("/d/") or below for path, below in known(FIXED[why]))


def test_what_is_written_elsewhere_makes_no_difference() -> None:
    assert known('read = ["/d/a"]\nwrite = ["/e/", "/f/g*"]')["/d/a", False] == BOTH


def test_a_directory_with_a_secret_is_asked_about() -> None:
    secret = '[[secret]]\npath = "/d/key"\nfrom = "env:KEY"\n'
    found = known('read = ["/d/", "/e/"]', secret)
    assert ("/d", True) not in found
    assert found["/e", True] == BOTH


def test_patterns_and_policies_that_pass_say_nothing() -> None:
    assert known('read = ["/d/*.so"]') == {}
    assert known_paths(parse(b'version = 1\n[files]\nread = ["/d"]\nunlisted = "pass"\n')) == ()


def test_they_stand_behind_the_table_of_the_image() -> None:
    policy = parse(b'version = 1\n[files]\nunlisted = "refuse"\nread = ["/d/"]\n')
    plain, image = policy_image(policy), policy_image(policy, [("/d", BOTH, True)])
    assert HEAD.unpack_from(image)[3:] == (len(image), 1)
    assert image[HEAD.size :] == plain[HEAD.size :] + struct.pack("<BBH", BOTH, 1, 2) + b"/d"
    assert ANSWER.size == 4
