"""P3: what the host says is fuzzed, whole calls and the ring, under ASan and UBSan: seconds here, longer by hand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10


@pytest.mark.parametrize("target", ["replies", "ring", "answers"])
def test_p3_fuzzing_finds_no_reply_that_breaks_the_enclave(target: str) -> None:
    command = [ROOT / "tools" / "fuzz", str(SECONDS), target]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs is not None
    assert int(runs.group(1)) > 10000


LIES = {
    "replies": ("marshal.c", "u_length < parcel->size[i] ? u_length : parcel->size[i]", "u_length"),
    "answers": ("ask.c", "if (head->size > output_room(question, head->arg))", "if (0)"),
}


@pytest.mark.parametrize("target", LIES)
def test_a_lie_that_is_believed_is_found(target: str, tmp_path: Path) -> None:
    """The fuzzer's own test: without a limit on what is believed, it must fail."""
    sources = tmp_path / "libshim"
    subprocess.run(["cp", "-r", ROOT / "libshim", sources], check=True)
    name, kept, instead = LIES[target]
    source = sources / "enclave" / name
    text = source.read_text()
    assert kept in text
    source.write_text(text.replace(kept, instead))
    script = (ROOT / "tools" / "fuzz").read_text().replace("E=libshim/enclave", f"E={sources}/enclave")
    script = script.replace('cd "$(dirname "$0")/.."', f"cd {ROOT}").replace("build/fuzz", str(tmp_path))
    done = subprocess.run(
        ["bash", "-c", script, "fuzz", "60", target], capture_output=True, errors="replace", timeout=200, check=False
    )
    assert done.returncode != 0
    assert "ERROR: AddressSanitizer: " in done.stderr
