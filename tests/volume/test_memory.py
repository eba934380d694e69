"""The size of a volume's cache, where nobody says it, and where a policy does."""

from pathlib import Path

import pytest

from scone_preload.volume import memory
from scone_preload.volume.format import Freshness
from scone_preload.volume.keys import Keys
from scone_preload.volume.opening import Asked, open_volume
from tests.volume.test_opening import Access

MIB = 1 << 20


@pytest.mark.parametrize(
    ("available_mib", "limits", "mib"),
    [
        (64000, {}, 256),
        (800, {}, 100),
        (30, {}, 16),
        (64000, {"/a/b": "max", "/a": str(400 * MIB), "": "max"}, 50),
        (64000, {"/a/b": str(300 * MIB), "/a": str(400 * MIB)}, 37),
        (64000, {"/c": str(100 * MIB)}, 256),
    ],
)
def test_it_is_an_eighth_of_what_there_is(
    monkeypatch: pytest.MonkeyPatch, available_mib: int, limits: dict[str, str], mib: int
) -> None:
    files = {f"/sys/fs/cgroup{name}/memory.max": f"{limit}\n" for name, limit in limits.items()}
    files["/proc/meminfo"] = f"MemTotal: 99999999 kB\nMemAvailable: {available_mib * 1024} kB\n"
    files["/proc/self/cgroup"] = "1:name=systemd:/x\n0::/a/b\n"
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory.chosen_cache_size() // MIB == mib


def test_without_proc_it_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_read", lambda _: "")
    assert memory.chosen_cache_size() == memory.MOST


def test_a_volume_has_the_cache_that_is_asked_for(tmp_path: Path) -> None:
    keys = Keys(Access(tmp_path / "keystore"))
    for name, freshness in (("", Freshness.EPHEMERAL), ("v", Freshness.ROLLBACK_PROTECTED)):
        for size in (64 * MIB, 0):
            opened = open_volume(Asked(str(tmp_path / name), None, freshness, cache_size=size), keys, lambda _: None)
            assert opened.core.usage()["cache_size"] == (size or memory.chosen_cache_size())
            opened.close()
