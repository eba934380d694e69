"""Flags mean exactly what the file would say, and go before it; the file goes before the preset."""

import pytest

from scone_preload.errors import PolicyInvalid
from scone_preload.policy.document import Source
from scone_preload.policy.effective import effective, parse
from scone_preload.policy.flags import FRAGMENTS, STRICT, Flag
from scone_preload.policy.model import Policy

SAME: list[tuple[Flag, str]] = [
    (("--data", "data"), '[[volume]]\npath = "/home/me/data"\nmode = "encrypt"'),
    (("--data", "/d/"), '[[volume]]\npath = "/d"\nmode = "encrypt"'),
    (("--volume", "../v:ephemeral"), '[[volume]]\npath = "/home/v"\nmode = "ephemeral"'),
    (("--tls", "6379"), '[[network.listen]]\nport = 6379\nshield = "tls"'),
    (("--tls", "80-90"), '[[network.listen]]\nport = "80-90"\nshield = "tls"'),
    (("--secret", "/run/secrets/a=env:A"), '[[secret]]\npath = "/run/secrets/a"\nfrom = "env:A"'),
    (("--env", "LC_*"), '[environment]\npass = ["LC_*"]'),
    (("--env", 'A="b=c\n'), '[environment]\nset.A = "\\"b=c\\n"'),
    (("--env", "A="), '[environment]\nset = { A = "" }'),
    (("--deny", "mkdir"), '[calls]\ndeny.mkdir = "EPERM"'),
    (("--deny", "mkdir=stop"), '[calls]\ndeny.mkdir = "stop"'),
    (("--route", "openat=runtime"), '[calls]\nroute.openat = "runtime"'),
    (("--route-all", "runtime"), '[calls]\nroute."*" = "runtime"'),
    (("--handlers", "my.py"), '[handlers]\nfile = "/home/me/my.py"'),
    (("--strict", None), STRICT),
    (("--preset", "redis"), 'preset = "redis"'),
]
PRESET = b'version = 1\n[files]\nread = ["/p"]\nunlisted = "system"\n[[network.listen]]\nport = 1\nshield = "pass"\n'


def preset(name: str) -> Source:
    return Source(f"presets/{name}.toml", PRESET)


def with_flags(*flags: Flag, text: str = "version = 1\n") -> Policy:
    return effective(Source("f.toml", text.encode()), flags, cwd="/home/me", preset=preset)


@pytest.mark.parametrize(("flag", "text"), SAME)
def test_a_flag_means_what_the_file_would_say(flag: Flag, text: str) -> None:
    assert with_flags(flag) == with_flags(text=f"version = 1\n{text}\n")
    assert with_flags(flag) != with_flags()


def test_every_flag_is_compared_with_a_file() -> None:
    assert {flag for (flag, _), _ in SAME} == set(FRAGMENTS)


@pytest.mark.parametrize(
    "flag", [("--volume", "/x"), ("--volume", ":encrypt"), ("--secret", "/x"), ("--route", "read")]
)
def test_a_value_without_its_form_is_refused(flag: Flag) -> None:
    with pytest.raises(PolicyInvalid, match="value has not its form: write "):
        with_flags(flag)


def test_a_flag_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="--env: not UTF-8"):
        with_flags(("--env", "A=\udcff"))


def test_a_single_value_is_replaced_by_the_later_source() -> None:
    assert with_flags(("--preset", "redis")).files.unlisted == "system"
    text = 'version = 1\n[files]\nunlisted = "pass"\n'
    assert with_flags(("--preset", "redis"), text=text).files.unlisted == "pass"
    assert with_flags(("--preset", "redis"), ("--strict", None), text=text).files.unlisted == "refuse"


def test_lists_grow() -> None:
    text = 'version = 1\npreset = "redis"\n[files]\nread = ["/f", "/p"]\n'
    assert with_flags(text=text).files.read == ("/p", "/f")


def test_a_table_of_the_same_identity_is_replaced() -> None:
    found = with_flags(("--preset", "redis"), ("--tls", "1"))
    assert [rule.shield for rule in found.network.listen] == ["tls"]
    assert found.place("network.listen", "tcp *:1") == "--tls 1"


@pytest.mark.parametrize(
    ("text", "flag", "expected"),
    [
        ('[calls]\ndeny.mkdir = "EPERM"', ("--route", "mkdir=runtime"), '[calls]\nroute.mkdir = "runtime"'),
        ('[calls]\nroute.mkdir = "runtime"', ("--deny", "mkdir"), '[calls]\ndeny.mkdir = "EPERM"'),
        ('[environment]\ndrop = ["A", "B"]', ("--env", "A"), '[environment]\npass = ["A"]\ndrop = ["B"]'),
        ('[environment]\nset.A = "x"', ("--env", "A"), '[environment]\npass = ["A"]'),
        ('[environment]\ndrop = ["A"]', ("--env", "A=x"), '[environment]\nset.A = "x"'),
    ],
)
def test_what_a_flag_says_of_a_name_replaces_what_the_file_said(text: str, flag: Flag, expected: str) -> None:
    assert with_flags(flag, text=f"version = 1\n{text}\n") == parse(f"version = 1\n{expected}\n".encode())


def test_a_denial_never_opens_a_list_of_calls() -> None:
    found = with_flags(("--deny", "read"), text='version = 1\n[calls]\nallow = ["read"]\n')
    assert found.calls.allow == ("read",)
    assert found.calls.deny == (("read", "EPERM"),)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(PolicyInvalid, match=r'there is no preset "ngnix": did you mean "nginx"\?'):
        with_flags(("--preset", "ngnix"))


def test_rules_hold_for_what_sources_say_together() -> None:
    text = 'version = 1\n[[volume]]\npath = "/one"\nmode = "encrypt"\nhost_path = "/home/me/data"\n'
    with pytest.raises(PolicyInvalid, match="--data data: /home/me/data would hold two volumes"):
        with_flags(("--data", "data"), text=text)
