"""Small objects made from assembly for the analysis tests."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., Path]


@pytest.fixture
def assemble(tmp_path: Path) -> Build:
    """Return a function that links assembly text (AT&T) into a shared library, or a program with other flags."""

    def build(text: str, *flags: str, name: str = "case.so", suffix: str = ".S") -> Path:
        source, target = tmp_path / f"{name}{suffix}", tmp_path / name
        source.write_text(text + '\n.section .note.GNU-stack,"",@progbits\n' if suffix == ".S" else text)
        command = ["gcc", "-nostdlib", "-o", str(target), str(source), *(flags or ("-shared",))]
        subprocess.run(command, check=True)
        return target

    return build
