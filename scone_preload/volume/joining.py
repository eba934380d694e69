"""Joining a volume that another scone-wrap of the same user has: its runtime host hands on the arena and the container.

Where the holder listens is an abstract unix socket whose name is made of the user and the container's device and inode:
nothing lies on a disk, and nothing is left of a holder that was killed. Anybody may have taken that name, so both sides
look at the other's user, and prove that they know the volume key, before anything is handed over (proof.py).
"""

from __future__ import annotations

import os
import struct
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SO_PEERCRED,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from scone_preload.errors import VolumeBusy
from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume.core import Core, Shape, build_digest
from scone_preload.volume.format import Superblock
from scone_preload.volume.place import Container
from scone_preload.volume.proof import (
    GONE,
    NONCE_SIZE,
    PACKET_MAX,
    PROOF_SIZE,
    TAKEN,
    Answer,
    Hello,
    Meeting,
    Request,
    parse_answer,
    parse_hello,
)
from scone_preload.volume.slots import join_key

ANSWER_WAIT_S = 5.0
FDS_MAX, FD_SIZE = 4, 4
REMEDY = "wait until its programs have ended, or end them"
_CREDENTIALS = struct.Struct("3i")

Open = Callable[[Container], tuple[Superblock, SecretBuffer]]  # the superblock that counts, and the volume key
Check = Callable[[Superblock, Core], None]  # raises VolumeError, RolledBack: it isn't what was asked for


def socket_name(container: Container) -> bytes:
    """Where who holds this container listens."""
    info = os.fstat(container.fd)
    return f"\0scone-volume-{os.geteuid()}-{info.st_dev:x}-{info.st_ino:x}".encode()


def pid_namespace() -> int:
    """The number of this process's pid namespace."""
    return os.stat("/proc/self/ns/pid").st_ino


def peer_of(connection: socket) -> tuple[int, int]:
    """(pid, user) of the other side, as the kernel knows them; of a listener: of who made it one."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def greeting() -> Hello:
    """This side's first words."""
    return Hello(os.urandom(NONCE_SIZE), pid_namespace())


@dataclass(frozen=True, slots=True)
class Joined:
    """A volume that another runtime host, process `holder`, maintains; it lasts as long as `connection`, and as this
    does."""

    container: Container
    superblock: Superblock
    core: Core
    connection: socket
    holder: int

    def taken(self) -> None:
        """From here on wrapped processes may have it: the holder must not take our end for theirs, unless told."""
        self._tell(TAKEN)

    def close(self) -> None:
        """None of our wrapped processes is left."""
        self._tell(GONE)
        self.core.close()
        self.container.close()
        self.connection.close()

    def _tell(self, what: bytes) -> None:
        with suppress(OSError):  # the holder was killed: whoever watches the connection sees it, too
            self.connection.send(what, MSG_NOSIGNAL)


def join(container: Container, open_key: Open, check: Check) -> Joined | None:
    """Join the volume of an open container that another process has locked; None where nobody listens, yet or any more.
    Raises VolumeError, RolledBack, KeystoreError."""
    with ExitStack() as undo:
        connection = _connect(container)
        if connection is None:
            return None
        undo.callback(connection.close)
        joined = _joined(container, connection, open_key, check)
        if joined is not None:
            undo.pop_all()
    return joined


def _joined(container: Container, connection: socket, open_key: Open, check: Check) -> Joined | None:
    """None: the holder ended meanwhile, or was too busy."""
    holder = peer_of(connection)[0]
    if container.is_readonly:
        rule = f"volume is open for writing by process {holder}, and can only be read from here"
        raise VolumeBusy(rule, container.path, f"{REMEDY}; or make the container writable")
    superblock, key = open_key(container)  # may ask for a passphrase: now there is somebody to join
    with key:
        proof_key = join_key(key.view(), superblock.volume_id)
    try:
        found = _ask(container, connection, proof_key)
    finally:
        proof_key[:] = bytes(len(proof_key))
    if found is None:
        return None
    theirs = found[1]
    with ExitStack() as undo:
        undo.callback(os.close, theirs)
        core = _core(container, superblock, found)
        undo.callback(core.close)
        check(superblock, core)
        undo.pop_all()
    shared = Container(container.directory, container.name, theirs, is_readonly=False)
    return Joined(shared, superblock, core, connection, holder)


