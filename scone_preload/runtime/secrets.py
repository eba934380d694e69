"""Secrets as files: read from where the policy says, served from this process's memory, never written anywhere."""

import os
from binascii import crc32
from collections.abc import Mapping
from typing import NamedTuple

from scone_preload.handlers import Deny, File, Result
from scone_preload.policy.model import Secret
from scone_preload.runtime import wire
from scone_preload.runtime.decode import OPENERS, pack_struct
from scone_preload.runtime.sources import content_of, owner_of
from scone_preload.runtime.verdicts import STARTED
from scone_preload.spec.model import Call as Row

EACCES, EINVAL, ENODATA, ENOTDIR, EPERM = 13, 22, 61, 20, 1
OTHERS = {"readlink": EINVAL, "readlinkat": EINVAL, "chdir": ENOTDIR, "getxattr": ENODATA, "lgetxattr": ENODATA,
          "getxattrat": ENODATA}  # fmt: skip
S_IFREG, STATX_BASIC = 0o100000, 0x7FF
DEVICE = 0x5343
READ, WRITE, EXECUTE = 4, 2, 1


class Identity(NamedTuple):
    """Who a process is to the file system."""

    uid: int
    gid: int
    groups: frozenset[int]


NOBODY = Identity(65534, 65534, frozenset())


class Secrets:
    """The secrets of one policy; `environment` is the runtime's own, `kept` what the launcher took from the keystore:
    opening it takes long, on purpose."""

    def __init__(self, environment: Mapping[bytes, bytes], kept: Mapping[str, bytes]) -> None:
        self._environment = environment
        self._kept = kept

    def content(self, secret: Secret) -> bytes:
        """Return a secret's bytes; raises UserError where there are none."""
        return content_of(secret.path, secret.source, self._environment, self._kept)

    def serve(self, secret: Secret, row: Row, message: wire.Call, who: Identity) -> Deny | File | Result:
        """Return the answer to a call about a secret's path by a process of that identity."""
        mode = int(secret.mode, 8)
        uid, gid = owner_of(secret.owner, (who.uid, who.gid))
        if row.name in OPENERS:
            if not may(READ, mode, (uid, gid), who):
                return Deny(EACCES)
            return File(content=self.content(secret), mode=mode, uid=uid, gid=gid)
        if row.name in ("access", "faccessat", "faccessat2"):
            wanted = message.args[1 if row.name == "access" else 2] & 7
            return Result(0) if may(wanted, mode, (uid, gid), who) else Deny(EACCES)
        if row.name in ("stat", "lstat", "newfstatat", "statx"):
            return Result(0, self._status(secret, row, mode, (uid, gid)))
        if "listxattr" in row.name:
            return Result(0)
        return Deny(OTHERS.get(row.name, EPERM))

    def _status(self, secret: Secret, row: Row, mode: int, owner: tuple[int, int]) -> dict[str, bytes]:
        size = len(self.content(secret))
        common = {"dev": DEVICE, "ino": number_of(secret), "nlink": 1, "mode": S_IFREG | mode, "uid": owner[0],
                  "gid": owner[1], "size": size, "blksize": 4096, "blocks": (size + 511) // 512}  # fmt: skip
        if row.name == "statx":
            fields = {f"stx_{name}": value for name, value in common.items() if name != "dev"}
            times = {f"stx_{name}time.tv_sec": STARTED for name in "amc"}
            device = {"stx_mask": STATX_BASIC, "stx_dev_major": DEVICE >> 8, "stx_dev_minor": DEVICE & 255}
            return {"stx": pack_struct("statx", fields | times | device)}
        times = {f"st_{name}tim.tv_sec": STARTED for name in "amc"}
        return {"st": pack_struct("stat", times | {f"st_{name}": value for name, value in common.items()})}


def number_of(secret: Secret) -> int:
    """Return a secret's inode: the same at each question, another for each path."""
    return crc32(os.fsencode(secret.path)) + 1


def may(wanted: int, mode: int, owner: tuple[int, int], who: Identity) -> bool:
    """Whether a process may do this with a file of that mode and owner; root may all but execute."""
    if who.uid == 0:
        return not wanted & EXECUTE or bool(mode & 0o111)
    shift = 6 if who.uid == owner[0] else 3 if owner[1] in (who.gid, *who.groups) else 0
    return mode >> shift & wanted == wanted


def identity(pid: int) -> Identity:
    """Return the identity by which a process reaches files, nobody's where it can't be seen.

    Not who owns /proc/PID: that is root for each process that has changed its identity.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            lines = dict(line.split(":", 1) for line in file)
        uid, gid = (int(lines[key].split()[3]) for key in ("Uid", "Gid"))
        return Identity(uid, gid, frozenset(map(int, lines["Groups"].split())))
    except (OSError, ValueError, KeyError, IndexError):
        return NOBODY
