"""Shell completion scripts of scone-keys, from its table."""

from scone_preload.cli.keys_table import COMMANDS, EVERYWHERE, Command, Option

SHELLS = ("bash", "zsh", "fish")

BASH = """\
# bash completion of scone-keys; load it with:  source <(scone-keys --print-completion bash)
_scone_keys() {{
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
        --keystore) COMPREPLY=($(compgen -d -- "$word")); return ;;
        {needing}) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    local options="{everywhere}"
    case $command in
{cases}
    esac
    if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$word")); fi
}}
complete -F _scone_keys scone-keys
"""

ZSH = """\
#compdef scone-keys
# zsh completion of scone-keys; save it as _scone_keys in a folder of $fpath
_arguments -S \\
{options}
    '1:command:({first})' \\
    '*:argument:_files'
"""

FISH = """\
# fish completion of scone-keys; save it as ~/.config/fish/completions/scone-keys.fish
complete -c scone-keys -f -n __fish_use_subcommand -a '{first}'
complete -c scone-keys -f -n '__fish_seen_subcommand_from slot' -a '{slot}'
{options}
"""


def completion(shell: str) -> str:
    """Return the completion script for "bash", "zsh" or "fish"."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _first_words() -> list[str]:
    return list(dict.fromkeys(command.words.split()[0] for command in COMMANDS))


def _all_options() -> list[Option]:
    everything = [option for command in COMMANDS for option in command.options] + list(EVERYWHERE)
    return list({option.name: option for option in everything}.values())


def _bash() -> str:
    cases = [f'        "") [[ $word == -* ]] || COMPREPLY=($(compgen -W "{" ".join(_first_words())}" -- "$word")) ;;']
    second = " ".join(command.words.split()[1] for command in COMMANDS if " " in command.words)
    cases.append(f'        slot) COMPREPLY=($(compgen -W "{second}" -- "$word")) ;;')
    cases += map(_bash_case, COMMANDS)
    needing = "|".join(option.name for option in _all_options() if option.value)
    everywhere = " ".join(option.name for option in EVERYWHERE)
    return BASH.format(needing=needing, shells=" ".join(SHELLS), everywhere=everywhere, cases="\n".join(cases))


def _bash_case(command: Command) -> str:
    own = "".join(f" {option.name}" for option in command.options)
    files = '; COMPREPLY=($(compgen -f -- "$word"))' if command.argument == "FILE" else ""
    return f'        "{command.words}") options+="{own}"{files} ;;'


def _zsh() -> str:
    lines = []
    for option in _all_options():
        about = option.text.replace("'", "").replace("[", "(").replace("]", ")").replace(":", ",")
        value = f":{option.value.lower()}:{_zsh_values(option)}" if option.value else ""
        lines.append(f"    '{option.name}{'=' if value else ''}[{about}]{value}' \\")
    return ZSH.format(options="\n".join(lines), first=" ".join(_first_words()))


def _zsh_values(option: Option) -> str:
    return {"SHELL": f"({' '.join(SHELLS)})", "DIR": "_directories", "NAME": ""}.get(option.value, "_files")


def _fish() -> str:
    lines = []
    for option in _all_options():
        needs = f" -x -a '{' '.join(SHELLS)}'" if option.value == "SHELL" else " -r" if option.value else ""
        about = option.text.replace("'", "")
        lines.append(f"complete -c scone-keys -l {option.name[2:]}{needs} -d '{about}'")
    slot = " ".join(command.words.split()[1] for command in COMMANDS if " " in command.words)
    return FISH.format(options="\n".join(lines), first=" ".join(_first_words()), slot=slot)
