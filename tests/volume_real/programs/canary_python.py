"""Puts canaries into files in each way that Python has, tells "ready" and waits, then looks whether all are there.

Usage: canary_python.py DIRECTORY SEED BYTES. The marker is made of two parts: no source has it whole.
"""

import mmap
import random
import shutil
import sys
import tempfile


def canaries(seed: int, size: int) -> bytes:
    """Random text with a marker every 64 bytes."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    text = "".join("cAnA" + "rY-+" + "".join(chance.choices(letters, k=56)) for _ in range(size // 64))
    return text.encode()


def main(folder: str, seed: int, size: int) -> None:
    text = canaries(seed, size)
    with open(f"{folder}/written", "wb") as file:
        file.write(text)
    with open(f"{folder}/mapped", "w+b") as file:
        file.truncate(size)
        shared = mmap.mmap(file.fileno(), size)
        shared[:] = text
        shared.flush()
    temporary = tempfile.TemporaryFile()
    temporary.write(text)
    temporary.flush()
    named = tempfile.NamedTemporaryFile()
    named.write(text)
    named.flush()
    spooled = tempfile.SpooledTemporaryFile(max_size=1000)
    spooled.write(text)
    shutil.copyfile(f"{folder}/written", f"{folder}/copied")
    print("ready", flush=True)
    sys.stdin.readline()
    for file in (temporary, named, spooled):
        file.seek(0)
        assert file.read() == text
    assert shared[:] == text
    for name in ("written", "mapped", "copied"):
        with open(f"{folder}/{name}", "rb") as file:
            assert file.read() == text


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
