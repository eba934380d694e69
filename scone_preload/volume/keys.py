"""What opens a volume's key slots: a keystore, a key file, a passphrase; each is looked at when a slot wants it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from scone_preload.errors import KeyExists, KeyMissing
from scone_preload.keys.codec import read_file
from scone_preload.keys.files import STORE, Directory, read_private_file
from scone_preload.keys.format import Purpose
from scone_preload.keys.memory import SecretBuffer, key_of_hex
from scone_preload.keys.store import Keystore
from scone_preload.volume.format import Slot, SlotKind
from scone_preload.volume.slots import keystore_name, keystore_slot, stretched

KEY_TEXT_MAX = 4096


class Access(Protocol):
    """The keystore, opened when it is first wanted; asks the user for what opens it."""

    @property
    def path(self) -> str:
        """Where it is; raises KeystoreError."""

    def open(self, *, create: bool = False) -> Keystore:
        """Raises KeystoreError."""


class Keys:
    """What may be used for one volume. `name` is the keystore's key that is wanted, "" any; `passphrase` is called
    at most once, and only if a slot wants one."""

    def __init__(
        self,
        access: Access,
        *,
        name: str = "",
        key_file: str = "",
        passphrase: Callable[[], bytes] | None = None,
    ) -> None:
        self.access = access
        self.name = name
        self.key_file = key_file
        self._ask = passphrase
        self.used_keystore = False
        self._passphrase: bytes | None = None
        self._tried: list[str] = []

    def opener(self, slot: Slot) -> SecretBuffer | None:
        """What might open this slot; None where nothing was given. Notes what was tried."""
        return {
            SlotKind.KEYSTORE: self._of_keystore,
            SlotKind.KEY_FILE: self._of_file,
            SlotKind.PASSPHRASE: self._of_passphrase,
        }[slot.kind](slot)

    def tried(self) -> str:
        """For a message: why nothing opened it."""
        return "; ".join(dict.fromkeys(self._tried)) or "it has no key slots"

    def new_slot(self, volume_id: bytes, volume_key: SecretBuffer, created: int) -> Slot:
        """A slot for the keystore's key, which is made if it isn't there; raise KeystoreError."""
        store, name = self.access.open(create=True), self.name or "default"
        if not any((one.name, one.purpose) == (name, Purpose.VOLUME) for one in store.entries):
            with suppress(KeyExists):  # of another start at the same time
                store.add(name, Purpose.VOLUME)
            store.reload()
        generation = max(one.generation for one in store.entries if (one.name, one.purpose) == (name, Purpose.VOLUME))
        with store.key(name, Purpose.VOLUME, generation) as key:
            of = keystore_name(name, store.file.store_id, generation)
            return keystore_slot(volume_id, volume_key.view(), created, of, key.view())

    def _of_keystore(self, slot: Slot) -> SecretBuffer | None:
        shown = f"key {slot.label} of the keystore"
        if self.name and slot.label != self.name:
            self._tried.append(f"{shown} opens it, but key {self.name} is asked for")
            return None
        here = keystore_id(self.access.path)
        if here != slot.store_id:
            of = f"of keystore {slot.store_id.hex()[:8]}"
            self._tried.append(f"key {slot.label} {of}, not of {here.hex()[:8] if here else 'any here'}, opens it")
            return None
        self.used_keystore = True
        try:
            key = self.access.open().key(slot.label, Purpose.VOLUME, slot.generation)
        except KeyMissing:
            self._tried.append(f"{shown} is gone")
            return None
        self._tried.append(f"{shown} doesn't fit")
        return key

    def _of_file(self, slot: Slot) -> SecretBuffer | None:
        if not self.key_file:
            self._tried.append(f"no key file given ({slot.label})")
            return None
        self._tried.append(f"key file {self.key_file} is wrong")
        return read_key_file(self.key_file)

    def _of_passphrase(self, slot: Slot) -> SecretBuffer | None:
        if self._ask is None:
            self._tried.append("no passphrase given")
            return None
        if self._passphrase is None:
            self._passphrase = self._ask()
        self._tried.append("wrong passphrase")
        return SecretBuffer.of(stretched(slot, self._passphrase, "volume's key slot"))


def keystore_id(path: str) -> bytes:
    """Which keystore is there, without opening it; b"" for none. Raises KeystoreError."""
    directory = Directory.open(path)
    if directory is None:
        return b""
    with directory:
        raw = directory.read(STORE)
        return b"" if raw is None else read_file(raw, directory.where(STORE)).store_id


def read_key_file(path: str) -> SecretBuffer:
    """The key in a file of 64 hexadecimal digits; raise KeystoreError."""
    return key_of_hex(read_private_file(path, "key file", KEY_TEXT_MAX), path)
