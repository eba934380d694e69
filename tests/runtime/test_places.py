"""A process with a root of its own: what it may execute is found and judged as that process sees it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scone_preload.paths import GENERIC_SHIM
from scone_preload.runtime.places import shares_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root")


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """A root with a shell, one more program behind an absolute link, and a static program."""
    (tmp_path / "bin").mkdir()
    for program in ("/bin/sh", "/bin/echo"):
        listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/lib\S+)", listed):
            target = tmp_path / library[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
        shutil.copy(program, tmp_path / "bin")
    (tmp_path / "bin" / "said").symlink_to("/bin/echo")
    (tmp_path / "static.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "bin" / "static", tmp_path / "static.c"], check=True)
    (tmp_path / "bin" / "script").write_text("#!/bin/static\n")
    (tmp_path / "bin" / "script").chmod(0o755)
    return tmp_path


def in_jail(scone_wrap: Path, jail: Path, command: str, *, with_shim: bool) -> subprocess.CompletedProcess[str]:
    """Run a shell command in the jail, wrapped; the mounts are gone with the process."""
    folder = Path(GENERIC_SHIM).parent
    (jail / str(folder)[1:]).mkdir(parents=True, exist_ok=True)
    mount = f"mount --bind {folder} {jail}{folder} && " if with_shim else ""
    script = f"{mount}exec {scone_wrap} chroot {jail} /bin/sh -c '{command}'"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_root_where_the_shim_is_visible_will_do(scone_wrap: Path, jail: Path) -> None:
    done = in_jail(scone_wrap, jail, "/bin/said in; cd /bin; ./echo jail", with_shim=True)
    assert (done.stdout, done.stderr, done.returncode) == ("in\njail\n", "", 0)


def test_a_root_where_the_shim_is_not_visible_is_refused(scone_wrap: Path, jail: Path) -> None:
    done = in_jail(scone_wrap, jail, "/bin/echo unwrapped", with_shim=False)
    assert done.stdout == ""
    assert done.returncode == 126
    assert "shim not visible in this root" in done.stderr


@pytest.mark.parametrize("program", ["/bin/static", "/bin/script"])
def test_what_can_not_be_wrapped_is_refused_there_too(scone_wrap: Path, jail: Path, program: str) -> None:
    done = in_jail(scone_wrap, jail, f"{program}; /bin/echo $?", with_shim=True)
    assert done.stdout == "126\n"
    assert "static" in done.stderr


def test_a_process_of_this_root_shares_it() -> None:
    assert shares_root(os.getpid())


def test_a_process_of_another_root_does_not(jail: Path) -> None:
    process = subprocess.Popen(["chroot", jail, "/bin/sh", "-c", "echo up; read line"], stdin=-1, stdout=-1, text=True)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    assert not shares_root(process.pid)
    process.communicate()
