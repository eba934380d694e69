"""The keystore's part of a start: secrets are taken out of it by the launcher, before the host is forked off.

The launcher still has the user's terminal, so it is the one that may ask for a passphrase, and a wrong one, a locked
keystore or a missing secret is an error of the command line like others: nothing was started. What it read goes to the
host by the fork alone; its own copies are gone when it becomes the program. The keystore itself is closed again.
"""

import getpass
import os
import signal
from collections.abc import Mapping, Sequence

from scone_preload.errors import KeystoreError, KeystoreLocked
from scone_preload.keys.files import keystore_directory
from scone_preload.keys.format import Purpose
from scone_preload.keys.memory import forbid_dumps, forget_variables
from scone_preload.keys.store import Keystore, open_keystore
from scone_preload.keys.unlock import Unlock
from scone_preload.log import LOG

PASSPHRASE, KEY_FILE = "SCONE_KEYS_PASSPHRASE", "SCONE_KEYS_OPEN_WITH"
REMEDY = f"start it on a terminal, or set {PASSPHRASE}, or {KEY_FILE} to a key file's path; the program gets neither"
TERMINAL = "/dev/tty"
ASKED_MAX = 3


def keystore_secrets(
    names: Sequence[str], environment: Mapping[bytes, bytes]
) -> tuple[dict[str, bytes], frozenset[bytes]]:
    """Return these secrets, and the variables that open the keystore; `environment` is scone-wrap's own.

    These variables are wiped from /proc/PID/environ, and this process dumps no core from here on. Raises KeystoreError.
    """
    forbid_dumps()
    with _opened(environment) as store:
        found: dict[str, bytes] = {}
        for name in names:
            with store.key(name, Purpose.SECRET) as secret:
                found[name] = secret.reveal()
        private = frozenset(map(os.fsencode, (*store.environment_names(), PASSPHRASE, KEY_FILE)))
    forget_variables(environment, private)
    return found, private


def _opened(environment: Mapping[bytes, bytes]) -> Keystore:
    """The keystore, opened by what the environment gives, else by a passphrase that is asked for."""
    given = environment.get(PASSPHRASE.encode())
    key_file = os.fsdecode(environment.get(KEY_FILE.encode(), b""))
    place = keystore_directory(environment)
    asked = 0

    def passphrase() -> bytes:
        nonlocal asked
        asked += 1
        return _ask() if given is None else given

    while True:
        try:
            return open_keystore(place, Unlock(environment, key_file, passphrase), create=False)
        except KeystoreLocked as error:
            if given is not None or asked in (0, ASKED_MAX):
                raise KeystoreLocked(error.rule, error.thing, REMEDY) from None
            LOG.write("wrong passphrase: try again", "message", "warning")


def _ask() -> bytes:
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise KeystoreError("passphrase of the keystore needed, and no terminal to ask", TERMINAL, REMEDY) from None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the terminal must get its echo back
    try:
        return getpass.getpass("Passphrase of the keystore: ").encode(errors="surrogateescape")
    except EOFError:
        raise KeystoreError("no passphrase was given", TERMINAL, REMEDY) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)  # ends as a program would that Ctrl-C ends
        raise
    finally:
        signal.signal(signal.SIGINT, before)
