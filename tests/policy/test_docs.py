"""docs/policy.md says what the code does."""

import re
from pathlib import Path

from scone_preload.policy.docs import emit
from scone_preload.policy.effective import effective, parse
from scone_preload.policy.flags import FRAGMENTS
from scone_preload.policy.keys import KEYS
from scone_preload.policy.presets import PRESETS
from tests.policy.test_presets import read

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text()


def test_the_tables_of_keys_are_those_of_the_code() -> None:
    assert emit() in PAGE, "run `python -m scone_preload.policy` and put its output at the end of docs/policy.md"


def test_every_key_is_described() -> None:
    assert [key.full for key in KEYS if not key.meaning.endswith((".", '"'))] == []


def test_every_flag_is_described() -> None:
    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.M)) == set(FRAGMENTS)


def test_every_preset_is_named() -> None:
    assert f"Presets: {', '.join(PRESETS)} (" in " ".join(PAGE.split())


def test_the_examples_are_right() -> None:
    first, learned, worked, _ = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (redis,) = effective(None, [("--preset", "redis")], preset=read).network.listen[:1]
    without = parse(first.replace('preset = "redis"', "").encode())
    assert without.network.listen[0].label == redis.label
    assert parse(f"version = 1\n{learned}".encode()).files.read == ("/etc/nginx/",)
    assert parse(worked.encode()).calls.unlisted == "stop"
