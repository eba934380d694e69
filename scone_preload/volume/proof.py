"""What two scone-wraps say to one another when the second one joins the first one's volume; no I/O here.

    joiner                                        holder
      GREETING  nonce, pid namespace ───────────►
      ◄───────  CHALLENGE  nonce, pid namespace, proof
      REQUEST   proof, build, directory ────────►
      ◄───────  ANSWER     proof, arena's size, or why not; with it the arena and the container (SCM_RIGHTS)
      TAKEN     wrapped processes may have them from here on ►
      GONE      none of them is left ───────────►

Each proof is HMAC-SHA256 under slots.join_key, over both nonces, both namespaces and both pids as the kernel tells each
side the other's: so nobody in between can pass one's proofs on to the other.
"""

import os
import struct
from dataclasses import dataclass

from scone_preload.keys.seal import Bytes, has_tag, tag

MAGIC = b"SCONEJN1"
NONCE_SIZE = PROOF_SIZE = BUILD_SIZE = 32
PACKET_MAX = 8192
TAKEN, GONE = b"taken", b"gone"
_HELLO = struct.Struct("<8s32sQ")
_ANSWER = struct.Struct("<IIQ")  # is it a refusal, zero, size of the arena


@dataclass(frozen=True, slots=True)
class Hello:
    """One side's first words: a nonce, and the pid namespace that it is in."""

    nonce: bytes
    namespace: int

    def packed(self) -> bytes:
        return _HELLO.pack(MAGIC, self.nonce, self.namespace)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Both sides, as both must see them for a proof to fit."""

    joiner: Hello
    holder: Hello
    joiner_pid: int
    holder_pid: int

    def prove(self, key: Bytes, what: bytes, said: bytes = b"") -> bytes:
        """The proof that goes with `said`; `what` is which packet it is."""
        return tag(key, self._signed(what, said))

    def is_proven(self, key: Bytes, what: bytes, proof: bytes, said: bytes = b"") -> bool:
        """True if the other side knows the key, and sees the same meeting."""
        return has_tag(key, self._signed(what, said), proof)

    def _signed(self, what: bytes, said: bytes) -> bytes:
        pids = struct.pack("<II", self.joiner_pid, self.holder_pid)
        return what.ljust(16, b"\0") + self.joiner.packed() + self.holder.packed() + pids + said


@dataclass(frozen=True, slots=True)
class Request:
    """What the joiner has: which build of the core and the shims, and the directory's path as it sees it."""

    build: bytes
    directory: str

    def packed(self) -> bytes:
        return self.build + os.fsencode(self.directory)


@dataclass(frozen=True, slots=True)
class Answer:
    """The holder's: `refused` says why not, and is "" where the arena comes with it."""

    arena_size: int
    refused: str = ""

    def packed(self) -> bytes:
        return _ANSWER.pack(bool(self.refused), 0, self.arena_size) + self.refused.encode(errors="surrogateescape")


def parse_hello(packet: bytes) -> tuple[Hello, bytes] | None:
    """A GREETING or CHALLENGE, and what follows it in the packet; None for anything else."""
    if len(packet) < _HELLO.size:
        return None
    magic, nonce, namespace = _HELLO.unpack_from(packet)
    return (Hello(nonce, namespace), packet[_HELLO.size :]) if magic == MAGIC else None


def parse_request(said: bytes) -> Request | None:
    """A REQUEST behind its proof; None for anything else."""
    if len(said) <= BUILD_SIZE or b"\0" in said[BUILD_SIZE:]:
        return None
    return Request(said[:BUILD_SIZE], os.fsdecode(said[BUILD_SIZE:]))


def parse_answer(said: bytes) -> Answer | None:
    """An ANSWER behind its proof; None for anything else."""
    if len(said) < _ANSWER.size:
        return None
    is_refused, zero, size = _ANSWER.unpack_from(said)
    refused = said[_ANSWER.size :].decode(errors="replace")
    return Answer(size, refused) if zero == 0 and is_refused == bool(refused) else None
