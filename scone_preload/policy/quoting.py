"""Texts as TOML writes them. Imports nothing: each denial names its line in TOML."""

ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quote(text: str) -> str:
    """Return `text` as a TOML string."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    return f"\\u{ord(letter):04x}" if ord(letter) < 32 or ord(letter) == 127 else letter


def quote_list(texts: tuple[str, ...]) -> str:
    """Return these texts as a TOML list on one line."""
    return f"[{', '.join(map(quote, texts))}]"
