"""What is done before a program starts: finding it, its environment, the machine."""

from pathlib import Path

import pytest

from scone_preload.errors import BinaryNotFound, BinaryRefused, MachineLacks
from scone_preload.runtime.launch import check_kernel, find_binary, given_environment, wrapped_environment


@pytest.mark.parametrize("release", ["5.11.0", "5.11-rc1", "6.1.0-18-amd64", "6.18.44-x", "10.0"])
def test_a_new_enough_kernel_will_do(release: str) -> None:
    check_kernel(release)


@pytest.mark.parametrize("release", ["5.10.0-28-amd64", "4.19.0", "2.6.60", "5"])
def test_a_kernel_without_user_dispatch_is_refused(release: str) -> None:
    with pytest.raises(MachineLacks, match=f"Syscall User Dispatch: Linux {release}: use Linux 5.11 or newer"):
        check_kernel(release)


def make(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    path.chmod(mode)
    return path


def test_a_name_is_looked_up_in_path_in_order(tmp_path: Path) -> None:
    make(tmp_path / "b" / "tool")
    make(tmp_path / "c" / "tool")
    assert find_binary("tool", f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c") == f"{tmp_path}/b/tool"


def test_an_empty_entry_of_path_is_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "tool")
    monkeypatch.chdir(tmp_path)
    assert find_binary("tool", "/nowhere:") == "./tool"


def test_what_is_not_executable_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path / "a" / "tool", 0o644)
    make(tmp_path / "b" / "tool")
    assert find_binary("tool", f"{tmp_path}/a:{tmp_path}/b") == f"{tmp_path}/b/tool"


def test_a_name_with_a_slash_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "tool")
    monkeypatch.chdir(tmp_path)
    assert find_binary("./tool", "/nowhere") == "./tool"


def test_what_is_nowhere_is_not_found() -> None:
    with pytest.raises(BinaryNotFound, match="command not found: no-such-tool") as caught:
        find_binary("no-such-tool", "/bin:/nowhere")
    assert caught.value.exit_status == 127


def test_a_path_that_is_not_there_is_not_found() -> None:
    with pytest.raises(BinaryNotFound, match="no such file: /nowhere/tool"):
        find_binary("/nowhere/tool", "/bin")


def test_what_is_there_but_not_executable_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "tool", 0o644)
    with pytest.raises(BinaryRefused, match=r"permission denied: .*chmod") as caught:
        find_binary("tool", str(tmp_path))
    assert caught.value.exit_status == 126


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BinaryRefused, match="directory"):
        find_binary(str(tmp_path), "/bin")


def test_the_shim_stands_before_the_users_own_preloads_and_the_variable_last() -> None:
    given = {b"LD_PRELOAD": b"/own.so /other.so", b"Z": b"1", b"A": b"2"}
    assert list(wrapped_environment(given, "/shim.so", "1,9,1,0,16").items()) == [
        (b"LD_PRELOAD", b"/shim.so:/own.so /other.so"),
        (b"Z", b"1"),
        (b"A", b"2"),
        (b"SCONE_SHIM", b"1,9,1,0,16"),
    ]


def test_without_own_preloads_the_shim_stands_alone() -> None:
    assert wrapped_environment({}, "/shim.so", "v") == {b"LD_PRELOAD": b"/shim.so", b"SCONE_SHIM": b"v"}


def test_an_empty_own_preload_stays_there_to_be_given_back() -> None:
    assert wrapped_environment({b"LD_PRELOAD": b""}, "/shim.so", "v")[b"LD_PRELOAD"] == b"/shim.so:"


def test_a_variable_of_another_wrapping_is_not_handed_on() -> None:
    assert list(wrapped_environment({b"SCONE_SHIM": b"old", b"A": b"1"}, "/s", "new").values())[-1] == b"new"


def test_the_environment_is_read_as_it_was_given() -> None:
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    assert list(given_environment().items()) == [tuple(entry.split(b"=", 1)) for entry in given if b"=" in entry]
