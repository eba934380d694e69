"""A process that has given up its user can read its shim: else its loader would go on without it."""

import os
from pathlib import Path

import pytest

from scone_preload.errors import BinaryRefused
from scone_preload.runtime import publish
from scone_preload.runtime.publish import file_user, readable_by_all, readable_shim

STRANGER = 65534


@pytest.fixture
def private_shim(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    shim = folder / f"shim-{tmp_path.name}.so"
    shim.write_bytes(b"shim of " + os.fsencode(tmp_path))
    shim.chmod(0o644)
    return shim


def pretend(monkeypatch: pytest.MonkeyPatch, user: int, folder: Path) -> None:
    monkeypatch.setattr(publish, "file_user", lambda pid: user)
    monkeypatch.setattr(publish, "cache_directories", lambda environment: [str(folder)])


def test_the_user_of_a_process_is_known() -> None:
    assert file_user(os.getpid()) == os.geteuid()
    assert file_user(2**22 + 1) == -1


def test_all_can_read_what_lies_in_open_folders(private_shim: Path) -> None:
    assert readable_by_all(Path("/bin/true"))
    assert not readable_by_all(private_shim)


def test_our_own_user_gets_the_shim_itself(private_shim: Path) -> None:
    assert readable_shim(private_shim, os.getpid()) == private_shim


def test_another_user_gets_a_copy_that_all_can_read(
    private_shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.umask(0o077)
    pretend(monkeypatch, STRANGER, tmp_path / "public")
    copy = readable_shim(private_shim, 1)
    os.umask(0o022)
    assert copy != private_shim
    assert copy.read_bytes() == private_shim.read_bytes()
    assert [path.stat().st_mode & 0o777 for path in (copy, copy.parent)] == [0o644, 0o755]
    private_shim.write_bytes(b"built anew")
    assert readable_shim(private_shim, 1).read_bytes() == b"built anew"


def test_a_folder_that_others_can_write_to_is_not_used(
    private_shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public").chmod(0o777)
    pretend(monkeypatch, STRANGER, tmp_path / "public")
    with pytest.raises(BinaryRefused, match=r"not readable by user 65534.*XDG_CACHE_HOME"):
        readable_shim(private_shim, 1)
