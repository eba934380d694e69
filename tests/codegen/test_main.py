"""`python -m scone_preload.codegen`: what it writes, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scone_preload.codegen", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_writes_the_c_files_and_leaves_right_ones_alone(tmp_path: Path) -> None:
    folder = tmp_path / "gen"
    assert run(folder).returncode == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"calls.gen.c", "calls.gen.h", "hostile.gen.c", "hostile.gen.h"}
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "calls.gen.h").write_text("damaged")
    assert run(folder).returncode == 0
    changed = {path.name for path, mtime in before.items() if path.stat().st_mtime_ns != mtime}
    assert changed == {"calls.gen.h"}
    assert "damaged" not in (folder / "calls.gen.h").read_text()


def test_it_writes_the_support_table(tmp_path: Path) -> None:
    assert run("--docs", tmp_path / "syscalls.md").returncode == 0
    assert (tmp_path / "syscalls.md").read_text().startswith("# Syscalls\n")


def test_wrong_arguments_are_refused_with_the_usage() -> None:
    for arguments in ((), ("--doc", "x"), ("a", "b"), ("--help",)):
        done = run(*arguments)
        assert done.returncode == 125
        assert "python -m scone_preload.codegen OUTDIR" in done.stderr


def test_generation_imports_nothing_but_the_standard_library() -> None:
    code = "import sys, scone_preload.codegen.outputs as o; o.generated(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lief", "capstone", "elftools", "cryptography", "cffi"} & set(done.stdout.split())
