"""Patterns of a policy: `*` stands for any characters, `?` for one; in a path neither crosses a `/`.

A path pattern that ends in `/` means that directory and everything below it. Imports nothing: each start with a policy
matches the environment with it.
"""


def is_pattern(text: str) -> bool:
    """Return whether `text` can match more than itself."""
    return "*" in text or "?" in text


def wildcard(pattern: str, text: str) -> bool:
    """Return whether the whole of `text` matches; takes time in proportion to both lengths."""
    at = place = 0
    star, mark = -1, 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return pattern[at:].strip("*") == ""


def path_matches(pattern: str, path: str) -> bool:
    """Return whether the normal, absolute `path` matches."""
    wanted, given = pattern.rstrip("/").split("/"), path.rstrip("/").split("/")
    if len(wanted) > len(given) or (len(wanted) < len(given) and not pattern.endswith("/")):
        return False
    return all(map(wildcard, wanted, given))


def first_match(patterns: tuple[str, ...], text: str) -> str | None:
    """Return the first of these patterns that matches `text`, if one does."""
    return next((pattern for pattern in patterns if wildcard(pattern, text)), None)


def first_path_match(patterns: tuple[str, ...], path: str) -> str | None:
    """Return the first of these path patterns that matches `path`, if one does."""
    return next((pattern for pattern in patterns if path_matches(pattern, path)), None)


def is_below(path: str, directory: str) -> bool:
    """Return whether `path` is `directory` or in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
