"""Objects are compiled when what they are made from has changed, and only then."""

from pathlib import Path

import pytest

from scone_preload.build.objects import Layout, build_objects, object_files, whole_set
from scone_preload.build.toolchain import Compiler
from scone_preload.errors import InternalError, MachineLacks


def compiled(layout: Layout, compiler: Compiler) -> tuple[set[str], str]:
    said: list[str] = []
    identity = build_objects(layout, compiler, said.append)
    return {line.removeprefix("compile ") for line in said if line.startswith("compile ")}, identity


def test_a_second_build_compiles_nothing(layout: Layout, compiler: Compiler) -> None:
    first = compiled(layout, compiler)
    assert first[0] == {"core.c", "served.c"}
    assert compiled(layout, compiler) == (set(), first[1])
    assert layout.objects_id.read_text().strip() == first[1]


def test_a_changed_source_is_compiled_alone(layout: Layout, compiler: Compiler) -> None:
    _, before = compiled(layout, compiler)
    source = layout.libshim / "host" / "served.c"
    source.write_text(source.read_text() + "/* more */\n")
    names, after = compiled(layout, compiler)
    assert names == {"served.c"}
    assert after != before


def test_a_changed_header_is_compiled_into_all_that_may_include_it(layout: Layout, compiler: Compiler) -> None:
    compiled(layout, compiler)
    (layout.libshim / "wire" / "helper.h").write_text("enum { HELPED = 8 };\n")
    assert compiled(layout, compiler)[0] == {"core.c", "served.c"}


def test_an_object_without_a_source_goes(layout: Layout, compiler: Compiler) -> None:
    compiled(layout, compiler)
    (layout.libshim / "host" / "served.c").unlink()
    compiled(layout, compiler)
    assert [path.name for path in layout.objects.glob("*.o")] == ["enclave-core.o"]


def test_generated_code_belongs_to_the_enclave_unless_it_says_host(layout: Layout, compiler: Compiler) -> None:
    (layout.generated / "calls.gen.c").write_text('#include "shim_abi.h"\n')
    (layout.generated / "host_calls.gen.c").write_text('#include "helper.h"\n')
    assert compiled(layout, compiler)[0] >= {"calls.gen.c", "host_calls.gen.c"}
    assert {"enclave-calls.gen.o", "host-host_calls.gen.o"} <= {path.name for path in layout.objects.glob("*.o")}


def test_code_for_tests_is_in_no_shim(layout: Layout, compiler: Compiler) -> None:
    (layout.generated / "hostile.gen.c").write_text("const int lies = 1;\n")
    compiled(layout, compiler)
    assert {path.name for path in layout.objects.glob("*.o")} == {"enclave-core.o", "host-served.o"}


def test_the_host_side_can_not_include_the_enclaves(layout: Layout, compiler: Compiler) -> None:
    (layout.libshim / "host" / "served.c").write_text('#include "shim_abi.h"\n')
    with pytest.raises(InternalError, match=r"shim_abi\.h"):
        compiled(layout, compiler)


def test_a_warning_is_an_error_in_the_compilers_words(layout: Layout, compiler: Compiler) -> None:
    (layout.libshim / "enclave" / "bad.c").write_text("int f(long x);\nint f(long x) { return x; }\n")
    with pytest.raises(InternalError, match="conversion"):
        compiled(layout, compiler)


def test_objects_name_no_path_of_this_machine(layout: Layout, compiler: Compiler, tmp_path: Path) -> None:
    compiled(layout, compiler)
    for path in layout.objects.glob("*.o"):
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_failed_build_leaves_the_set_before_it_whole(layout: Layout, compiler: Compiler) -> None:
    _, identity = compiled(layout, compiler)
    whole = {path.name: path.read_bytes() for path in whole_set(layout.objects, identity).iterdir()}
    assert set(whole) == {"enclave-core.o", "host-served.o"}
    (layout.libshim / "wire" / "helper.h").write_text("enum { HELPED = 8 };\n")
    (layout.libshim / "enclave" / "core.c").write_text("not C\n")
    with pytest.raises(InternalError):
        compiled(layout, compiler)
    assert layout.objects_id.read_text().strip() == identity
    assert {path.name: path.read_bytes() for path in whole_set(layout.objects, identity).iterdir()} == whole


def test_the_last_two_sets_stay(layout: Layout, compiler: Compiler) -> None:
    identities = []
    for value in range(3):
        (layout.libshim / "wire" / "helper.h").write_text(f"enum {{ HELPED = {value} }};\n")
        identities.append(compiled(layout, compiler)[1])
    assert [whole_set(layout.objects, identity).exists() for identity in identities] == [False, True, True]


def test_a_set_that_is_gone_is_never_linked_without(layout: Layout) -> None:
    with pytest.raises(MachineLacks, match="run tools/setup"):
        object_files(whole_set(layout.objects, "gone"))
