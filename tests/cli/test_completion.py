"""The completion scripts: each shell takes its own, and bash completes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scone_preload.cli.arguments import OPTIONS
from scone_preload.cli.completion import completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_every_option(shell: str) -> None:
    text = completion(shell)
    assert not [name for name, *_ in OPTIONS if name.removeprefix("--") not in text]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_its_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=completion(shell), text=True, check=True)


def completed(scone_wrap: Path, *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""source <({scone_wrap} --print-completion bash)
COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); _scone_wrap; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_bash_completes_options_values_and_programs(scone_wrap: Path) -> None:
    assert completed(scone_wrap, "scone-wrap", "--no-i") == ["--no-io-uring"]
    assert completed(scone_wrap, "scone-wrap", "--syscalls", "s") == ["sync"]
    assert "sleep" in completed(scone_wrap, "scone-wrap", "--syscalls", "sync", "slee")


def test_bash_leaves_the_programs_own_words_to_the_program(scone_wrap: Path, tmp_path: Path) -> None:
    (tmp_path / "some-file").touch()
    assert completed(scone_wrap, "scone-wrap", "ls", f"{tmp_path}/so") == [f"{tmp_path}/some-file"]
    assert completed(scone_wrap, "scone-wrap", "ls", "--st") == []
