"""The commands of scone-volume that make and change volumes."""

import json
import os
from datetime import UTC, datetime

from scone_preload.cli.volume_session import Row, Session, say, show
from scone_preload.errors import UserError, VolumeError
from scone_preload.keys.files import write_private_file
from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume.format import Freshness, Mode, Slot, SlotKind, Superblock
from scone_preload.volume.freshness import check_gone
from scone_preload.volume.keys import read_key_file
from scone_preload.volume.opening import Asked, MakeSlot, Opened, open_volume
from scone_preload.volume.place import CONTAINER, containers_in, real_directory
from scone_preload.volume.rekeying import adopt, change_slots, list_slots
from scone_preload.volume.slots import key_file_slot, passphrase_slot

WAYS = ("--key", "--passphrase", "--key-file")


def create(session: Session) -> None:
    """An empty volume."""
    directory = real_directory(session.given.argument)
    if CONTAINER in containers_in(directory):
        raise VolumeError("a volume is already there", f"{directory}/{CONTAINER}", "name another directory")
    make_slot = new_slot(session)
    if session.has("--anew"):
        _forget(session, directory)
    opened = open_volume(_asked(session, directory), session.keys(), say, make_slot)
    row = _described(opened)
    opened.close()
    if session.has("--json"):
        show(json.dumps(row, indent=2) + "\n")


def rekey(session: Session) -> None:
    """Key slots: listed, added, removed; or the anchor."""
    directory = real_directory(session.given.argument)
    if session.has("--list"):
        _list(session, list_slots(directory))
    elif session.has("--adopt"):
        adopt(directory, session.keys())
        session.report({"directory": directory, "adopted": 1}, f"{directory} is anchored as it is now")
    else:
        make_slot = new_slot(session)
        remove = _number(session.given.options["--remove"]) if session.has("--remove") else 0
        if make_slot is None and not remove:
            raise UserError(
                "nothing to change", "rekey", f"give one of: {', '.join(WAYS)}, --remove N, --list, --adopt"
            )
        done = change_slots(directory, session.keys(), make_slot, remove=remove, only=session.has("--only"))
        if session.has("--only") or remove:
            say("old copies of volume.scone still open with what the removed slots took")
        _list(session, done)


def new_slot(session: Session) -> MakeSlot | None:
    """What makes the slot that the options ask for; None where they ask for none."""
    chosen = [way for way in WAYS if session.has(way)]
    if len(chosen) > 1:
        raise UserError("options contradict each other", " ".join(chosen), "give one; rekey adds others")
    if not chosen:
        return None
    return {"--key": _of_keystore, "--passphrase": _of_passphrase, "--key-file": _of_file}[chosen[0]](session)


def _of_keystore(session: Session) -> MakeSlot:
    keys = session.keys()
    keys.name = session.given.options["--key"]
    return keys.new_slot


def _of_passphrase(session: Session) -> MakeSlot:
    passphrase = session.new_passphrase()
    return lambda volume_id, key, created: passphrase_slot(volume_id, key.view(), created, passphrase)


def _of_file(session: Session) -> MakeSlot:
    path = session.given.options["--key-file"]
    if not os.path.lexists(path):
        write_private_file(path, os.urandom(32).hex().encode() + b"\n")
        say(f"made key file {path}; keep it apart from the volume, and a copy of it")

    def make(volume_id: bytes, key: SecretBuffer, created: int) -> Slot:
        with read_key_file(path) as secret:
            return key_file_slot(volume_id, key.view(), created, os.path.basename(path), secret.view())

    return make


def _asked(session: Session, directory: str) -> Asked:
    freshness = session.given.options.get("--freshness", "rollback_protected")
    mode = session.given.options.get("--mode", "encrypt")
    return Asked(directory, Mode[mode.upper()], Freshness[freshness.upper()])


def _forget(session: Session, directory: str) -> None:
    store = session.access.open(create=True)
    before = check_gone(store, directory)
    if before is not None:
        store.forget(before)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 4:
        raise UserError("not a slot's number", text, "see: scone-volume rekey --list DIR")
    return int(text)


def _described(opened: Opened) -> Row:
    superblock = opened.superblock
    return {
        "directory": opened.container.directory,
        "volume": superblock.volume_id.hex(),
        "mode": superblock.mode.name.lower(),
        "freshness": superblock.freshness.word,
    }


def _list(session: Session, superblock: Superblock) -> None:
    rows: list[Row] = [
        {"slot": at, "kind": one.kind.name.lower().replace("_", " "), "label": one.label, "created": one.created}
        for at, one in enumerate(superblock.slots, 1)
    ]
    if session.has("--json"):
        show(json.dumps(rows, indent=2) + "\n")
        return
    for row, one in zip(rows, superblock.slots, strict=True):
        about = f"{one.label} of keystore {one.store_id.hex()[:8]}" if one.kind == SlotKind.KEYSTORE else one.label
        day = datetime.fromtimestamp(min(one.created, 1 << 36), UTC).strftime("%Y-%m-%d")
        show(f"{row['slot']}  {row['kind']:<12} {day}  {about}".rstrip() + "\n")
