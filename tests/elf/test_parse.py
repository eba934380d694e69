"""What is no ELF object is refused in one way, whatever it is: a directory once ended the runtime host."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scone_preload.elf.closure import read_library
from scone_preload.elf.image import load_image


@pytest.mark.parametrize("read", [read_library, load_image], ids=lambda read: read.__name__)
@pytest.mark.parametrize("kind", ["a directory", "text", "nothing"])
def test_what_is_no_elf_object_is_a_value_error_and_nothing_is_printed(
    read: Callable[[Path], object], kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    if kind == "a directory":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello")
    with pytest.raises(ValueError, match="not an ELF file"):
        read(path)
    assert capfd.readouterr() == ("", "")