def _connect(container: Container) -> socket | None:
    connection = socket(AF_UNIX, SOCK_SEQPACKET)
    try:
        connection.settimeout(ANSWER_WAIT_S)
        connection.connect(socket_name(container))
        if peer_of(connection)[1] == os.geteuid():
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _ask(container: Container, connection: socket, key: bytearray) -> tuple[int, int] | None:
    """The arena and the container, None where nobody answers; raise VolumeBusy for a holder that can't be joined."""
    holder, ours = peer_of(connection)[0], greeting()
    try:
        connection.send(ours.packed())
        hello = parse_hello(connection.recv(PACKET_MAX))
        if hello is None:
            return None
        theirs, proof = hello
        if theirs.namespace != ours.namespace:
            rule = "volume is in use in another pid namespace"
            raise VolumeBusy(rule, container.path, f"{REMEDY}; only in one pid namespace can it be shared")
        meeting = Meeting(ours, theirs, os.getpid(), holder)
        if not meeting.is_proven(key, b"challenge", proof):
            raise _stranger(container, holder)
        request = Request(build_digest(), container.directory).packed()
        connection.send(meeting.prove(key, b"request", request) + request)
        packet, fds = _received(connection)
    except OSError:
        return None
    return _accepted(container, holder, packet, fds, lambda proof, said: meeting.is_proven(key, b"answer", proof, said))


def _received(connection: socket) -> tuple[bytes, list[int]]:
    space = CMSG_SPACE(FDS_MAX * FD_SIZE)
    packet, ancillary, _, _ = connection.recvmsg(PACKET_MAX, space, MSG_CMSG_CLOEXEC)
    fds = b"".join(data for level, kind, data in ancillary if (level, kind) == (SOL_SOCKET, SCM_RIGHTS))
    return packet, [int.from_bytes(fds[at : at + FD_SIZE], "little") for at in range(0, len(fds), FD_SIZE)]


def _accepted(
    container: Container, holder: int, packet: bytes, fds: list[int], is_proven: Callable[[bytes, bytes], bool]
) -> tuple[int, int] | None:
    with ExitStack() as undo:
        for fd in fds:
            undo.callback(os.close, fd)
        if not packet:  # the holder ended
            return None
        proof, said = packet[:PROOF_SIZE], packet[PROOF_SIZE:]
        answer = parse_answer(said)
        if answer is None or not is_proven(proof, said):
            raise _stranger(container, holder)
        if answer.refused:
            raise VolumeBusy(answer.refused, container.path, REMEDY)
        if not _are_what_they_should_be(container, answer, fds):
            raise _stranger(container, holder)
        undo.pop_all()
    arena, theirs = fds
    return arena, theirs


def _are_what_they_should_be(container: Container, answer: Answer, fds: list[int]) -> bool:
    if len(fds) != 2:
        return False
    arena, theirs, ours = (os.fstat(fd) for fd in (*fds, container.fd))
    return arena.st_size == answer.arena_size and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _core(container: Container, superblock: Superblock, found: tuple[int, int]) -> Core:
    """It takes the arena, also where it fails."""
    arena, theirs = found
    shape = Shape(superblock.volume_id, superblock.log_blocks, is_plain=superblock.is_plain)
    with ExitStack() as undo:
        undo.callback(os.close, arena)
        core = Core(theirs, container.path, shape, arena_fd=arena)
        undo.pop_all()
    return core


def _stranger(container: Container, holder: int) -> VolumeBusy:
    rule = f"process {holder} says that it has the volume open, but can't prove that it knows its key"
    return VolumeBusy(rule, container.path, "see what that process is")
