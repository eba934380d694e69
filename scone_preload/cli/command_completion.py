"""Shell completion scripts of tools with commands, from their tables."""

from scone_preload.cli.command_line import Command, CommandLine, Option

SHELLS = ("bash", "zsh", "fish")

BASH = """\
# bash completion of {tool}; load it with:  source <({tool} --print-completion bash)
{function}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command="" at=1
    while (( at < COMP_CWORD )); do
        case ${{COMP_WORDS[at]}} in
            {needing}) (( at += 2 )) ;;
            -*) (( at += 1 )) ;;
            *) command="${{command:+$command }}${{COMP_WORDS[at]}}"; (( at += 1 )) ;;
        esac
    done
    COMPREPLY=()
    case $before in
        --print-completion) COMPREPLY=($(compgen -W "{shells}" -- "$word")); return ;;
{values}
        {needing}) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    local options="{everywhere}"
    case $command in
{cases}
    esac
    if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$word")); fi
}}
complete -F {function} {tool}
"""

ZSH = """\
#compdef {tool}
# zsh completion of {tool}; save it as {function} in a folder of $fpath
_arguments -S \\
{options}
    '1:command:({first})' \\
    '*:argument:_files'
"""

FISH = """\
# fish completion of {tool}; save it as ~/.config/fish/completions/{tool}.fish
complete -c {tool} -f -n __fish_use_subcommand -a '{first}'
{second}
{options}
"""


def completion(line: CommandLine, shell: str) -> str:
    """Return the completion script for "bash", "zsh" or "fish"."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](line)


def _first_words(line: CommandLine) -> list[str]:
    return list(dict.fromkeys(command.words.split()[0] for command in line.commands))


def _second_words(line: CommandLine) -> dict[str, str]:
    """What may stand behind the first of two words."""
    found: dict[str, str] = {}
    for command in line.commands:
        first, _, second = command.words.partition(" ")
        if second:
            found[first] = f"{found.get(first, '')} {second}".lstrip()
    return found


def _function(line: CommandLine) -> str:
    return "_" + line.tool.replace("-", "_")


def _bash(line: CommandLine) -> str:
    first = " ".join(_first_words(line))
    cases = [f'        "") [[ $word == -* ]] || COMPREPLY=($(compgen -W "{first}" -- "$word")) ;;']
    for word, second in _second_words(line).items():
        cases.append(f'        {word}) COMPREPLY=($(compgen -W "{second}" -- "$word")) ;;')
    cases += map(_bash_case, line.commands)
    return BASH.format(
        tool=line.tool,
        function=_function(line),
        needing="|".join(option.name for option in line.all_options() if option.value),
        shells=" ".join(SHELLS),
        everywhere=" ".join(option.name for option in line.everywhere),
        values="\n".join(filter(None, map(_bash_values, line.all_options()))),
        cases="\n".join(cases),
    )


def _bash_values(option: Option) -> str:
    if option.value == "DIR":
        return f'        {option.name}) COMPREPLY=($(compgen -d -- "$word")); return ;;'
    if option.words and option.value != "SHELL":
        words = " ".join(option.words)
        return f'        {option.name}) COMPREPLY=($(compgen -W "{words}" -- "$word")); return ;;'
    return ""


def _bash_case(command: Command) -> str:
    own = "".join(f" {option.name}" for option in command.options)
    takes = set(command.argument.replace("[", "").replace("]", "").split())
    kind = "f" if takes & {"FILE", "PATH", "SOURCE", "TARGET"} else "d" if "DIR" in takes else ""
    files = f'; COMPREPLY=($(compgen -{kind} -- "$word"))' if kind else ""
    return f'        "{command.words}") options+="{own}"{files} ;;'


def _zsh(line: CommandLine) -> str:
    lines = []
    for option in line.all_options():
        about = option.text.replace("'", "").replace("[", "(").replace("]", ")").replace(":", ",")
        value = f":{option.value.lower()}:{_zsh_values(option)}" if option.value else ""
        lines.append(f"    '{option.name}{'=' if value else ''}[{about}]{value}' \\")
    names = {"tool": line.tool, "function": _function(line)}
    return ZSH.format(options="\n".join(lines), first=" ".join(_first_words(line)), **names)


def _zsh_values(option: Option) -> str:
    if option.words:
        return f"({' '.join(option.words)})"
    return {"DIR": "_directories", "NAME": ""}.get(option.value, "_files")


def _fish(line: CommandLine) -> str:
    lines = []
    for option in line.all_options():
        needs = f" -x -a '{' '.join(option.words)}'" if option.words else " -r" if option.value else ""
        about = option.text.replace("'", "")
        lines.append(f"complete -c {line.tool} -l {option.name[2:]}{needs} -d '{about}'")
    second = [
        f"complete -c {line.tool} -f -n '__fish_seen_subcommand_from {word}' -a '{words}'"
        for word, words in _second_words(line).items()
    ]
    return FISH.format(
        tool=line.tool, options="\n".join(lines), first=" ".join(_first_words(line)), second="\n".join(second)
    )
