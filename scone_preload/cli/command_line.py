"""Command lines of tools with commands: one table that the parser, the help and the shell completions are made of."""

import textwrap
from dataclasses import dataclass, field

from scone_preload.errors import UserError
from scone_preload.policy.problem import did_you_mean


@dataclass(frozen=True, slots=True)
class Option:
    """An option; `value` is "" for a flag, else how the help calls its value; `words` are the values it may have."""

    name: str
    value: str
    text: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command of one or two words; `argument` names its arguments, those in brackets may be left out."""

    words: str
    argument: str
    text: str
    options: tuple[Option, ...] = ()
    surplus: str = ""  # the remedy for too many arguments, if there is a better one than the help


@dataclass(frozen=True, slots=True)
class Given:
    """A command line, understood."""

    command: str
    arguments: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)

    @property
    def argument(self) -> str:
        """The first argument, "" without."""
        return self.arguments[0] if self.arguments else ""


COMMON = (
    Option("--help", "", "print this help"),
    Option("--version", "", "print the version"),
    Option("--print-completion", "SHELL", "print a completion script for bash, zsh or fish", ("bash", "zsh", "fish")),
)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """All of one tool's: its name, its commands, the options of every command, and what the help says around them."""

    tool: str
    commands: tuple[Command, ...]
    everywhere: tuple[Option, ...]
    introduction: str
    ending: str

    @property
    def see_help(self) -> str:
        return f"see {self.tool} --help"

    def all_options(self) -> list[Option]:
        """Each option once."""
        everything = [option for command in self.commands for option in command.options] + list(self.everywhere)
        return list({option.name: option for option in everything}.values())

    def parse(self, argv: list[str]) -> Given:
        """Return what is asked for; command "" where only --help or the like is. Raises UserError."""
        words, options = _split(argv, {option.name: option for option in self.all_options()}, self.see_help)
        if {option.name for option in COMMON} & set(options):
            return Given("", options=options)
        command, rest = self._command(words)
        allowed = {option.name for option in (*self.everywhere, *command.options)}
        for name in options:
            if name not in allowed:
                raise UserError("option is of another command", f"{command.words} {name}", self.see_help)
        self._check_count(command, rest)
        return Given(command.words, tuple(rest), options)

    def help_text(self) -> str:
        """Return the whole help."""
        text = self.introduction
        for command in self.commands:
            text += _row(f"  {command.words} {command.argument}".rstrip(), command.text)
            text += "".join(map(_option_row, command.options))
        return text + "\nOptions of every command:\n" + "".join(map(_option_row, self.everywhere)) + self.ending

    def _command(self, words: list[str]) -> tuple[Command, list[str]]:
        for command in self.commands:
            size = command.words.count(" ") + 1
            if " ".join(words[:size]) == command.words:
                return command, words[size:]
        if not words:
            raise UserError("no command given", "COMMAND", self.see_help)
        nearest = ", ".join(command.words for command in self.commands if command.words.startswith(words[0]))
        raise UserError("unknown command", " ".join(words[:2]), f"use: {nearest}" if nearest else self.see_help)

    def _check_count(self, command: Command, rest: list[str]) -> None:
        names = command.argument.split()
        needed = [name for name in names if not name.startswith("[")]
        if len(rest) > len(names):
            shown = [*rest[: len(names)], "..."] if command.surplus else rest  # what is too much may be a secret
            raise UserError("too many arguments", " ".join([command.words, *shown]), command.surplus or self.see_help)
        if len(rest) < len(needed):
            remedy = f"write {self.tool} {command.words} {command.argument}"
            raise UserError("argument is missing", needed[len(rest)], remedy)


def _split(argv: list[str], known: dict[str, Option], see_help: str) -> tuple[list[str], dict[str, str]]:
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
            raise UserError("unknown option", name, did_you_mean(name, known, otherwise=see_help))
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
    if option.words and option.name != "--print-completion" and value not in option.words:
        raise UserError("unknown value", f"{option.name} {value}", f"use one of: {', '.join(option.words)}")
    return value


def _row(head: str, text: str) -> str:
    lines = textwrap.wrap(text, 86)
    if len(head) > 23:
        return f"{head}\n" + "".join(f"{'':<24} {line}\n" for line in lines)
    return "".join(f"{head if at == 0 else '':<24} {line}\n" for at, line in enumerate(lines))


def _option_row(option: Option) -> str:
    return _row(f"    {option.name} {option.value}".rstrip(), option.text)
