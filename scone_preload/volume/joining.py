"""Joining a volume that another scone-wrap of the same user has: its runtime host hands on the arena and the container.

Where the holder listens is an abstract unix socket whose name is made of the user and the container's device and inode:
nothing lies on a disk, and nothing is left of a holder that was killed. Anybody may have taken that name, so both sides
look at the other's user, and prove that they know the volume key, before anything is handed over (proof.py).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from scone_preload.errors import VolumeBusy
from scone_preload.keys.memory import SecretBuffer
from scone_preload.volume.core import Core, Shape, build_digest
from scone_preload.volume.format import Superblock
from scone_preload.volume.place import CONTAINER, Container, is_current
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
    join_key,
    parse_answer,
    parse_hello,
)

ANSWER_WAIT_S = 5.0
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


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """(pid, user) of the other side, as the kernel knows them; of a listener: of who made it one."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
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
    connection: socket.socket
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
            self.connection.send(what, socket.MSG_NOSIGNAL)


class Joiner:
    """Asked again and again while another process has a container locked; `joined` is what came of it."""

    def __init__(self, open_key: Open, check: Check) -> None:
        self._open = open_key
        self._check = check
        self.joined: Joined | None = None

    def __call__(self, container: Container) -> bool:
        """True: there is no lock to be waited for any more: joined, or it is another file that counts. Raises
        VolumeError, RolledBack, KeystoreError."""
        if not is_current(container):
            return True
        if container.name != CONTAINER:
            return False
        with ExitStack() as undo:
            connection = _connect(container)
            if connection is None:
                return False
            undo.callback(connection.close)
            self.joined = self._join(container, connection)
            if self.joined is not None:
                undo.pop_all()
        return self.joined is not None

    def _join(self, container: Container, connection: socket.socket) -> Joined | None:
        """None: the holder ended meanwhile, or was too busy."""
        holder = peer_of(connection)[0]
        if container.is_readonly:
            rule = f"volume is open for writing by process {holder}, and can only be read from here"
            raise VolumeBusy(rule, container.path, f"{REMEDY}; or make the container writable")
        superblock, key = self._open(container)  # may ask for a passphrase: now there is somebody to join
        with key:
            proof_key = join_key(key.view(), superblock.volume_id)
        try:
            found = _ask(container, connection, proof_key)
        finally:
            proof_key[:] = bytes(len(proof_key))
        if found is None:
            return None
        with ExitStack() as undo:
            for fd in found:
                undo.callback(os.close, fd)
            core = _core(container, superblock, found)
            undo.pop_all()
            theirs = Container(container.directory, container.name, found[1], is_readonly=False)
            joined = Joined(theirs, superblock, core, connection, holder)
            undo.callback(theirs.close)
            undo.callback(core.close)
            self._check(superblock, core)
            undo.pop_all()
        return joined


def _connect(container: Container) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(ANSWER_WAIT_S)
        connection.connect(socket_name(container))
        if peer_of(connection)[1] == os.geteuid():
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _ask(container: Container, connection: socket.socket, key: bytearray) -> tuple[int, int] | None:
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


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    fds = array.array("i")
    packet, ancillary, _, _ = connection.recvmsg(PACKET_MAX, socket.CMSG_SPACE(4 * fds.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return packet, list(fds)


def _accepted(
    container: Container, holder: int, packet: bytes, fds: list[int], is_proven: Callable[[bytes, bytes], bool]
) -> tuple[int, int] | None:
    with ExitStack() as undo:
        for fd in fds:
            os.set_inheritable(fd, False)
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
    arena, theirs = found
    shape = Shape(superblock.volume_id, superblock.log_blocks, is_plain=superblock.is_plain)
    return Core(theirs, container.path, shape, arena_fd=arena)


def _stranger(container: Container, holder: int) -> VolumeBusy:
    rule = f"process {holder} says that it has the volume open, but can't prove that it knows its key"
    return VolumeBusy(rule, container.path, "see what that process is")
