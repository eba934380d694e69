"""The probe and what it needs, for the tests that run programs under policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.modes import warm
from tests.runtime.probing import Prober, build_probe


@pytest.fixture(scope="session")
def probe_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe, with its shim built."""
    folder = tmp_path_factory.mktemp("probe")
    folder.chmod(0o755)
    binary = build_probe(folder)
    warm(binary)
    return binary


@pytest.fixture
def prober(probe_binary: Path, tmp_path: Path) -> Prober:
    """The probe, and a place: `open/` and `shut/`, each with `file`, a `link` to the other's, and a `sub/`."""
    for name, other in (("open", "shut"), ("shut", "open")):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
        (tmp_path / name / "sub" / "file").write_text(name)
        (tmp_path / name / "link").symlink_to(tmp_path / other / "file")
        (tmp_path / name / "sub" / "up").symlink_to(f"../../{other}")
    return Prober(probe_binary, tmp_path)
