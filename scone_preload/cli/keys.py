"""scone-keys: makes, shows, protects, backs up and restores the keystore (docs/keystore.md).

No value and no passphrase is ever taken from the command line, where every user of the machine could read it.
"""

import getpass
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from scone_preload import __version__
from scone_preload.cli.command_completion import SHELLS, completion
from scone_preload.cli.command_line import Given
from scone_preload.cli.command_main import status_of
from scone_preload.cli.keys_table import LINE
from scone_preload.errors import AnchorLost, KeyExists, KeystoreError, UserError
from scone_preload.keys import unlock as slots
from scone_preload.keys.backup import Anchors, make_backup, restore
from scone_preload.keys.files import keystore_directory, read_private_file, write_private_file
from scone_preload.keys.format import FILE_MAX, SECRET_MAX, Cost, Purpose, Slot, SlotKind
from scone_preload.keys.memory import SecretBuffer, forbid_dumps, take_variable
from scone_preload.keys.rebuild import rekey
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import PASSPHRASE_MAX, Unlock

# option, variable, what the prompt calls it
PASSPHRASES = {
    "old": ("--passphrase-file", "SCONE_KEYS_PASSPHRASE", "Passphrase of the keystore"),
    "new": ("--new-passphrase-file", "SCONE_KEYS_NEW_PASSPHRASE", "New passphrase"),
    "backup": ("--backup-passphrase-file", "SCONE_KEYS_BACKUP_PASSPHRASE", "Passphrase of the backup"),
}
PASSPHRASE_SHORT = 12  # bytes
PLAIN_NOTE = "only its mode protects it: who can read your files can read it, and so can root"


