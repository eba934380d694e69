"""Each wrong line of a policy says so itself: `# error: message`; all are reported together, each with its line."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scone_preload.errors import PolicyInvalid, UserError
from scone_preload.policy.check import RULES
from scone_preload.policy.document import Source
from scone_preload.policy.effective import effective, merge_layers, parse
from scone_preload.policy.keys import KEYS, TABLES
from scone_preload.policy.read import read_layer
from scone_preload.policy.render import render

ERRORS = Path(__file__).parent / "errors"
MARK = "# error: "


def problems_of(text: bytes, name: str = "scone.toml") -> tuple[str, ...]:
    with pytest.raises(PolicyInvalid) as caught:
        parse(text, name)
    return caught.value.problems


@pytest.mark.parametrize("name", ["values.toml", "together.toml"])
def test_wrong_lines_are_reported_where_they_stand(name: str) -> None:
    text = (ERRORS / name).read_text()
    marked = [(nr, line.partition(MARK)[2]) for nr, line in enumerate(text.splitlines(), 1) if MARK in line]
    assert sorted(problems_of(text.encode(), name)) == sorted(f"{name}:{nr}: {words}" for nr, words in marked)


def test_every_rule_has_a_line_that_breaks_it() -> None:
    layer, problems = read_layer(Source("together.toml", (ERRORS / "together.toml").read_bytes()))
    assert problems == []
    assert [rule.__name__ for rule in RULES if not list(rule(merge_layers([layer])))] == []


def test_the_error_is_the_users_and_shows_every_line() -> None:
    with pytest.raises(UserError) as caught:
        parse(b'version = 1\nx = 1\n[files]\nread = ["y"]\n')
    assert caught.value.exit_status == 125
    assert str(caught.value) == (
        "the policy is wrong, correct these lines; see docs/policy.md:\n"
        'scone.toml:2: unknown key "x" at the top: known here: version, preset, volume, files, network, console, ipc,'
        " environment, arguments, secret, calls, exec, handlers\n"
        'scone.toml:4: path "y" is relative: write the whole path, from "/" on'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", '1: version is missing in the file: write version = 1'),
        (b"version = 1\n\nx = = 1", "3: not TOML: invalid value"),
        (b"version = 1\nversion = 1\n", "2: not TOML: cannot overwrite a value"),
        (b"version = 1\n# \xff\n", "2: not UTF-8: save the file as UTF-8"),
        (b'version = 1\n[files]\nread = ["/a"', "3: not TOML: unclosed array"),
        (b"version = 1\nx = " + b"[" * 100_000, "1: nested too deep: write plain tables, as docs/policy.md shows them"),
        (b"version = 1\n[[volume]]\npath='/a'\nmode='encrypt'\n[[volume]]\npath='/a/'\nmode='ephemeral'\n",
         "5: /a twice in [[volume]]: it stands in scone.toml:2 already: leave one"),
        (b"version = 1\n[[network.listen]]\nport=80\nshield='tls'\n[[network.listen]]\nport=80\nshield='pass'\n",
         "5: tcp *:80 twice in [[network.listen]]: it stands in scone.toml:2 already: leave one"),
        (b"version = 1\nvolume = 1\n", "2: volume is not written as a table: it is any number of tables: write"
         " [[volume]]"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: bytes, problem: str) -> None:
    assert problems_of(text) == (f"scone.toml:{problem}",)


def test_a_policy_of_a_megabyte_is_too_long() -> None:
    assert problems_of(b"#" * (1 << 20 | 1)) == ("scone.toml: policy is too long: write at most 1048576 bytes",)


def test_problems_of_flags_and_file_come_together() -> None:
    with pytest.raises(PolicyInvalid) as caught:
        effective(Source("p.toml", b"version = 3"), [("--tls", "0x50"), ("--secret", "x"), ("--deny", "raed")])
    assert caught.value.problems == (
        '--deny raed: there is no syscall "raed": did you mean "read"?',
        "--secret x: value has not its form: write --secret PATH=FROM",
        '--tls 0x50: "0x50" is no port: write port = 6379, "8000-8100" or "any"',
        "p.toml:1: version 3 is out of range: use a newer scone-wrap",
    )


SCALARS = st.one_of(
    st.sampled_from(['"x"', '"/a"', '"tls"', '"encrypt"', '"any"', '"unix:/a"', '"*"', '""', '"\\u0000"', '"::/0"']),
    st.sampled_from(
        ["1", "-1", "0x10", "1e9", "inf", "true", "1979-05-27", "99999999999999999999", '"EPERM"', '"read"']
    ),
)
LITERALS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["read", "A", "path", "port", "shield", "mode"]), inner, max_size=3).map(
            lambda pairs: f"{{{', '.join(f'{name} = {value}' for name, value in pairs.items())}}}"
        ),
    ),
    max_leaves=5,
)
HEADERS = st.sampled_from([table.header for table in TABLES if table.name] + ["[volume]", "[[files]]", "[calls.deny]"])
LINES = st.one_of(HEADERS, st.tuples(st.sampled_from([key.name for key in KEYS]), LITERALS).map(" = ".join))


@settings(deadline=None)
@given(st.lists(LINES, max_size=8))
def test_any_file_is_a_policy_or_wrong_with_its_lines(lines: list[str]) -> None:
    text = "\n".join(["version = 1", *lines])
    try:
        policy = parse(text.encode())
    except PolicyInvalid as error:
        problems = error.problems
    else:
        problems = ()
        assert parse(render(policy).encode()) == policy
    assert all(re.match(r"scone\.toml(:\d+)?: .+: .+", problem, re.S) for problem in problems)
