"""The command line of scone-volume."""

from scone_preload.cli.command_line import COMMON, Command, Option

MODES = ("encrypt", "authenticate")
FRESHNESS = ("rollback_protected", "rollback_protected_reinitializable", "no_rollback_protection")

EVERYWHERE = (
    Option("--keystore", "DIR", "use the keystore in DIR; else $SCONE_KEYSTORE, else the user's data directory; it is"
           " opened as by scone-wrap (docs/keystore.md)"),
    Option("--unlock-with", "FILE", "open the volume with this key file; else $SCONE_VOLUME_KEY_FILE"),
    Option("--passphrase-file", "FILE", "open the volume with the passphrase in FILE; else $SCONE_VOLUME_PASSPHRASE,"
           " else it is asked for"),
    *COMMON,
)  # fmt: skip
JSON = Option("--json", "", "print JSON")
KEY = Option("--key", "NAME", 'let this key of the keystore open it (made if need be; a new volume\'s is "default")')
PASSPHRASE = Option("--passphrase", "", "let a passphrase open it")
NEW_PASSPHRASE = Option("--new-passphrase-file", "FILE", "take that passphrase from FILE; else"
                        " $SCONE_VOLUME_NEW_PASSPHRASE, else it is asked for, twice")  # fmt: skip
KEY_FILE = Option("--key-file", "FILE", "let FILE open it, 64 hexadecimal digits; made if it isn't there")
MODE = Option("--mode", "MODE", "encrypt (the default), or authenticate: readable, but not changeable unnoticed", MODES)
FRESH = Option("--freshness", "WORD", "whether an old copy is noticed (docs/policy.md)", FRESHNESS)

OWN: tuple[Command, ...] = (
    Command("create", "DIR", "make an empty volume in an empty or missing directory, as scone-wrap --data does anyway;"
            " opened by a key of the keystore unless another way is given",
            (KEY, PASSPHRASE, NEW_PASSPHRASE, KEY_FILE, MODE, FRESH,
             Option("--anew", "", "though another volume belongs there, which is gone for good"), JSON)),
    Command("rekey", "DIR", "change what opens a volume; its data is not written again", (
        Option("--list", "", "list its key slots, and change nothing"),
        KEY, PASSPHRASE, NEW_PASSPHRASE, KEY_FILE,
        Option("--only", "", "remove all other slots"),
        Option("--remove", "N", "remove slot N of the list"),
        Option("--adopt", "", "anchor it as it is and where it is: only who knows what it should hold can say so"),
        JSON,
    )),
    Command("import", "SOURCE DIR", "copy a directory tree into a volume, which is made if DIR is empty; begins where"
            " an interrupted import ended, and overwrites nothing", (KEY, MODE, FRESH, JSON)),
    Command("bench", "DIR", "measure a volume in DIR, a directory to be made and removed, against plain files beside"
            " it",
            (Option("--size", "MIB", "of the file that is read and written; 256"), JSON)),
)  # fmt: skip

INTRODUCTION = """\
Usage: scone-volume COMMAND ARGUMENTS [options]

A volume is a directory tree that only a wrapped program can read, or change unnoticed; on the disk it is one file,
volume.scone, in a directory of its own. Programs use it by scone-wrap --data DIR. These commands work without one.

Examples:
  scone-volume import /var/lib/redis ./data      then: scone-wrap --data ./data redis-server --dir ./data
  scone-volume create --passphrase ./secret
  scone-volume rekey --list ./data
  scone-volume cat ./data/dump.rdb > dump.rdb
  scone-volume verify ./data

Commands:
"""

ENDING = """
A volume is used by scone-wraps of one user, with all of their processes, or by one of these commands.

Exit status: 0 done, 1 done but for what is damaged, 125 refused, with the reason and the remedy, 124 an older state
than its anchor, 123 our bug.
"""