class Session:
    """One command line, and the passphrases that the environment gave."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.path = keystore_directory(os.environb, given.options.get("--keystore", ""))
        self.variables = {kind: take_variable(os.environb, name) for kind, (_, name, _) in PASSPHRASES.items()}

    def has(self, option: str) -> bool:
        return option in self.given.options

    def open(self, *, create: bool = True) -> Keystore:
        """The keystore; says it if it was made."""
        passphrase = partial(self.passphrase, "old")
        key_file = self.given.options.get("--open-with") or os.environ.get("SCONE_KEYS_OPEN_WITH", "")
        unlock = Unlock(os.environb, key_file, passphrase)
        store = open_keystore(self.path, unlock, create=create)
        if store.told:
            say(store.told)
        return store

    def passphrase(self, kind: str, *, twice: bool = False) -> bytes:
        """From the file named, else the variable, else asked for; raise KeystoreError."""
        option, variable, prompt = PASSPHRASES[kind]
        if self.has(option):
            raw = read_private_file(self.given.options[option], "passphrase file", PASSPHRASE_MAX)
            return raw.removesuffix(b"\n")
        if (value := self.variables[kind]) is not None:
            return value
        if not os.isatty(0):
            remedy = f"use {option} FILE, or set {variable}"
            raise KeystoreError("passphrase needed, and no terminal to ask", prompt.lower(), remedy)
        text = getpass.getpass(f"{prompt}: ")
        if twice and getpass.getpass("The same again: ") != text:
            raise KeystoreError("the two passphrases differ", prompt.lower(), "try again")
        return text.encode(errors="surrogateescape")

    def new_passphrase(self, kind: str) -> bytes:
        """One that is chosen now: asked for twice, and told when it is easy to guess."""
        passphrase = self.passphrase(kind, twice=True)
        if 0 < len(passphrase) < PASSPHRASE_SHORT:
            say(f"a passphrase of {len(passphrase)} bytes can be guessed by whoever gets the file: take several words")
        return passphrase

    def value(self) -> bytes:
        """A secret's value: every byte of --from's file, else standard input without its last newline."""
        if self.has("--from"):
            return read_private_file(self.given.options["--from"], "file", SECRET_MAX, private=False)
        if os.isatty(0):
            return getpass.getpass("Value: ").encode(errors="surrogateescape")
        return sys.stdin.buffer.read(SECRET_MAX + 2).removesuffix(b"\n")


# ---- commands ----


def init(session: Session) -> None:
    with session.open() as store:
        if not store.told:
            raise KeyExists("keystore is already there", store.where, "nothing to do; see: scone-keys list")
        if session.has("--passphrase"):
            rekey(store, passphrase_maker(session.new_passphrase("new")))
            say("now only the passphrase opens it")


def path(session: Session) -> None:
    show(session.path + "\n")


def list_keys(session: Session) -> None:
    with session.open(create=False) as store:
        keys = sorted(
            (one.name, one.generation, one.purpose.name.lower(), one.created)
            for one in store.entries
            if one.purpose not in (Purpose.ANCHOR, Purpose.PLACE)
        )
        volumes = [volume(store, one.name) for one in store.entries if one.purpose == Purpose.ANCHOR]
        if session.has("--json"):
            names = ("name", "generation", "purpose", "created")
            rows: list[dict[str, str | int]] = [dict(zip(names, key, strict=True)) for key in keys]
            show(json.dumps({"keystore": session.path, "keys": rows, "anchors": volumes}, indent=2) + "\n")
            return
        for name, generation, purpose, created in keys:
            show(f"{name:<32} {purpose:<8} generation {generation:<4} {day(created)}\n")
        for one in volumes:
            show(f"{one['volume']:<32} anchor   {one['problem'] or 'counter ' + str(one['counter'])}  {one['place']}\n")
        if not keys and not volumes:
            show("no keys yet\n")


def volume(store: Keystore, name: str) -> dict[str, str | int]:
    """An anchored volume for a list; a lost anchor is shown, not raised."""
    place = store.places().get(bytes.fromhex(name), "")
    try:
        state = store.read(bytes.fromhex(name))
    except AnchorLost as error:
        return {"volume": name, "counter": -1, "root": "", "place": place, "problem": str(error)}
    assert state is not None  # it is anchored
    return {"volume": name, "counter": state.counter, "root": state.root.hex(), "place": place, "problem": ""}


def add_secret(session: Session) -> None:
    with session.open() as store:
        store.add(session.given.argument, Purpose.SECRET, session.value())


def rotate(session: Session) -> None:
    name = session.given.argument
    with session.open(create=False) as store:
        is_secret = any((one.name, one.purpose) == (name, Purpose.SECRET) for one in store.entries)
        say(f"{name} has generation {store.rotate(name, session.value() if is_secret else None)} now")


def remove(session: Session) -> None:
    with session.open(create=False) as store:
        store.remove(session.given.argument)


def slot_list(session: Session) -> None:
    with session.open(create=False) as store:
        rows = [(at, one.kind.name.lower().replace("_", " "), one) for at, one in enumerate(store.file.slots, 1)]
        if session.has("--json"):
            found = [{"slot": at, "kind": kind, "label": one.label, "created": one.created} for at, kind, one in rows]
            show(json.dumps(found, indent=2) + "\n")
            return
        for at, kind, one in rows:
            about = one.label or (PLAIN_NOTE if one.kind == SlotKind.PLAIN else cost_text(one.cost))
            show(f"{at}  {kind:<12} {day(one.created)}  {about}\n")


def slot_add(session: Session) -> None:
    kinds = [option for option in MAKERS if session.has(option)]
    if len(kinds) != 1:
        raise UserError("one kind of slot is needed", " ".join(kinds) or "slot add", "give one: " + ", ".join(MAKERS))
    with session.open() as store:
        make = MAKERS[kinds[0]](session)
        if session.has("--only"):
            rekey(store, make)
        else:
            store.add_slot(make)
        others = [one for one in store.file.slots if one.kind == SlotKind.PLAIN]
        if others and kinds[0] != "--plain":
            say(f"its plain slot still opens it, too: {PLAIN_NOTE}; add --only to leave only the new one")


def slot_remove(session: Session) -> None:
    number = session.given.argument
    if not number.isascii() or not number.isdigit():
        raise UserError("not a slot's number", number, "see: scone-keys slot list")
    with session.open(create=False) as store:
        store.remove_slot(int(number[:9]))
        say("old copies of the keystore file still open with what the slot took; scone-keys slot add --only ends that")


def backup(session: Session) -> None:
    target = session.given.argument
    with session.open(create=False) as store:
        raw = make_backup(store, session.new_passphrase("backup"))
        write_private_file(target, raw)
        say(f"{len(store.entries)} keys, secrets and anchors are in {target}; keep it apart from this machine")


def restore_backup(session: Session) -> None:
    target = session.given.argument
    chosen = [one for one in (Anchors.KEEP, Anchors.OLDER) if session.has(ANCHOR_OPTIONS[one])]
    if len(chosen) > 1:
        raise UserError("options contradict each other", "--keep-anchors --older-anchors", "give one of them")
    raw = read_private_file(target, "backup", FILE_MAX, private=False)
    done = restore(
        session.path,
        raw,
        Unlock(passphrase=partial(session.passphrase, "backup")),
        replace_it=session.has("--replace"),
        anchors=(chosen or [Anchors.REFUSE])[0],
        plain=session.has("--plain"),
        where=target,
    )
    how = PLAIN_NOTE if done.plain else "the backup's passphrase opens it; see also: scone-keys slot add"
    say(f"{session.path} has {done.keys} keys and secrets and {done.volumes} anchors now; {how}")


COMMANDS: dict[str, Callable[[Session], None]] = {
    "init": init,
    "path": path,
    "list": list_keys,
    "add-secret": add_secret,
    "rotate": rotate,
    "remove": remove,
    "slot list": slot_list,
    "slot add": slot_add,
    "slot remove": slot_remove,
    "backup": backup,
    "restore": restore_backup,
}
ANCHOR_OPTIONS = {Anchors.KEEP: "--keep-anchors", Anchors.OLDER: "--older-anchors"}

# ---- slots from options ----

Maker = Callable[[SecretBuffer, bytes, int], Slot]


def passphrase_maker(passphrase: bytes) -> Maker:
    return lambda master, store_id, created: slots.passphrase_slot(master, store_id, created, passphrase)


def key_file_maker(session: Session) -> Maker:
    target = session.given.options["--key-file"]
    if not os.path.lexists(target):
        write_private_file(target, os.urandom(32).hex().encode() + b"\n")
        say(f"made key file {target}; back it up apart from the keystore")
    return lambda master, store_id, created: slots.key_file_slot(master, store_id, created, target)


def variable_maker(session: Session) -> Maker:
    name = session.given.options["--environment"]
    return lambda master, store_id, created: slots.environment_slot(master, store_id, created, name, os.environb)


MAKERS: dict[str, Callable[[Session], Maker]] = {
    "--passphrase": lambda session: passphrase_maker(session.new_passphrase("new")),
    "--key-file": key_file_maker,
    "--environment": variable_maker,
    "--plain": lambda session: slots.plain_slot,
}

# ---- words ----


def cost_text(cost: Cost) -> str:
    return f"{cost.kdf.name.lower()} {cost.memory},{cost.passes},{cost.lanes}" if cost.kdf else ""


def day(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 1 << 36), UTC).strftime("%Y-%m-%d")


def say(text: str) -> None:
    sys.stderr.write(f"scone-keys: {text}\n")


def show(text: str) -> None:
    sys.stdout.write(text)


def run(argv: list[str]) -> None:
    """Run one command line; raise SconeError."""
    given = LINE.parse(argv)
    if "--help" in given.options:
        show(LINE.help_text())
    elif "--version" in given.options:
        show(f"scone-keys {__version__}\n")
    elif "--print-completion" in given.options:
        shell = given.options["--print-completion"]
        if shell not in SHELLS:
            raise UserError("unknown shell", shell, f"use one of: {', '.join(SHELLS)}; {LINE.see_help}")
        show(completion(LINE, shell))
    else:
        session = Session(given)
        forbid_dumps()
        COMMANDS[given.command](session)
    sys.stdout.flush()


def main() -> int:
    """Run the command line of this process."""
    return status_of(run, say)


if __name__ == "__main__":
    sys.exit(main())
