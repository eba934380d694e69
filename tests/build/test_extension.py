"""The Python module over libshim: built when what it is made from has changed, whole at every moment."""

import multiprocessing
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from scone_preload import paths
from scone_preload.build import __main__ as build_command
from scone_preload.build.extension import build_module
from scone_preload.build.objects import Layout, whole_set
from scone_preload.build.plans import objects_id
from scone_preload.build.toolchain import Compiler
from scone_preload.errors import InternalError, MachineLacks

SETS = ("one", "other")
READ = """
import sys
from scone_preload import libshim, paths
paths.MODULE = sys.argv[1]
print(libshim.constant("LANE_COUNT_MAX"), libshim.call(0).row.name, libshim.check_result(0, (3, 0, 10), 11).given)
"""


@pytest.fixture
def real(tmp_path: Path) -> Layout:
    """The real libshim, with its objects under two names, as if they were two sets."""
    whole = whole_set(Path(paths.OBJECTS), objects_id())
    for name in SETS:
        whole_set(tmp_path / "obj", name).symlink_to(whole)
    return Layout(
        root=Path(paths.ROOT),
        libshim=Path(paths.LIBSHIM),
        generated=Path(paths.GENERATED),
        objects=tmp_path / "obj",
        objects_id=tmp_path / "objects.id",
    )


def what_python_sees(module: Path) -> str:
    command = [sys.executable, "-c", READ, str(module)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def build(layout: Layout, compiler: Compiler, target: Path, objects: str = SETS[0]) -> list[str]:
    said: list[str] = []
    build_module(layout, compiler, objects, target, said.append)
    return said


def test_the_module_works_and_a_second_build_makes_nothing(real: Layout, compiler: Compiler, tmp_path: Path) -> None:
    target = tmp_path / "m.abi3.so"
    (said,) = build(real, compiler, target)
    assert said == f"_libshim: {target.stat().st_size} bytes"
    assert what_python_sees(target) == "256 read -5"
    before = target.stat()
    assert build(real, compiler, target) == ["_libshim is up to date"]
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_libshim_makes_another_module(real: Layout, compiler: Compiler, tmp_path: Path) -> None:
    target = tmp_path / "m.abi3.so"
    build(real, compiler, target)
    assert build(real, compiler, target, SETS[1]) != ["_libshim is up to date"]
    assert what_python_sees(target) == "256 read -5"


def test_a_number_changed_in_a_header_is_changed_in_python(real: Layout, compiler: Compiler, tmp_path: Path) -> None:
    changed = replace(real, libshim=Path(shutil.copytree(real.libshim, tmp_path / "libshim")))
    ring = changed.libshim / "wire" / "ring.h"
    ring.write_text(ring.read_text().replace("LANE_COUNT_MAX    256", "LANE_COUNT_MAX    77"))
    build(changed, compiler, tmp_path / "m.abi3.so")
    assert what_python_sees(tmp_path / "m.abi3.so").startswith("77 ")


def _build_often(layout: Layout, compiler: Compiler, target: Path) -> None:
    for objects in (*SETS, *SETS):
        build(layout, compiler, target, objects)


def test_builds_that_race_leave_a_whole_module_at_every_moment(
    real: Layout, compiler: Compiler, tmp_path: Path
) -> None:
    target = tmp_path / "m.abi3.so"
    build(real, compiler, target)
    builders = [multiprocessing.Process(target=_build_often, args=(real, compiler, target)) for _ in range(2)]
    for builder in builders:
        builder.start()
    while any(builder.is_alive() for builder in builders):
        assert what_python_sees(target) == "256 read -5"
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert not list(tmp_path.glob(".new-*"))


def test_a_missing_stand_in_is_told_by_its_name(real: Layout, compiler: Compiler, tmp_path: Path) -> None:
    lacking = tmp_path / "obj-lacking"
    shutil.copytree(whole_set(real.objects, SETS[0]), lacking)
    (lacking / "enclave-check.o").unlink()
    with pytest.raises(InternalError, match=r"undefined symbol: check_re\w+; give module\.c a stand-in"):
        build(real, compiler, tmp_path / "m.abi3.so", "lacking")
    assert not (tmp_path / "m.abi3.so").exists()


def test_without_pythons_headers_the_build_goes_on_and_leaves_no_old_module(
    real: Layout,
    compiler: Compiler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "m.abi3.so"
    target.write_bytes(b"old")
    monkeypatch.setattr(paths, "MODULE", str(target))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "/nonexistent")
    with pytest.raises(MachineLacks, match="python3-dev"):
        build(real, compiler, target)
    build_command._build_module(real, compiler, SETS[0])
    told = "no module for Python tests and tools: no headers of Python: /nonexistent: install python3-dev"
    assert told in capsys.readouterr().out
    assert not target.exists()
