"""The keystore: keys, secrets and freshness anchors in the user's data directory (format: docs/keystore.md).

format, seal, record     bytes <-> dataclasses, and the one way to encrypt; no system
files, place             the directory: permissions, locks, atomic replacement
unlock, store, anchors   the keystore as the runtime uses it
backup                   one file to keep elsewhere, and back
memory                   locked buffers for keys, and a process without core dumps

Nothing here is imported by a start that needs no key: `cryptography` alone costs 20 ms.
"""
