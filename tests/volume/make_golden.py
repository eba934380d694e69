"""Makes golden/: run once for each released version of the format, never again: `python -m tests.volume.make_golden`.

By the core, under the key file of boxes.py: one closed cleanly, one with commits in its log, one in mode authenticate.
"""

import json
import tempfile
from hashlib import sha256
from pathlib import Path

from scone_preload.volume.layout import BLOCK
from scone_preload.volume.slots import data_key
from tests.volume.boxes import VOLUME_KEY, boxed
from tests.volume.driven import Driven
from tests.volume.test_p5_tampering import core_appends, core_lengthens, core_populates, core_rewrites
from tests.volume.test_reader import Found
from tests.volume.writer import VOLUME_ID

GOLDEN = Path(__file__).resolve().parent / "golden"
KINDS = {"volume-1-clean": (False, True), "volume-1-log": (False, False), "volume-1-authenticate": (True, False)}


def summary(found: Found) -> dict[str, list[int | str]]:
    """What a volume holds, for a text file: mode, links, size, digest of the chunks that are not zero."""
    rows: dict[str, list[int | str]] = {}
    for path, (mode, links, size, chunks) in sorted(found.items()):
        digest = sha256(b"".join(at.to_bytes(8, "little") + raw.rstrip(b"\0") for at, raw in sorted(chunks.items())))
        rows[path.decode() or "/"] = [mode, links, size, digest.hexdigest()]
    return rows


def make(folder: Path, name: str, *, is_plain: bool, is_closed: bool) -> None:
    path = boxed(folder / name, is_plain=is_plain).path
    raw = bytes(data_key(VOLUME_KEY, VOLUME_ID))
    with path.open("r+b") as file:
        file.truncate(2 * BLOCK)
        with Driven(file.fileno(), key=raw, is_plain=is_plain) as core:
            core.format()
        with Driven(file.fileno(), key=raw, is_plain=is_plain) as core:
            core.mount()
            for act in (core_populates, core_rewrites):
                act(core)
                core.core.checkpoint()
            core_appends(core)
            core.core.commit()
            core_lengthens(core)
            core.core.commit()
            if is_closed:
                core.core.checkpoint(is_last=True)
            rows = summary(core.everything())
    image = path.read_bytes()
    size = -(-len(image.rstrip(b"\0")) // BLOCK) * BLOCK  # what follows was only reserved
    (GOLDEN / f"{name}.scone").write_bytes(image[:size])
    (GOLDEN / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (is_plain, is_closed) in KINDS.items():
            make(Path(folder), name, is_plain=is_plain, is_closed=is_closed)
