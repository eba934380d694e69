"""Every way to get a shim: cold, warm, raced for, damaged, without compiler or cache; when a warm answer is void."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lief
import pytest

from scone_preload.build import shims
from scone_preload.build.objects import Layout, whole_set
from scone_preload.build.provide import exec_shim, provide_shim
from scone_preload.build.toolchain import find_compiler
from scone_preload.build.warm import find_warm, index_file
from scone_preload.errors import BinaryRefused, MachineLacks
from scone_preload.paths import ROOT, cache_directories, is_trusted

Environment = dict[bytes, bytes]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return Path(shutil.copy("/bin/true", tmp_path / "program"))


def cache_of(environment: Environment) -> Path:
    return Path(os.fsdecode(environment[b"XDG_CACHE_HOME"])) / "scone-preload"


def test_a_shim_is_a_library_that_starts_first_and_opens_doors(built: Layout, environment: Environment) -> None:
    shim = lief.ELF.parse(provide_shim("/bin/cat", environment))
    assert shim is not None
    flags = next(
        entry
        for entry in shim.dynamic_entries
        if isinstance(entry, lief.ELF.DynamicEntryFlags) and entry.tag.name == "FLAGS_1"
    )
    assert lief.ELF.DynamicEntryFlags.FLAG.INITFIRST in flags.flags
    exported = {str(symbol.name) for symbol in shim.exported_symbols}
    assert {"read", "write"} <= exported
    assert "shim_image" not in exported
    assert not list(shim.libraries)


def test_the_second_start_neither_analyses_nor_compiles(
    built: Layout, program: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = provide_shim(str(program), environment)
    monkeypatch.setattr(shims, "build_shim", None)
    assert provide_shim(str(program), environment) == first
    assert exec_shim(program) != Path(first)  # another cache, by this process's environment


def test_a_warm_start_imports_no_analyser() -> None:
    code = "import sys, scone_preload.build.provide; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-Sc", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"lief", "capstone", "pathlib", "json", "hashlib", "dataclasses", "subprocess"} & set(out.split())


def test_a_changed_program_is_analysed_anew(built: Layout, program: Path, environment: Environment) -> None:
    first = provide_shim(str(program), environment)
    shutil.copy("/bin/cat", program)
    assert find_warm(str(program), environment) == ""
    assert provide_shim(str(program), environment) != first


def test_long_paths_that_share_an_index_file_are_told_apart(
    built: Layout, tmp_path: Path, environment: Environment
) -> None:
    paths = []
    for first, binary in (("a", "/bin/true"), ("b", "/bin/cat")):
        folder = tmp_path / first / ("x" * 120) / ("y" * 120)
        folder.mkdir(parents=True)
        paths.append(str(shutil.copy(binary, folder / "program")))
    assert index_file("", paths[0]) == index_file("", paths[1])
    assert provide_shim(paths[0], environment) != provide_shim(paths[1], environment)
    assert find_warm(paths[0], environment) == ""


def test_a_program_made_setuid_later_is_refused(built: Layout, program: Path, environment: Environment) -> None:
    provide_shim(str(program), environment)
    program.chmod(0o4755)
    with pytest.raises(BinaryRefused, match="setuid"):
        provide_shim(str(program), environment)


def test_a_rebuilt_libshim_voids_every_entry(built: Layout, program: Path, environment: Environment) -> None:
    first = provide_shim(str(program), environment)
    whole_set(built.objects, built.objects_id.read_text().strip()).rename(whole_set(built.objects, "0123"))
    built.objects_id.write_text("0123\n")
    assert find_warm(str(program), environment) == ""
    assert provide_shim(str(program), environment) != first


def test_another_library_path_voids_the_entry_but_for_an_exec(
    built: Layout, program: Path, environment: Environment
) -> None:
    first = provide_shim(str(program), environment)
    elsewhere = environment | {b"LD_LIBRARY_PATH": b"/nonexistent"}
    assert find_warm(str(program), elsewhere) == ""
    assert find_warm(str(program), elsewhere, same_search=False) == first


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_shim_is_rebuilt(
    built: Layout, program: Path, environment: Environment, damage: bytes | None
) -> None:
    shim = Path(provide_shim(str(program), environment))
    good = shim.read_bytes()
    if damage is None:
        shim.unlink()
    else:
        shim.write_bytes(damage)
    assert provide_shim(str(program), environment) == str(shim)
    assert shim.read_bytes() == good


def test_damaged_index_and_site_files_are_made_anew(built: Layout, program: Path, environment: Environment) -> None:
    shim = provide_shim(str(program), environment)
    index = Path(index_file(str(cache_of(environment)), str(program)))
    good = index.read_bytes()
    Path(shim).unlink()
    for path in [index, *(cache_of(environment) / "sites").iterdir()]:
        path.write_bytes(b"\xff\0damaged\n" * 5)
    assert provide_shim(str(program), environment) == shim
    assert index.read_bytes().splitlines()[3:] == good.splitlines()[3:]


def _start(path: str, environment: Environment, answers: "multiprocessing.Queue[str]") -> None:
    answers.put(provide_shim(path, environment))


def test_racing_starts_all_get_the_same_whole_shim(built: Layout, program: Path, environment: Environment) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    starts = [context.Process(target=_start, args=(str(program), environment, answers)) for _ in range(4)]
    for start in starts:
        start.start()
    found = {answers.get(timeout=120) for _ in starts}
    for start in starts:
        start.join()
    assert len(found) == 1
    assert lief.ELF.parse(found.pop()) is not None
    assert not list(cache_of(environment).rglob(".new-*"))


def test_without_a_compiler_the_generic_shim_serves_and_it_is_said_once(
    built: Layout,
    program: Path,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shims, "find_compiler", lambda: None)
    generic = str(built.root / "generic.so")
    assert [provide_shim(str(program), environment) for _ in range(2)] == [generic, generic]
    assert capfd.readouterr().err.count("no C compiler") == 1


def test_without_a_libshim_the_remedy_is_set_up(built: Layout, program: Path, environment: Environment) -> None:
    built.objects_id.unlink()
    with pytest.raises(MachineLacks, match="run tools/setup"):
        provide_shim(str(program), environment)


def test_an_unusable_cache_is_replaced_by_a_private_one_and_it_is_said_once(
    built: Layout,
    program: Path,
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cache_of(environment).write_text("a file is in the way")
    private = tmp_path / "private"
    wanted = [str(cache_of(environment)), str(private)]
    for module in ("scone_preload.cache", "scone_preload.build.warm"):
        monkeypatch.setattr(f"{module}.cache_directories", lambda _: wanted)
    first = provide_shim(str(program), environment)
    assert first.startswith(str(private))
    assert provide_shim(str(program), environment) == first
    assert capfd.readouterr().err.count("can't be used") == 1


def test_with_no_cache_at_all_the_generic_shim_serves(
    built: Layout,
    program: Path,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("scone_preload.cache.cache_directories", lambda _: ["/proc/nonexistent"])
    assert provide_shim(str(program), environment) == str(built.root / "generic.so")
    assert "no usable cache directory (/proc/nonexistent)" in capfd.readouterr().err


def test_a_cache_that_others_could_write_is_not_trusted(tmp_path: Path) -> None:
    good, shared, link = tmp_path / "good", tmp_path / "shared", tmp_path / "link"
    good.mkdir(mode=0o755)
    shared.mkdir()
    shared.chmod(0o777)
    link.symlink_to(good)
    assert [is_trusted(str(path)) for path in (good, shared, link, tmp_path / "absent")] == [True, False, False, False]
    if os.geteuid() != 0:
        pytest.skip("giving a directory to another user needs root")
    os.chown(good, 65534, 65534)
    assert not is_trusted(str(good))


def test_a_path_that_the_loader_would_split_holds_no_cache() -> None:
    assert cache_directories({b"XDG_CACHE_HOME": b"/a b"}) == [f"/tmp/scone-preload-{os.geteuid()}"]
    assert cache_directories({b"HOME": b"/home/x"})[0] == "/home/x/.cache/scone-preload"
    assert cache_directories({b"XDG_CACHE_HOME": b"relative", b"HOME": b"/h"})[0] == "/h/.cache/scone-preload"


def test_the_compiler_is_found_without_any_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = find_compiler()
    for name in list(os.environ):
        monkeypatch.delenv(name)
    found = find_compiler()
    assert wanted is not None
    assert found is not None
    assert (Path(found.command).name, found.version) == (Path(wanted.command).name, wanted.version)


def test_a_cache_folder_out_of_reach_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    code = (
        "import os, sys",
        "from scone_preload.cache import open_cache",
        "print(open_cache({b'XDG_CACHE_HOME': os.fsencode(sys.argv[1])})[0] is not None)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "; ".join(code), folder / "sub"], capture_output=True, text=True, check=False,
        timeout=60, user="nobody" if os.geteuid() == 0 else None,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr
