"""Patterns mean what their page says, and take no time to speak of."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scone_preload.policy.match import is_below, path_matches, wildcard


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_stars_and_question_marks_are_those_of_shells(pattern: str, text: str) -> None:
    assert wildcard(pattern, text) == fnmatchcase(text, pattern)


def test_many_stars_take_no_exponential_time() -> None:
    assert not wildcard("*a" * 40 + "b", "a" * 4000)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/etc/nginx", "/etc/nginx", True),
        ("/etc/nginx", "/etc/nginx/x", False),
        ("/etc/nginx/", "/etc/nginx", True),
        ("/etc/nginx/", "/etc/nginx/a/b", True),
        ("/etc/nginx/", "/etc/nginx2", False),
        ("/etc/*.conf", "/etc/a.conf", True),
        ("/etc/*.conf", "/etc/a/b.conf", False),
        ("/home/*/x/", "/home/me/x/y/z", True),
        ("/home/*/x/", "/home/me/y", False),
        ("/a?c", "/abc", True),
        ("/a?c", "/a/c", False),
        ("/", "/any/thing", True),
    ],
)
def test_a_path_pattern_matches_by_components(pattern: str, path: str, matches: bool) -> None:
    assert path_matches(pattern, path) == matches


def test_a_folder_is_no_prefix_of_its_neighbours_names() -> None:
    assert is_below("/data/x", "/data")
    assert is_below("/data", "/data")
    assert not is_below("/database", "/data")
