"""A small libshim of its own for the build tests, so that they say nothing about the real one."""

import shutil
from pathlib import Path

import pytest

from scone_preload import paths
from scone_preload.build import plans, provide, shims, warm
from scone_preload.build.objects import Layout, build_objects
from scone_preload.build.toolchain import Compiler, find_compiler

ABI = Path(__file__).resolve().parents[2] / "libshim" / "enclave" / "shim_abi.h"
CORE = """
#include "shim_abi.h"
#include "helper.h"
long door_symbol(void);
long door_symbol(void) { return HELPED + (long)shim_image.id; }
const char *door_single_threaded = "";
"""


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    found = find_compiler()
    assert found is not None
    return found


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An enclave side, a host side and a wire header."""
    root = tmp_path / "root"
    for side in ("enclave", "host", "wire"):
        (root / "libshim" / side).mkdir(parents=True)
    (root / "gen").mkdir()
    shutil.copy(ABI, root / "libshim" / "enclave")
    (root / "libshim" / "enclave" / "core.c").write_text(CORE)
    (root / "libshim" / "wire" / "helper.h").write_text("enum { HELPED = 7 };\n")
    (root / "libshim" / "host" / "served.c").write_text(
        '#include "helper.h"\nint served(void);\nint served(void) { return HELPED; }\n'
    )
    return Layout(root, root / "libshim", root / "gen", root / "obj", root / "objects.id")


@pytest.fixture
def built(layout: Layout, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The small libshim, compiled, with a stand-in for the generic shim, in the place of the real one."""
    build_objects(layout, compiler, lambda _: None)
    generic = layout.root / "generic.so"
    generic.write_bytes(b"generic")
    monkeypatch.setattr(warm, "OBJECTS_ID", str(layout.objects_id))
    monkeypatch.setattr(provide, "GENERIC_SHIM", str(generic))
    monkeypatch.setattr(shims, "OBJECTS", str(layout.objects))
    monkeypatch.setattr(shims, "LIBSHIM", str(layout.libshim))
    assert plans.objects_id() == layout.objects_id.read_text().strip()
    assert str(generic) != paths.GENERIC_SHIM
    return layout


@pytest.fixture
def environment(tmp_path: Path) -> dict[bytes, bytes]:
    """An environment whose cache is the test's own."""
    (tmp_path / "cache").mkdir()
    return {b"XDG_CACHE_HOME": str(tmp_path / "cache").encode(), b"HOME": b"/nonexistent"}
