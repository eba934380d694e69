"""scone-doctor: looks truthfully, and words what follows."""

import json
import subprocess
from pathlib import Path

import pytest

from scone_preload.cli import doctor
from scone_preload.cli.doctor import Finding


def run(scone_doctor: Path, *argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([scone_doctor, *argv], capture_output=True, text=True, check=False, env=env)


def test_this_machine_can_wrap(scone_doctor: Path) -> None:
    done = run(scone_doctor)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("\nprograms can be wrapped here\n")


def test_the_json_report_has_the_same_findings(scone_doctor: Path) -> None:
    report = json.loads(run(scone_doctor, "--json").stdout)
    assert report["works"] is True
    assert [finding["what"] for finding in report["findings"]] == [look().what for look in doctor.LOOK]
    assert set(report["findings"][0]) == {"what", "present", "needed", "here", "follows"}


def test_a_kernel_without_user_dispatch_ends_with_1(scone_doctor: Path) -> None:
    done = subprocess.run(
        ["setarch", "x86_64", "--uname-2.6", scone_doctor], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "LACKS  kernel" in done.stdout
    assert "programs can NOT be wrapped here" in done.stdout


def test_without_a_compiler_programs_are_wrapped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    finding = doctor.compiler()
    assert (finding.present, finding.needed) == (False, False)
    assert "generic shim" in finding.follows


def test_a_cache_that_can_not_be_used_is_told(scone_doctor: Path, tmp_path: Path) -> None:
    (tmp_path / "scone-preload").touch()  # in the place of the folder
    done = run(scone_doctor, env={"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0
    assert f"{tmp_path}/scone-preload" in done.stdout


def test_every_lack_says_what_follows() -> None:
    for look in doctor.LOOK:
        finding = look()
        assert finding.here
        assert bool(finding.follows) or finding.present


def test_only_what_is_needed_decides() -> None:
    needed, other = Finding("a", True, True, "x", ""), Finding("b", False, False, "x", "y")
    lacking = Finding("c", False, True, "x", "y")
    assert doctor.works([needed, other])
    assert not doctor.works([needed, other, lacking])
    assert "LACKS  c" in doctor.table([lacking])


def test_unknown_arguments_are_refused(scone_doctor: Path) -> None:
    done = run(scone_doctor, "--fix")
    assert done.returncode == 125
    assert "--fix" in done.stderr
