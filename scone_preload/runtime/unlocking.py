"""The keystore's part of a start: secrets and volumes' keys are taken out of it by the launcher, before the host is
forked off.

The launcher still has the user's terminal, so it is the one that may ask for a passphrase, and a wrong one, a locked
keystore or a missing secret is an error of the command line like others: nothing was started. What it read goes to the
host by the fork alone; its own copies are gone when it becomes the program. The keystore itself is closed again.
"""

import getpass
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from scone_preload.errors import KeystoreError, KeystoreLocked
from scone_preload.keys.files import keystore_directory
from scone_preload.keys.format import Purpose
from scone_preload.keys.memory import forbid_dumps, forget_variables
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import Unlock
from scone_preload.log import LOG
from scone_preload.runtime.governed import Start

PASSPHRASE, KEY_FILE = "SCONE_KEYS_PASSPHRASE", "SCONE_KEYS_OPEN_WITH"
VOLUME_PASSPHRASE, VOLUME_KEY_FILE = "SCONE_VOLUME_PASSPHRASE", "SCONE_VOLUME_KEY_FILE"
REMEDY = f"start it on a terminal, or set {PASSPHRASE}, or {KEY_FILE} to a key file's path; the program gets neither"
TERMINAL = "/dev/tty"
ASKED_MAX = 3


def _say(text: str) -> None:
    LOG.write(text, "message", "warning")


def unlock(start: Start) -> frozenset[bytes]:
    """Take the secrets out of the keystore and mount the volumes, into `start`; return the variables that the program
    must not get. Raises SconeError: nothing has run then."""
    access = KeystoreAccess(start.environment)
    try:
        start.kept = access.secrets(start.plan.keystore)
        if start.plan.volumes:
            from scone_preload.runtime.volumes import mount_all  # lazy: a start that has secrets only needs none of it

            start.volumes = mount_all(start.plan.volumes, access, start.environment)
    finally:
        private = access.close()
    return private


class KeystoreAccess:
    """The keystore of this start: opened when it is first wanted, once; `environment` is scone-wrap's own."""

    def __init__(self, environment: Mapping[bytes, bytes], say: Callable[[str], None] = _say) -> None:
        self.environment = environment
        self._say = say
        self._store: Keystore | None = None

    @property
    def path(self) -> str:
        """Where it is; raises KeystoreError where that can't be told."""
        return keystore_directory(self.environment)

    def open(self, *, create: bool = False) -> Keystore:
        """The keystore; no core is dumped from here on. Says it when it was made. Raises KeystoreError."""
        if self._store is None:
            forbid_dumps()
            self._store = _opened(self.environment, self.path, self._say, create=create)
            if self._store.told:
                self._say(self._store.told)
        return self._store

    def secrets(self, names: Sequence[str]) -> dict[str, bytes]:
        """These secrets; raise KeystoreError."""
        found: dict[str, bytes] = {}
        for name in names:
            with self.open().key(name, Purpose.SECRET) as secret:
                found[name] = secret.reveal()
        return found

    def close(self) -> frozenset[bytes]:
        """Close it and return the variables that could open it, and volumes: they are wiped from /proc/PID/environ."""
        names = self._store.environment_names() if self._store is not None else ()
        private = frozenset(map(os.fsencode, (*names, PASSPHRASE, KEY_FILE, VOLUME_PASSPHRASE, VOLUME_KEY_FILE)))
        if self._store is not None:
            self._store.close()
            self._store = None
        forget_variables(self.environment, private)
        return private


def _opened(environment: Mapping[bytes, bytes], place: str, say: Callable[[str], None], *, create: bool) -> Keystore:
    """The keystore, opened by what the environment gives, else by a passphrase that is asked for."""
    given = environment.get(PASSPHRASE.encode())
    key_file = os.fsdecode(environment.get(KEY_FILE.encode(), b""))
    asked = 0

    def passphrase() -> bytes:
        nonlocal asked
        asked += 1
        return ask("Passphrase of the keystore", REMEDY) if given is None else given

    while True:
        try:
            return open_keystore(place, Unlock(environment, key_file, passphrase), create=create)
        except KeystoreLocked as error:
            if given is not None or asked in (0, ASKED_MAX):
                raise KeystoreLocked(error.rule, error.thing, REMEDY) from None
            say("wrong passphrase: try again")


def ask(prompt: str, remedy: str) -> bytes:
    """A passphrase from the terminal; raise KeystoreError where there is none."""
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        words = f"{prompt[0].lower()}{prompt[1:]} needed, and no terminal to ask"
        raise KeystoreError(words, TERMINAL, remedy) from None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the terminal must get its echo back
    try:
        return getpass.getpass(f"{prompt}: ").encode(errors="surrogateescape")
    except EOFError:
        raise KeystoreError("no passphrase was given", TERMINAL, remedy) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)  # ends as a program would that Ctrl-C ends
        raise
    finally:
        signal.signal(signal.SIGINT, before)
