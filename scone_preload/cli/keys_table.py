"""The command line of scone-keys: one table that the parser, the help and the shell completions are made of."""

import textwrap
from dataclasses import dataclass, field

from scone_preload.errors import UserError
from scone_preload.policy.problem import did_you_mean

SEE_HELP = "see scone-keys --help"


@dataclass(frozen=True, slots=True)
class Option:
    """An option; `value` is "" for a flag, else how the help calls its value."""

    name: str
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command of one or two words; `argument` is "" where it takes none."""

    words: str
    argument: str
    text: str
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A command line, understood."""

    command: str
    argument: str = ""
    options: dict[str, str] = field(default_factory=dict)


EVERYWHERE = (
    Option("--keystore", "DIR", "use the keystore in DIR; else $SCONE_KEYSTORE, else the user's data directory"),
    Option("--passphrase-file", "FILE", "open the keystore with the passphrase in FILE; else"
           " $SCONE_KEYS_PASSPHRASE, else it is asked for"),
    Option("--open-with", "FILE", "open the keystore with this key file; else $SCONE_KEYS_OPEN_WITH"),
    Option("--help", "", "print this help"),
    Option("--version", "", "print the version"),
    Option("--print-completion", "SHELL", "print a completion script for bash, zsh or fish"),
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

COMMANDS: tuple[Command, ...] = (
    Command("init", "", "make the keystore, as the first use does anyway", (PASSPHRASE, NEW_PASSPHRASE)),
    Command("path", "", "print where the keystore is"),
    Command("list", "", "list keys, secrets and anchored volumes; values are never shown", (JSON,)),
    Command("add-secret", "NAME", "add a secret from standard input (without the last newline); never give it as an"
            " argument, where others see it", (FROM,)),
    Command("rotate", "NAME", "give a key a new random value, or a secret a new value from standard input; old ones"
            " stay readable for data written with them", (FROM,)),
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


def parse(argv: list[str]) -> Given:
    """Return what is asked for; command "" where only --help or the like is. Raises UserError."""
    known = {option.name: option for command in COMMANDS for option in command.options}
    known |= {option.name: option for option in EVERYWHERE}
    words, options = _split(argv, known)
    if {"--help", "--version", "--print-completion"} & set(options):
        return Given("", options=options)
    command, rest = _command(words)
    allowed = {option.name for option in (*EVERYWHERE, *command.options)}
    for name in options:
        if name not in allowed:
            raise UserError("option is of another command", f"{command.words} {name}", SEE_HELP)
    if len(rest) != bool(command.argument):
        _complain_count(command, rest)
    return Given(command.words, rest[0] if rest else "", options)


def help_text() -> str:
    """Return the whole help."""
    text = INTRODUCTION
    for command in COMMANDS:
        text += _row(f"  {command.words} {command.argument}".rstrip(), command.text)
        text += "".join(map(_option_row, command.options))
    return text + "\nOptions of every command:\n" + "".join(map(_option_row, EVERYWHERE)) + ENDING


def _split(argv: list[str], known: dict[str, Option]) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    options: dict[str, str] = {}
    rest = ["--help" if word == "-h" else "--version" if word == "-V" else word for word in argv]
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise UserError("unknown option", name, did_you_mean(name, known, otherwise=SEE_HELP))
        options[name] = _value(known[name], value if equals else None, rest)
    return words, options


def _value(option: Option, value: str | None, rest: list[str]) -> str:
    if not option.value:
        if value is not None:
            raise UserError("option takes no value", option.name, f"leave out ={value}")
        return ""
    if value is None and rest:
        value = rest.pop(0)
    if not value:
        raise UserError("option needs a value", option.name, f"write {option.name} {option.value}")
    return value


def _command(words: list[str]) -> tuple[Command, list[str]]:
    for command in COMMANDS:
        size = command.words.count(" ") + 1
        if " ".join(words[:size]) == command.words:
            return command, words[size:]
    if not words:
        raise UserError("no command given", "COMMAND", SEE_HELP)
    nearest = ", ".join(command.words for command in COMMANDS if command.words.startswith(words[0]))
    raise UserError("unknown command", " ".join(words[:2]), f"use: {nearest}" if nearest else SEE_HELP)


def _complain_count(command: Command, rest: list[str]) -> None:
    if rest and command.words in ("add-secret", "rotate"):
        raise UserError("too many arguments", f"{command.words} {rest[0]} ...", "give the value on standard input")
    if rest:
        raise UserError("too many arguments", f"{command.words} {' '.join(rest)}", SEE_HELP)
    raise UserError("argument is missing", command.argument, f"write scone-keys {command.words} {command.argument}")


def _row(head: str, text: str) -> str:
    lines = textwrap.wrap(text, 86)
    if len(head) > 23:
        return f"{head}\n" + "".join(f"{'':<24} {line}\n" for line in lines)
    return "".join(f"{head if at == 0 else '':<24} {line}\n" for at, line in enumerate(lines))


def _option_row(option: Option) -> str:
    return _row(f"    {option.name} {option.value}".rstrip(), option.text)
