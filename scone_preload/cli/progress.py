"""A progress bar on stderr, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int], None]  # done and total, in bytes


@contextmanager
def progress(title: str) -> Iterator[Advance]:
    """Shows what is done of a total that may still change."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from tqdm import tqdm  # lazy: only for people who watch

    with tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024, leave=False) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
