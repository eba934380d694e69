"""What can't be wrapped is refused with rule, object and remedy; what can be is found through its #! lines."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from scone_preload.elf.classify import classify
from scone_preload.errors import BinaryNotFound, BinaryRefused, GainsPrivilege, NotRunnable

TRUE = Path("/bin/true")


def program(folder: Path, *flags: str) -> Path:
    source, target = folder / "p.c", folder / "p"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", *flags, "-o", str(target), str(source)], check=True)
    return target


def changed(folder: Path, offset: int, raw: bytes) -> Path:
    """A copy of /bin/true with some bytes of its header replaced."""
    data = bytearray(TRUE.read_bytes())
    data[offset : offset + len(raw)] = raw
    return executable(folder / "changed", bytes(data))


def executable(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o755)
    return path


def refusal(path: Path) -> BinaryRefused:
    with pytest.raises(BinaryRefused) as caught:
        classify(path)
    assert caught.value.thing == str(path)
    assert caught.value.remedy
    return caught.value


def test_a_dynamic_program_is_accepted_with_its_loader() -> None:
    found = classify(TRUE)
    assert (found.path, found.loader, found.scripts) == (TRUE, "/lib64/ld-linux-x86-64.so.2", ())


def test_static_binaries_are_refused(tmp_path: Path) -> None:
    error = refusal(program(tmp_path, "-static"))
    assert error.rule == "static binary"
    assert "dynamically linked build" in error.remedy


def test_static_pie_binaries_are_refused(tmp_path: Path) -> None:
    assert "static-pie" in refusal(program(tmp_path, "-static-pie")).rule


@pytest.mark.parametrize(
    ("offset", "raw", "rule"),
    [
        (18, struct.pack("<H", 3), "32-bit program"),
        (4, b"\1", "x32 program"),
        (18, struct.pack("<H", 183), "program for another architecture (AArch64)"),
        (54, struct.pack("<H", 57), "damaged ELF file"),
        (16, struct.pack("<H", 1), "ELF file that is no program"),
    ],
)
def test_headers_of_other_kinds_are_refused(tmp_path: Path, offset: int, raw: bytes, rule: str) -> None:
    assert refusal(changed(tmp_path, offset, raw)).rule == rule


def test_a_loader_other_than_glibcs_is_refused(tmp_path: Path) -> None:
    data = TRUE.read_bytes().replace(b"/lib64/ld-linux-x86-64.so.2\0", b"/lib/ld-musl-x86_64.so.1\0\0\0\0")
    assert refusal(executable(tmp_path / "musl", data)).rule == "not a glibc program"


@pytest.mark.parametrize(("mode", "rule"), [(0o4755, "setuid program"), (0o2755, "setgid program")])
def test_programs_that_gain_identity_are_refused(tmp_path: Path, mode: int, rule: str) -> None:
    path = executable(tmp_path / "p", TRUE.read_bytes())
    path.chmod(mode)
    error = refusal(path)
    assert error.rule == rule
    assert isinstance(error, GainsPrivilege)


def test_programs_with_file_capabilities_are_refused(tmp_path: Path) -> None:
    path = executable(tmp_path / "p", TRUE.read_bytes())
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    try:
        os.setxattr(path, "security.capability", capability)
    except OSError as error:
        pytest.skip(f"setting file capabilities needs root and a file system with attributes: {error}")
    assert refusal(path).rule == "program with file capabilities"


def test_what_the_kernel_would_not_run_is_told_apart(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, rule in [
        (plain, "not executable"),
        (tmp_path, "a directory, not a program"),
        (fifo, "not a regular file"),
    ]:
        error = refusal(path)
        assert error.rule == rule
        assert isinstance(error, NotRunnable)
    assert refusal(executable(tmp_path / "text", b"echo hello\n")).rule == "not an ELF program"


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(BinaryNotFound):
        classify(tmp_path / "absent")


def test_scripts_lead_to_their_interpreter(tmp_path: Path) -> None:
    inner = executable(tmp_path / "inner", b"#! /bin/true -x y\n")
    outer = executable(tmp_path / "outer", f"#!{inner}\n".encode())
    assert classify(outer).scripts == (outer, inner)
    assert classify(outer).path == Path("/bin/true")


def test_a_script_of_a_static_interpreter_is_refused(tmp_path: Path) -> None:
    static = program(tmp_path, "-static")
    script = executable(tmp_path / "script", f"#!{static}\n".encode())
    with pytest.raises(BinaryRefused, match="static binary"):
        classify(script)


def test_script_lines_follow_the_kernels_rules(tmp_path: Path) -> None:
    assert refusal(executable(tmp_path / "empty", b"#!\n")).rule == "#! line without an interpreter"
    assert refusal(executable(tmp_path / "long", b"#!/" + b"x" * 300 + b"\n")).rule == "#! line without an interpreter"
    last = TRUE
    for level in range(6):
        last = executable(tmp_path / f"s{level}", f"#!{last}\n".encode())
    assert classify(tmp_path / "s4").path == TRUE
    assert refusal(last).rule == "too many #! levels"


def test_a_script_without_its_interpreter_names_both(tmp_path: Path) -> None:
    script = executable(tmp_path / "script", b"#!/nonexistent/interpreter\n")
    with pytest.raises(BinaryNotFound, match=r"/nonexistent/interpreter.*script"):
        classify(script)
