"""Shell completion scripts, from the table of options."""

from scone_preload.cli.arguments import OPTIONS, SHORT

BASH = """\
# bash completion of scone-wrap; load it with:  source <(scone-wrap --print-completion bash)
_scone_wrap() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} at=1
    while (( at < COMP_CWORD )); do
        case ${{COMP_WORDS[at]}} in
            {needing}) (( at += 2 )) ;;
            --) (( at += 1 )); break ;;
            -*) (( at += 1 )) ;;
            *) break ;;
        esac
    done
    if (( at < COMP_CWORD )); then
        case ${{COMP_WORDS[at]}} in
            -*) ;;
            *) _command_offset "$at" 2>/dev/null || COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
    fi
    case ${{COMP_WORDS[COMP_CWORD - 1]}} in
{words}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "{options}" -- "$word"))
    else
        COMPREPLY=($(compgen -c -- "$word"))
    fi
}}
complete -o default -F _scone_wrap scone-wrap
"""

ZSH = """\
#compdef scone-wrap
# zsh completion of scone-wrap; save it as _scone_wrap in a folder of $fpath
_arguments -S -A '-*' \\
{options}
    '1:program:_command_names -e' \\
    '*::arguments:_normal'
"""

FISH = """\
# fish completion of scone-wrap; save it as ~/.config/fish/completions/scone-wrap.fish
complete -c scone-wrap -f -a '(__fish_complete_subcommand)'
{options}
"""


def completion(shell: str) -> str:
    """Return the completion script for "bash", "zsh" or "fish"."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _bash() -> str:
    needing = "|".join(name for name, value, _, _ in OPTIONS if _required(value))
    words = "\n".join(
        f'        {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")); return ;;'
        for name, value, words, _ in OPTIONS
        if _required(value)
    )
    return BASH.format(needing=needing, words=words, options=" ".join([name for name, *_ in OPTIONS] + list(SHORT)))


def _zsh() -> str:
    return ZSH.format(options="\n".join(f"    '{_zsh_option(*option)}' \\" for option in OPTIONS))


def _zsh_option(name: str, value: str, words: tuple[str, ...], text: str) -> str:
    about = text.replace("'", "").replace("[", "(").replace("]", ")").replace(":", ",")
    if not value:
        return f"{name}[{about}]"
    if value.startswith("["):
        return f"{name}=-[{about}]::file:_files"
    return f"{name}=[{about}]:{value.lower()}:({' '.join(words)})"


def _fish() -> str:
    return FISH.format(options="\n".join(_fish_option(*option) for option in OPTIONS))


def _fish_option(name: str, value: str, words: tuple[str, ...], text: str) -> str:
    short = next((f" -s {letter[1:]}" for letter, long in SHORT.items() if long == name), "")
    needs = f" -x -a '{' '.join(words)}'" if _required(value) else ""
    quoted = text.replace("'", "")
    return f"complete -c scone-wrap -n __fish_is_first_token -l {name[2:]}{short}{needs} -d '{quoted}'"


def _required(value: str) -> bool:
    return bool(value) and not value.startswith("[")
