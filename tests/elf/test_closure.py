"""The closure is what the loader itself would map, by ldd's word."""

import subprocess
from pathlib import Path

import pytest

from scone_preload.elf.closure import find_closure, find_libraries, read_library
from scone_preload.elf.ldcache import read_ld_cache
from tests.elf.conftest import Build

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARY = ".text\n.globl {0}\n.type {0},@function\n{0}: ret\n"


def by_ldd(program: Path, environ: dict[str, str]) -> set[Path]:
    out = subprocess.run(["ldd", str(program)], env=environ, capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in out.splitlines()]
    paths = [line[2] if "=>" in line else line[0] for line in words]
    return {Path(path).resolve() for path in paths if path.startswith("/")}


def ours(program: Path, environ: dict[str, str]) -> set[Path]:
    objects = find_closure(program, LOADER, environ).objects
    assert objects[0].path == program
    return {library.path.resolve() for library in objects[1:]}


@pytest.mark.parametrize("name", ["ls", "git", "bash", "perl", "sqlite3", "curl", "gdb", "as"])
def test_system_programs_agree_with_ldd(name: str) -> None:
    program = Path("/usr/bin", name)
    if not program.exists():
        pytest.skip(f"{name} is not installed here")
    assert ours(program, {}) == by_ldd(program, {"PATH": "/usr/bin:/bin"})


def needing(build: Build, *flags: str) -> Path:
    """A program that needs libown.so, linked with the flags."""
    text = ".text\n.globl _start\n_start: call own@PLT\n"
    return build(text, "-pie", "-Wl,-dynamic-linker," + LOADER, *flags, name="program")


@pytest.mark.parametrize("tag", ["--enable-new-dtags", "--disable-new-dtags"])
def test_libraries_beside_the_program_are_found_by_rpath_and_runpath(assemble: Build, tmp_path: Path, tag: str) -> None:
    library = assemble(LIBRARY.format("own"), "-shared", "-Wl,-soname,libown.so", name="libown.so")
    program = needing(assemble, f"-L{tmp_path}", "-lown", f"-Wl,{tag},-rpath,$ORIGIN")
    assert library.resolve() in ours(program, {})


def test_the_library_path_comes_before_runpath_and_after_rpath(assemble: Build, tmp_path: Path) -> None:
    first = assemble(LIBRARY.format("own"), "-shared", "-Wl,-soname,libown.so", name="libown.so")
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "libown.so"
    other.write_bytes(first.read_bytes())
    environ = {"LD_LIBRARY_PATH": str(other.parent)}
    runpath = needing(assemble, f"-L{tmp_path}", "-lown", "-Wl,--enable-new-dtags,-rpath,$ORIGIN")
    assert other.resolve() in ours(runpath, environ)
    rpath = needing(assemble, f"-L{tmp_path}", "-lown", "-Wl,--disable-new-dtags,-rpath,$ORIGIN")
    assert first.resolve() in ours(rpath, environ)


def test_a_library_that_is_nowhere_is_named(assemble: Build, tmp_path: Path) -> None:
    assemble(LIBRARY.format("own"), "-shared", "-Wl,-soname,libown.so", name="libown.so")
    program = needing(assemble, f"-L{tmp_path}", "-lown")
    assert find_closure(program, LOADER, {}).missing == ("libown.so",)


def test_objects_are_known_by_build_id_or_by_their_bytes(assemble: Build) -> None:
    plain = read_library(assemble(LIBRARY.format("own"), "-shared", "-Wl,--build-id=none", name="plain.so"))
    assert plain.build_id == b""
    assert plain.identity.startswith("sha256-")
    marked = read_library(assemble(LIBRARY.format("own"), "-shared", "-Wl,--build-id=sha1", name="marked.so"))
    assert len(marked.build_id) == 20
    assert marked.identity == marked.build_id.hex()
    assert "own" in marked.exports


def test_the_library_cache_is_read_as_ldconfig_prints_it() -> None:
    out = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    wanted: dict[str, list[Path]] = {}
    for line in out.splitlines()[1:]:
        name, kind, path = line.strip().partition(" (")[0], line.partition("(")[2], line.rpartition("=> ")[2]
        if kind.startswith("libc6,x86-64") and "=>" in line:
            wanted.setdefault(name, []).append(Path(path))
    assert wanted
    assert read_ld_cache(Path("/etc/ld.so.cache").read_bytes()) == wanted


def test_other_bytes_are_no_library_cache() -> None:
    with pytest.raises(ValueError, match="library cache"):
        read_ld_cache(b"x" * 100)


def test_the_c_library_is_found_without_a_program() -> None:
    assert [library.name for library in find_libraries(("libc.so.6", "libnonexistent.so.9"))] == ["libc.so.6"]
