"""From spec files to the Spec: read, parse, check, build."""

import pickle
from collections.abc import Mapping
from functools import cache
from hashlib import sha256

from scone_preload.paths import GENERATED, ROOT, read_kept, read_tree
from scone_preload.spec.model import Spec

FOLDER = ROOT + "/scone_preload/spec"
KEPT = GENERATED + "/spec.pickle"
DIGEST_SIZE = 32


def _files() -> dict[str, str]:
    """All files that the Spec is made of, by path: the spec's, and the code that reads them."""
    frozen = ROOT + "/scone_preload/frozen.py"
    return read_tree(FOLDER, (".pyi", ".py")) | {frozen: read_kept(frozen).decode()}


def _spec_files(texts: Mapping[str, str]) -> dict[str, str]:
    return {path: text for path, text in texts.items() if path.endswith(".pyi")}


def _identity(texts: Mapping[str, str]) -> bytes:
    return sha256("".join(f"{path}\0{texts[path]}\0" for path in sorted(texts)).encode()).digest()


@cache
def load() -> Spec:
    """The Spec of this package; raises SpecError.

    The build keeps it ready to use, which saves what reading it costs (0.1 s); it is taken if no file has changed.
    """
    texts = _files()
    kept = read_kept(KEPT)
    if kept[:DIGEST_SIZE] == _identity(texts):
        found = pickle.loads(kept[DIGEST_SIZE:])
        if isinstance(found, Spec):
            return found
    return _read(_spec_files(texts))


def kept_form() -> bytes:
    """What the build keeps in KEPT."""
    texts = _files()
    return _identity(texts) + pickle.dumps(_read(_spec_files(texts)), pickle.HIGHEST_PROTOCOL)


def _read(texts: Mapping[str, str]) -> Spec:
    from scone_preload.spec.read import load_from  # lazy: parsing alone imports for 40 ms

    return load_from(texts)
