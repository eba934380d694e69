"""What secrets are made of: found for the check before a start, and again at each open; imports nothing heavy."""

from __future__ import annotations

import grp
import os
import pwd

from scone_preload.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scone_preload.policy.start import SecretSource

SECRET_MAX = 16 << 20


def check_secrets(secrets: Iterable[SecretSource], environment: Mapping[bytes, bytes]) -> None:
    """Raise UserError for the first secret that couldn't be served; those of the keystore are found by opening it."""
    for path, source, owner in secrets:
        kind, _, name = source.partition(":")
        if kind == "env":
            content_of(path, source, environment, {})
        elif kind == "file":
            _check_file(path, name)
        try:
            owner_of(owner, (0, 0))
        except KeyError:
            raise UserError("no such owner of a secret", f"{path}: {owner}", "name a user of this system") from None


def _check_file(path: str, name: str) -> None:
    """Without reading it: this process may be dumped."""
    try:
        with open(name, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unreadable(path, name, error) from None
    if size > SECRET_MAX:
        raise _too_large(path, name)


def _unreadable(path: str, name: str, error: OSError) -> UserError:
    remedy = f"{error.strerror}; name a file that scone-wrap can read"
    return UserError("secret can't be read", f"{path}: {name}", remedy)


def _too_large(path: str, name: str) -> UserError:
    return UserError("secret is too large", f"{path}: {name}", f"at most {SECRET_MAX} bytes are served")


def content_of(path: str, source: str, environment: Mapping[bytes, bytes], kept: Mapping[str, bytes]) -> bytes:
    """Return the bytes of the secret at `path`; raises UserError where there are none."""
    kind, _, name = source.partition(":")
    if kind == "env":
        value = environment.get(os.fsencode(name))
        if value is None:
            raise UserError("secret not given", f"{path}: {source}", f"set {name} for scone-wrap")
        return value
    if kind == "keystore":
        return kept[name]
    try:
        with open(name, "rb") as file:
            content = file.read(SECRET_MAX + 1)
    except OSError as error:
        raise _unreadable(path, name, error) from None
    if len(content) > SECRET_MAX:
        raise _too_large(path, name)
    return content


def owner_of(owner: str, process: tuple[int, int]) -> tuple[int, int]:
    """Return uid and gid of a secret's file: `owner` ("user", "user:group", by name or number), else the process's;
    KeyError for an unknown name."""
    user, _, group = owner.partition(":")
    if not user:
        return process
    if user.isdigit():
        uid, gid = int(user), int(user)
    else:
        entry = pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
    if group:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    return uid, gid
