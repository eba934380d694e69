"""Measures a directory: a program that runs natively, and wrapped on a volume. Prints a line `NAME VALUE UNIT` each.

Started by scone-volume bench as a script, DIRECTORY BYTES, with the standard library alone.
"""

import os
import random
import sys
import time
from collections.abc import Callable

BIG, SMALL = 1 << 20, 4096
ENOUGH_S = 1.0  # for what is counted in calls


def write_all(path: str, size: int) -> float:
    """MiB/s, sequential, with the sync at its end."""
    data = os.urandom(BIG)
    start = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // BIG):
            file.write(data)
        os.fsync(file.fileno())
    return size / BIG / (time.monotonic() - start)


def read_all(path: str, size: int) -> float:
    """MiB/s, sequential."""
    start = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while file.read(BIG):
            pass
    return size / BIG / (time.monotonic() - start)


def rate(act: Callable[[int], object]) -> float:
    """How often a second."""
    start = time.monotonic()
    count = 0
    while time.monotonic() - start < ENOUGH_S:
        for _ in range(16):
            act(count)
            count += 1
    return count / (time.monotonic() - start)


def measure(directory: str, size: int) -> None:
    """All of it."""
    path = f"{directory}/bench"
    say("sequential write", write_all(path, size), "MiB/s")
    say("sequential read", read_all(path, size), "MiB/s")
    chosen = random.Random(0)
    places = [chosen.randrange(size // SMALL) * SMALL for _ in range(4096)]
    data = os.urandom(SMALL)
    fd = os.open(path, os.O_RDWR)
    say("random read of 4 KiB", rate(lambda at: os.pread(fd, SMALL, places[at % 4096])), "/s")
    say("random write of 4 KiB", rate(lambda at: os.pwrite(fd, data, places[at % 4096])), "/s")

    def keep(at: int) -> None:
        os.pwrite(fd, data, places[at % 4096])
        os.fdatasync(fd)

    say("4 KiB and fdatasync", rate(keep), "/s")
    os.close(fd)

    def make(at: int) -> None:
        os.close(os.open(f"{directory}/{at}", os.O_CREAT | os.O_WRONLY, 0o600))
        os.unlink(f"{directory}/{at}")

    say("create and unlink", rate(make), "/s")
    os.unlink(path)


def say(name: str, value: float, unit: str) -> None:
    """One result."""
    sys.stdout.write(f"{name}\t{value:.1f}\t{unit}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]))
