"""The policies that come along: right, and without anything that isn't built."""

from pathlib import Path

import pytest

from scone_preload.policy.document import Source
from scone_preload.policy.effective import effective
from scone_preload.policy.explain import decide
from scone_preload.policy.model import Policy
from scone_preload.policy.presets import FOLDER, PRESETS, preset_path
from scone_preload.policy.render import render
from scone_preload.policy.unbuilt import unbuilt

NEEDS = {
    "apache": ["read /etc/apache2/apache2.conf", "write /var/log/apache2/error.log", "listen 80", "variable LANG"],
    "memcached": ["listen 127.0.0.1:11211", "read /etc/passwd"],
    "nginx": ["read /etc/nginx/nginx.conf", "write /run/nginx.pid", "listen 80", "read /var/www/html/index.html"],
    "postgresql": ["write /var/lib/postgresql/15/main/PG_VERSION", "listen unix:/run/postgresql/.s.PGSQL.5432"],
    "python": ["exec /usr/bin/python3.11", "read /home/me/program.py", "connect example.com:443"],
    "redis": ["read /etc/redis/redis.conf", "write /var/lib/redis/dump.rdb", "listen 127.0.0.1:6379"],
    "sqlite": ["write /home/me/x.db"],
}
NOT_IN = {
    "apache": ["read /etc/shadow", "exec /bin/sh", "connect 1.2.3.4:80"],
    "memcached": ["write /etc/memcached.conf", "listen 11212"],
    "nginx": ["write /var/www/html/index.html", "connect 1.2.3.4:80", "exec /bin/sh"],
    "postgresql": ["read /etc/shadow", "exec /bin/sh"],
    "python": ["variable PYTHONPATH", "exec /home/me/tool"],
    "redis": ["write /etc/redis/redis.conf", "connect 1.2.3.4:6379", "exec /bin/sh"],
    "sqlite": ["connect 1.2.3.4:80", "exec /bin/sh"],
}


def read(name: str) -> Source:
    return Source(preset_path(name), Path(preset_path(name)).read_bytes())


def preset(name: str) -> Policy:
    return effective(None, [("--preset", name)], preset=read)


def test_every_file_is_a_preset() -> None:
    assert sorted(path.stem for path in Path(FOLDER).iterdir()) == sorted(PRESETS) == sorted(NEEDS) == sorted(NOT_IN)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_allows_what_its_program_needs_and_little_else(name: str) -> None:
    policy = preset(name)
    assert [question for question in NEEDS[name] if not decide(policy, question).allowed] == []
    assert [question for question in NOT_IN[name] if decide(policy, question).allowed] == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_asks_for_nothing_that_is_not_built(name: str) -> None:
    assert unbuilt(preset(name)) == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_at_its_top_how_it_is_used(name: str) -> None:
    assert read(name).text.startswith(b"# ")
    assert read(name).text.splitlines()[1].startswith(b"# " if name != "postgresql" else b"#   /usr/lib/")


@pytest.mark.parametrize("name", PRESETS)
def test_the_flags_that_a_preset_names_shield_it(name: str) -> None:
    words = [line for line in read(name).text.decode().splitlines() if line.startswith("#") and "  --" in line]
    flags = [tuple(flag.split()) for line in words for flag in line.partition("  --")[2].split("--")]
    pairs = [(f"--{flag}", value) for flag, value in flags if flag != "learn"]
    if pairs:
        policy = effective(None, [("--preset", name), *pairs], preset=read)
        assert len(unbuilt(policy)) + len(policy.volumes) == len(pairs)
    assert pairs or name == "python"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_package_data(name: str) -> None:
    assert '"presets/*.toml"' in (Path(FOLDER).parents[1] / "pyproject.toml").read_text()
    assert render(preset(name))
