"""libshim as Python sees it: typed, told clearly when it isn't there, and never a part of a start."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scone_preload import libshim, paths
from scone_preload.errors import MachineLacks

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def unloaded() -> None:
    """The next use loads the module anew; afterwards the real one is loaded again."""
    libshim._load.cache_clear()


@pytest.mark.usefixtures("unloaded")
def test_without_the_module_its_user_is_told_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "MODULE", str(tmp_path / "none.so"))
    with pytest.raises(MachineLacks, match=r"Python module not built: .*none\.so: .*tools/setup builds it"):
        libshim.constant("LANE_SIZE")


@pytest.mark.usefixtures("unloaded")
def test_what_is_no_module_is_told_the_same_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.so").write_bytes(b"not a library")
    monkeypatch.setattr(paths, "MODULE", str(tmp_path / "bad.so"))
    with pytest.raises(MachineLacks, match="tools/setup"):
        libshim.call(0)


def test_a_start_imports_neither_it_nor_cffi() -> None:
    code = "import sys, scone_preload.cli.wrap, scone_preload.runtime.launch, scone_preload.runtime.host; "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(*sys.modules)"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "scone_preload.runtime.host" in loaded
    assert not {"cffi", "_cffi_backend", "scone_preload.libshim", "scone_preload._libshim"} & loaded


def test_a_name_that_no_header_has_is_an_error() -> None:
    with pytest.raises(AttributeError):
        libshim.constant("LANE_SIZ")
    with pytest.raises(IndexError):
        libshim.call(libshim.constant("CALL_COUNT"))


def test_a_struct_is_packed_as_c_lays_it_out() -> None:
    raw = libshim.pack("ctl_stats", header={"pid": -1}, stats={"calls_by_exit": [1, 2], "calls": [7]})
    fields = libshim.layout("wire_stats").fields
    assert len(raw) == libshim.layout("ctl_stats").size == 4320
    assert raw[12:16] == b"\xff" * 4
    at = libshim.layout("ctl_header").size + fields["calls"].offset
    assert raw[at : at + 16] == bytes((7, *[0] * 15))
    assert sum(raw) == 4 * 255 + 1 + 2 + 7


def test_a_struct_of_the_wrong_size_is_not_looked_at() -> None:
    with pytest.raises(ValueError, match="timespec has 16 bytes, not 15"):
        libshim.check_struct("timespec", bytes(15))


def test_memory_is_there_at_its_address() -> None:
    held = libshim.Memory(bytes(12) + (100).to_bytes(4, "little"))  # struct iovec, its size in the upper half
    assert not libshim.check_result(19, (0, held.address, 1), 100 << 32).is_refused
    assert libshim.check_result(19, (0, held.address, 1), (100 << 32) + 1).is_refused


def test_each_thread_checks_by_itself() -> None:
    refused: list[int] = []

    def work() -> None:
        for result in range(2000):
            if libshim.check_result(0, (3, 0, 1000), result).is_refused:
                refused.append(result)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refused) == sorted(4 * list(range(1001, 2000)))


def test_inside_of_a_shim_it_says_that_no_check_can_be_called(scone_wrap: Path) -> None:
    code = "from scone_preload import libshim; print(libshim.constant('LANE_SIZE')); libshim.check_result(0, (), 0)"
    done = subprocess.run(
        [scone_wrap, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{libshim.constant('LANE_SIZE')}\n"
    assert "MachineLacks: no GS base" in done.stderr
    assert "run it outside of scone-wrap" in done.stderr
