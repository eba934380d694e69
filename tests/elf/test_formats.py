"""`#!` lines and binfmt_misc registrations mean what they mean to the kernel, which is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from scone_preload.elf.classify import classify
from scone_preload.elf.formats import find_format, parse_format, script_interpreter
from scone_preload.errors import BinaryRefused, NoFormat

NAMER = "#include <stdio.h>\nint main(int count, char **names) { (void)count; return puts(names[0]) < 0; }\n"
# `@` stands for the interpreter's path.
LINES = {
    "plain": b"#!@\n",
    "spaces and tabs": b"#! \t@\t \n",
    "an argument": b"#!@ -x y\n",
    "carriage return": b"#!@\r\n",
    "vertical tab": b"#!@\vmore\n",
    "no newline": b"#!@",
    "no newline but an argument": b"#!@ x",
    "NUL": b"#!@\0more\n",
    "NUL first": b"#!\0@\n",
    "NUL before the newline of a long line": b"#!@" + b"\0" * 300 + b"\n",
    "nothing": b"#!\n",
    "nothing but spaces": b"#!   \t \n",
    "nothing but spaces for 300 bytes": b"#!" + b" " * 300 + b"@\n",
    "a long argument": b"#!@ " + b"x" * 300 + b"\n",
    "a path that is cut": b"#!@" + b"/." * 150 + b"\n",
    "spaces until byte 255": b"#!@" + b" " * 300,
}


@pytest.fixture(scope="module")
def namer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("namer")
    (folder / "namer.c").write_text(NAMER)
    subprocess.run(["gcc", "-o", folder / "namer", folder / "namer.c"], check=True)
    return folder / "namer"


def agrees(line: bytes, namer: Path, folder: Path) -> None:
    script, ours = folder / "script", script_interpreter(line)
    script.write_bytes(line)
    script.chmod(0o755)
    if not ours:
        with pytest.raises(OSError, match="Exec format error" if ours is None else "Permission denied"):
            subprocess.run([script], cwd=folder, check=True, capture_output=True)
        return
    if not (folder / os.fsdecode(ours)).exists():
        shutil.copy(namer, folder / os.fsdecode(ours))
    told = subprocess.run([script], cwd=folder, check=True, capture_output=True).stdout
    assert told == ours + b"\n"


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_the_kernel_opens_the_interpreter_that_we_look_at(line: bytes, namer: Path, tmp_path: Path) -> None:
    agrees(line.replace(b"@", os.fsencode(tmp_path / "namer")), namer, tmp_path)
    agrees(line.replace(b"@", b"./namer"), namer, tmp_path)


@pytest.mark.parametrize("size", range(250, 260))
def test_a_path_that_ends_near_the_255th_byte_is_read_as_the_kernel_reads_it(
    size: int, namer: Path, tmp_path: Path
) -> None:
    shutil.copy(namer, tmp_path / "namer")
    path = b"./namer".rjust(size - 2, b" ")
    for end in (b"\n", b"", b" x\n", b"x\n"):
        line = b"#!" + path + end
        agrees(line, namer, tmp_path)


REGISTERED = "enabled\ninterpreter /usr/bin/qemu\nflags: OC\noffset 2\nmagic 4142\nmask fff0\n"


def test_a_registration_matches_by_its_bytes_under_its_mask() -> None:
    found = parse_format("abc", REGISTERED)
    assert found
    assert (found.interpreter, found.fixed) == ("/usr/bin/qemu", False)
    assert find_format([found], "/x", b"..AB..") is found
    assert find_format([found], "/x", b"..AO..") is found
    assert find_format([found], "/x", b"..BA..") is None
    assert find_format([found], "/x", b"..A") is None


def test_a_registration_matches_by_what_follows_the_last_dot() -> None:
    found = parse_format("java", "enabled\ninterpreter /usr/bin/java\nflags: \nextension .jar\n")
    assert found
    assert find_format([found], "/a.b/x.jar", b"") is found
    assert find_format([found], "/a.jar/x", b"") is None
    assert find_format([found], "jar", b"") is None


def test_a_disabled_registration_is_none() -> None:
    assert parse_format("abc", REGISTERED.replace("enabled", "disabled")) is None


def test_what_a_registration_claims_is_judged_by_its_interpreter(tmp_path: Path) -> None:
    claimed = tmp_path / "x.claimed"
    claimed.write_text("anything")
    claimed.chmod(0o755)
    with pytest.raises(NoFormat):
        classify(claimed)
    formats = [parse_format("it", "enabled\ninterpreter /bin/true\nflags: \nextension .claimed\n")]
    assert formats[0]
    program = classify(claimed, formats=[formats[0]])
    assert (program.path, program.scripts) == (Path("/bin/true"), (claimed,))
    fixed = parse_format("it", "enabled\ninterpreter /bin/true\nflags: F\nextension .claimed\n")
    assert fixed
    with pytest.raises(BinaryRefused, match="flag F"):
        classify(claimed, formats=[fixed])


def test_a_relative_interpreter_is_of_the_folder_of_who_executes(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!inner\n")
    script.chmod(0o755)
    (tmp_path / "inner").symlink_to("/bin/true")
    assert classify(script, folder=tmp_path).path == tmp_path / "inner"
