"""The bitmap of possible calls is narrow only where that is proved."""

from pathlib import Path

from scone_preload.codegen.shim_c import choose_doors
from scone_preload.elf.calls import ALL_CALLS, ALWAYS, possible_calls
from scone_preload.elf.model import Analysis, Closure, Library, Site, Unpatched

CODE = bytes.fromhex("b8270000000f05")


def library(name: str, *imports: str, exports: tuple[str, ...] = ()) -> Library:
    return Library(Path(name), name, b"", name, frozenset(imports), frozenset(exports))


def calls_of(*objects: tuple[Library, Analysis], missing: tuple[str, ...] = ()) -> frozenset[int]:
    closure = Closure(tuple(one for one, _ in objects), missing)
    return possible_calls(closure, {one.identity: analysis for one, analysis in objects})


def sites(*numbers: tuple[int, ...]) -> Analysis:
    return Analysis(tuple(Site(16 * i, 5, CODE, proved) for i, proved in enumerate(numbers)), ())


LIBC = (library("libc.so.6"), sites((39,), (0,), (202, 14)))


def test_proved_numbers_make_the_bitmap() -> None:
    assert calls_of((library("program", "read"), sites()), LIBC) == ALWAYS | {0, 14, 39, 202}


def test_unpatched_sites_count_too() -> None:
    left = Analysis((), (Unpatched(0, "why", (77,)),))
    assert 77 in calls_of((library("program"), left), LIBC)


def test_whatever_can_bring_unknown_code_makes_every_call_possible() -> None:
    for name in ("syscall", "dlopen", "dlmopen", "getaddrinfo", "getpwnam_r", "iconv_open"):
        assert calls_of((library("program", name), sites()), LIBC) == ALL_CALLS, name


def test_an_unproved_site_makes_every_call_possible() -> None:
    assert calls_of((library("program"), sites(())), LIBC) == ALL_CALLS
    assert calls_of((library("program"), Analysis((), (Unpatched(0, "why", ()),))), LIBC) == ALL_CALLS


def test_a_missing_library_makes_every_call_possible() -> None:
    assert calls_of((library("program"), sites()), LIBC, missing=("libx.so",)) == ALL_CALLS


def test_libcs_known_unproved_sites_are_set_id_calls_and_no_more_of_them() -> None:
    known = calls_of((library("program"), sites()), (library("libc.so.6"), sites((), (), ())))
    assert {105, 117, 119} <= known < ALL_CALLS
    assert calls_of((library("program"), sites()), (library("libc.so.6"), sites((), (), (), ()))) == ALL_CALLS


def test_doors_are_for_what_is_imported_and_not_replaced() -> None:
    program = library("program", "read", "write", "recv", "open")
    assert choose_doors([program, library("libc.so.6", "poll")]) == ("read", "write")
    replacing = library("libeatmydata.so", exports=("write",))
    assert choose_doors([program, replacing]) == ("read",)
