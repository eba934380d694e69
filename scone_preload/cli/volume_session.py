"""One command line of scone-volume: its options, the keystore, and what opens volumes."""

import getpass
import json
import os
import sys

from scone_preload.cli.command_line import Given
from scone_preload.errors import VolumeError
from scone_preload.keys.files import VARIABLE, read_private_file
from scone_preload.keys.memory import forbid_dumps, take_variable
from scone_preload.keys.unlock import PASSPHRASE_MAX
from scone_preload.runtime.unlocking import VOLUME_KEY_FILE, VOLUME_PASSPHRASE, KeystoreAccess, ask
from scone_preload.volume.keys import Keys

NEW_VARIABLE = "SCONE_VOLUME_NEW_PASSPHRASE"
PASSPHRASE_SHORT = 12  # bytes
Row = dict[str, str | int]


class Session:
    """What one command works with; leaving it closes the keystore."""

    def __init__(self, given: Given) -> None:
        self.given = given
        environment = dict(os.environb)
        if "--keystore" in given.options:
            environment[VARIABLE.encode()] = os.fsencode(given.options["--keystore"])
        self.access = KeystoreAccess(environment, say)
        self._passphrases = {name: take_variable(os.environb, name) for name in (VOLUME_PASSPHRASE, NEW_VARIABLE)}
        forbid_dumps()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.access.close()

    def has(self, option: str) -> bool:
        return option in self.given.options

    def keys(self) -> Keys:
        """What may open an existing volume, or a new one's key of the keystore."""
        named = self.given.options.get("--unlock-with") or os.environ.get(VOLUME_KEY_FILE, "")
        return Keys(self.access, key_file=named, passphrase=self.passphrase)

    def passphrase(self) -> bytes:
        """The volume's: from the file named, else the variable, else asked for; raise KeystoreError."""
        given = self._given("--passphrase-file", VOLUME_PASSPHRASE)
        return (
            ask("Passphrase of the volume", _remedy("--passphrase-file", VOLUME_PASSPHRASE)) if given is None else given
        )

    def new_passphrase(self) -> bytes:
        """One that is chosen now: asked for twice, and told when it is easy to guess."""
        chosen = self._given("--new-passphrase-file", NEW_VARIABLE)
        if chosen is None:
            chosen = ask("New passphrase of the volume", _remedy("--new-passphrase-file", NEW_VARIABLE))
            if getpass.getpass("The same again: ").encode(errors="surrogateescape") != chosen:
                raise VolumeError("the two passphrases differ", "new passphrase", "try again")
        if 0 < len(chosen) < PASSPHRASE_SHORT:
            say(f"a passphrase of {len(chosen)} bytes can be guessed by whoever gets the volume: take several words")
        return chosen

    def report(self, row: Row, text: str) -> None:
        """What was done: JSON on standard output where that is wanted, else a line on standard error."""
        if self.has("--json"):
            show(json.dumps(row, indent=2) + "\n")
        else:
            say(text)

    def child(self) -> dict[bytes, bytes]:
        """The environment of a scone-wrap that is to open the same volume."""
        environment = dict(self.access.environment)
        if self.has("--passphrase-file"):
            environment[VOLUME_PASSPHRASE.encode()] = self.passphrase()
        if self.has("--unlock-with"):
            environment[VOLUME_KEY_FILE.encode()] = os.fsencode(self.given.options["--unlock-with"])
        return environment

    def _given(self, option: str, variable: str) -> bytes | None:
        if self.has(option):
            raw = read_private_file(self.given.options[option], "passphrase file", PASSPHRASE_MAX)
            return raw.removesuffix(b"\n")
        return self._passphrases[variable]


def say(text: str) -> None:
    """A line for the user."""
    sys.stderr.write(f"scone-volume: {text}\n")


def show(text: str) -> None:
    """What was asked for."""
    sys.stdout.write(text)


def _remedy(option: str, variable: str) -> str:
    return f"use {option} FILE, or set {variable}"
