"""The command line of scone-keys."""

from scone_preload.cli.command_line import COMMON, Command, CommandLine, Option

EVERYWHERE = (
    Option("--keystore", "DIR", "use the keystore in DIR; else $SCONE_KEYSTORE, else the user's data directory"),
    Option("--passphrase-file", "FILE", "open the keystore with the passphrase in FILE; else"
           " $SCONE_KEYS_PASSPHRASE, else it is asked for"),
    Option("--open-with", "FILE", "open the keystore with this key file; else $SCONE_KEYS_OPEN_WITH"),
    *COMMON,
)  # fmt: skip
JSON = Option("--json", "", "print JSON")
FROM = Option("--from", "FILE", "take the value from FILE, every byte of it, instead of standard input")
PLAIN = Option("--plain", "", "let the file alone open it: only its mode protects it")
PASSPHRASE = Option("--passphrase", "", "let a passphrase open it")
NEW_PASSPHRASE = Option("--new-passphrase-file", "FILE", "take that passphrase from FILE; else"
                        " $SCONE_KEYS_NEW_PASSPHRASE, else it is asked for")  # fmt: skip
BACKUP_PASSPHRASE = Option("--backup-passphrase-file", "FILE", "take the backup's passphrase from FILE; else"
                           " $SCONE_KEYS_BACKUP_PASSPHRASE, else it is asked for")  # fmt: skip
KEY_FILE = Option("--key-file", "FILE", "let a file of 64 hexadecimal digits open it; made if it isn't there")
VARIABLE = Option("--environment", "NAME", "let a variable of 64 hexadecimal digits open it, set for scone-wrap, which"
                  " keeps it from the program")  # fmt: skip
ONLY = Option("--only", "", "remove all other slots, and make a new master key, so that old copies of the keystore"
              " with their old slots open nothing that is added from now on")  # fmt: skip
SURPLUS = "give the value on standard input"

COMMANDS: tuple[Command, ...] = (
    Command("init", "", "make the keystore, as the first use does anyway", (PASSPHRASE, NEW_PASSPHRASE)),
    Command("path", "", "print where the keystore is"),
    Command("list", "", "list keys, secrets and anchored volumes; values are never shown", (JSON,)),
    Command("add-secret", "NAME", "add a secret from standard input (without the last newline); never give it as an"
            " argument, where others see it", (FROM,), SURPLUS),
    Command("rotate", "NAME", "give a key a new random value, or a secret a new value from standard input; old ones"
            " stay readable for data written with them", (FROM,), SURPLUS),
    Command("remove", "NAME", "remove a key or secret for good; what it encrypted can't be read any more"),
    Command("slot list", "", "list the ways to open the keystore", (JSON,)),
    Command("slot add", "", "add a way to open the keystore",
            (PASSPHRASE, NEW_PASSPHRASE, KEY_FILE, VARIABLE, PLAIN, ONLY)),
    Command("slot remove", "N", "remove a way to open the keystore"),
    Command("backup", "FILE", "write everything to FILE, encrypted by a passphrase", (BACKUP_PASSPHRASE,)),
    Command("restore", "FILE", "make the backup in FILE the keystore; its passphrase then opens it", (
        BACKUP_PASSPHRASE,
        PLAIN,
        Option("--replace", "", "replace the keystore that is there"),
        Option("--keep-anchors", "", "keep freshness anchors here that are later than the backup's"),
        Option("--older-anchors", "", "take the backup's freshness anchors, though those here are later or can't be"
               " compared: only if the volumes are restored from the same time"),
    )),
)  # fmt: skip

INTRODUCTION = """\
Usage: scone-keys COMMAND [ARGUMENT] [options]

The keystore holds the keys of encrypted volumes, of the CA and of the console, secrets for programs, and freshness
anchors, which tell a volume from an older copy of itself. It is made by the first start that needs a key. Without it,
volumes can't be read: keep a backup on another machine.

Examples:
  scone-keys list
  scone-keys add-secret db-password < password.txt
  scone-keys slot add --passphrase --only      protect it by a passphrase from now on
  scone-keys backup /media/usb/keys.backup
  scone-keys restore /media/usb/keys.backup

Commands:
"""

ENDING = """
How it is protected: by its mode alone at first (0700, 0600): who can read your files can read it, and so can root. A
passphrase, a key file or a variable protect a copy of the disk, too. While a program runs, the runtime holds the keys
in locked memory without core dumps; root on this machine can still read that. docs/keystore.md has the details.

Exit status: 0 done, 125 refused, with the reason and the remedy, 124 an older state than an anchor, 123 our bug.
"""


LINE = CommandLine("scone-keys", COMMANDS, EVERYWHERE, INTRODUCTION, ENDING)
