"""Secrets as files: read from where the policy says, served from this process's memory, never written anywhere."""

import contextlib
import os
from collections.abc import Callable, Mapping

from scone_preload.errors import UserError
from scone_preload.handlers import Deny, File, Result
from scone_preload.policy.model import Secret
from scone_preload.runtime import wire
from scone_preload.runtime.deciding import open_flags, owner_of
from scone_preload.runtime.decode import OPENERS, pack_struct
from scone_preload.spec.model import Call as Row

EACCES, EINVAL, ENOTDIR, EPERM = 13, 22, 20, 1
S_IFREG, STATX_BASIC = 0o100000, 0x7FF
DEVICE = 0x5343
READ, WRITE, EXECUTE = 4, 2, 1
O_DIRECTORY = 0o200000
SECRET_MAX = 16 << 20


class Secrets:
    """The secrets of one policy; `environment` is the runtime's own, `keystore` gives a secret of that by its name."""

    def __init__(self, environment: Mapping[bytes, bytes], keystore: Callable[[str], bytes]) -> None:
        self._environment = environment
        self._keystore = keystore

    def check(self, secrets: tuple[Secret, ...]) -> None:
        """Raise UserError for the first secret that can't be served: before the program starts."""
        for secret in secrets:
            self.content(secret)
            with contextlib.suppress(KeyError):
                owner_of(secret, (0, 0))
                continue
            raise UserError("no such owner of a secret", f"{secret.path}: {secret.owner}", "name a user of this system")

    def content(self, secret: Secret) -> bytes:
        """Return a secret's bytes; raises UserError where there are none."""
        kind, _, name = secret.source.partition(":")
        if kind == "env":
            value = self._environment.get(os.fsencode(name))
            if value is None:
                raise UserError("secret not given", f"{secret.path}: {secret.source}", f"set {name} for scone-wrap")
            return value
        if kind == "keystore":
            return self._keystore(name)
        try:
            with open(name, "rb") as file:
                content = file.read(SECRET_MAX + 1)
        except OSError as error:
            raise UserError("secret can't be read", f"{secret.path}: {name}", str(error.strerror)) from None
        if len(content) > SECRET_MAX:
            raise UserError("secret is too large", f"{secret.path}: {name}", f"at most {SECRET_MAX} bytes are served")
        return content

    def serve(self, secret: Secret, row: Row, message: wire.Call, owner: tuple[int, int]) -> Deny | File | Result:
        """Return the answer to a call about a secret's path by a process of that owner."""
        mode = int(secret.mode, 8)
        uid, gid = owner_of(secret, owner)
        if row.name in OPENERS:
            if open_flags(row, message) & O_DIRECTORY:
                return Deny(ENOTDIR)
            if not may(READ, mode, (uid, gid), owner):
                return Deny(EACCES)
            return File(content=self.content(secret), mode=mode, uid=uid, gid=gid)
        if row.name in ("access", "faccessat", "faccessat2"):
            wanted = message.args[1 if row.name == "access" else 2] & 7
            return Result(0) if may(wanted, mode, (uid, gid), owner) else Deny(EACCES)
        if row.name in ("stat", "lstat", "newfstatat", "statx"):
            return Result(0, self._status(secret, row, mode, (uid, gid)))
        return Deny(EINVAL if row.name.startswith("readlink") else EPERM)

    def _status(self, secret: Secret, row: Row, mode: int, owner: tuple[int, int]) -> dict[str, bytes]:
        size = len(self.content(secret))
        common = {"dev": DEVICE, "ino": 1, "nlink": 1, "mode": S_IFREG | mode, "uid": owner[0], "gid": owner[1],
                  "size": size, "blksize": 4096, "blocks": (size + 511) // 512}  # fmt: skip
        if row.name == "statx":
            fields = {f"stx_{name}": value for name, value in common.items() if name != "dev"}
            return {"stx": pack_struct("statx", fields | {"stx_mask": STATX_BASIC})}
        return {"st": pack_struct("stat", {f"st_{name}": value for name, value in common.items()})}


def may(wanted: int, mode: int, owner: tuple[int, int], process: tuple[int, int]) -> bool:
    """Whether a process (uid, gid) may do this with a file of that mode and owner; root may all but execute."""
    if process[0] == 0:
        return not wanted & EXECUTE or bool(mode & 0o111)
    shift = 6 if process[0] == owner[0] else 3 if process[1] == owner[1] else 0
    return mode >> shift & wanted == wanted


def process_owner(pid: int) -> tuple[int, int]:
    """Return the effective uid and gid of a process, those of nobody where it can't be seen."""
    try:
        info = os.stat(f"/proc/{pid}")
    except OSError:
        return 65534, 65534
    return info.st_uid, info.st_gid


