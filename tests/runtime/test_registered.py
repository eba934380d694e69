"""Files that the kernel runs by binfmt_misc: by a real registration, in a user namespace of its own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.modes import REPOSITORY, SCONE_WRAP, warm

IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-ec")
REGISTER = """
mount -t binfmt_misc none "$BINFMT"
printf '%s' ":of-the-test:E::of-the-test::$INTERPRETER:" > "$BINFMT/register"
"""


@pytest.fixture(scope="module", autouse=True)
def _kernel_has_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("binfmt")
    if run("true", folder, "/bin/true").returncode:
        pytest.skip("this kernel has no binfmt_misc of a user namespace (Linux 6.7), or no user namespaces for us")
    warm("/bin/sh", "/bin/cat")


def run(script: str, folder: Path, interpreter: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where that interpreter is registered for *.of-the-test."""
    (folder / "mount").mkdir(exist_ok=True)
    file = folder / "file.of-the-test"
    file.write_text("the file's text\n")
    file.chmod(0o755)
    values = {"BINFMT": str(folder / "mount"), "INTERPRETER": interpreter, "WRAP": str(SCONE_WRAP), "FILE": str(file)}
    return subprocess.run(
        [*IN_NAMESPACE, REGISTER + script],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": str(REPOSITORY / ".venv/bin/python"), **values},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def static_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("static")
    (folder / "static.c").write_text('#include <stdio.h>\nint main(void) { return puts("ran unwrapped") < 0; }\n')
    subprocess.run(["gcc", "-static", "-o", folder / "static", folder / "static.c"], check=True)
    return str(folder / "static")


def test_the_kernel_runs_such_a_file_natively(tmp_path: Path, static_program: str) -> None:
    assert run('"$FILE"', tmp_path, static_program).stdout == "ran unwrapped\n"


def test_a_file_whose_registered_interpreter_can_be_wrapped_runs_under_it(tmp_path: Path) -> None:
    done = run('"$WRAP" --trace sh -c "$FILE; :"', tmp_path, "/bin/cat")
    assert done.stdout == "the file's text\n", done.stderr
    assert re.search(rf'open(at)?\(.*"{tmp_path}/file.of-the-test"', done.stderr), "cat's calls cross as well"


def test_a_file_whose_registered_interpreter_is_static_is_refused(tmp_path: Path, static_program: str) -> None:
    done = run('"$WRAP" sh -c "$FILE; echo status $?"', tmp_path, static_program)
    assert "ran unwrapped" not in done.stdout
    assert "static binary" in done.stderr, done


def test_a_registration_in_a_mount_that_cannot_be_seen_is_not_asked(tmp_path: Path, static_program: str) -> None:
    hidden = 'unshare --mount sh -ec \'umount "$BINFMT"; "$FILE"; echo then; "$WRAP" sh -c "$FILE"\''
    done = run(hidden, tmp_path, static_program)
    assert done.stdout == "ran unwrapped\nthen\n", done


def test_a_start_of_such_a_file_names_what_to_start_instead(tmp_path: Path) -> None:
    done = run('"$WRAP" "$FILE"', tmp_path, "/bin/cat")
    assert done.returncode == 126
    assert f"scone-wrap /bin/cat {tmp_path}/file.of-the-test" in done.stderr
