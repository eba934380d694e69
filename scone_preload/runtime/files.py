"""The files that the runtime has given to programs: an exec leaves them open, and the next image gets them again."""

from collections import OrderedDict
from collections.abc import Sequence

from scone_preload.frozen import Frozen
from scone_preload.runtime import wire
from scone_preload.runtime.answers import pieces
from scone_preload.runtime.verdicts import STARTED

BYTES_MAX = 64 << 20
_FILE = wire.layout("ctl_hello_file")


class Given(Frozen, kw_only=True):
    """One file, with the owner that it was given with."""

    content: bytes
    mode: int
    uid: int
    gid: int


class Files:
    """By inode. When they are more than BYTES_MAX, the ones longest not given are forgotten."""

    def __init__(self) -> None:
        self._given: OrderedDict[int, Given] = OrderedDict()
        self._size = 0

    def note(self, number: int, given: Given) -> None:
        """A program has been given this file."""
        before = self._given.pop(number, None)
        self._size += len(given.content) - (len(before.content) if before else 0)
        self._given[number] = given
        while self._size > BYTES_MAX:
            self._size -= len(self._given.popitem(last=False)[1].content)

    def packets(self, kept: Sequence[wire.Kept]) -> tuple[int, list[bytes]]:
        """Return how many of these files are known, and the packets that give them to the next image."""
        places: dict[int, int] = {}  # of each known file's index in `kept`: its index in what is sent
        packets: list[bytes] = []
        for index, one in enumerate(kept):
            given = self._given.get(one.number)
            if given is None or (one.same_as != index and one.same_as not in places):
                continue
            places[index] = len(places)
            same_as = places[one.same_as]
            packets.append(
                _FILE.pack(one.fd, one.flags, one.offset, len(given.content), one.number, STARTED,
                           given.mode, given.uid, given.gid, same_as)
            )  # fmt: skip
            if same_as == places[index]:
                packets += pieces(given.content)
        return len(places), packets
