"""Reading a volume as its owner: paths, directories, contents; what is damaged is an error that names it.

For scone-volume ls, stat, cat and export. Links are followed inside the volume; one that leads out of it is refused,
since what it would show is the host's and not the volume's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISDIR, S_ISLNK

from scone_preload.errors import VolumeDamaged, VolumeError, VolumeMissing
from scone_preload.volume.container import Bad, Container
from scone_preload.volume.layout import BLOCK, ROOT_INO, Name, Record
from scone_preload.volume.tree import Damage, Lost, State, Tree, state_behind

LINKS_MAX = 40
TARGET_MAX = 4096
REMEDY = "see what else is damaged: scone-volume verify; take what is left out: scone-volume salvage"


@dataclass(frozen=True, slots=True)
class Node:
    """An inode, by the path that led to it."""

    path: bytes
    ino: int
    record: Record


def open_state(container: Container, where: str) -> State:
    """The state that a mount would find; raise VolumeDamaged."""
    slot = container.slots()[0]
    if slot.checkpoint is None:
        rule = f"volume is damaged or was tampered with: no checkpoint opens ({slot.why})"
        raise VolumeDamaged(rule, f"{where} bytes {2 * BLOCK}..{4 * BLOCK - 1}", REMEDY)
    state = state_behind(container, slot)
    if state.log.broken and state.log.broken.is_ours:
        raise VolumeDamaged(f"volume is damaged: {why(state.log.broken)}", where, REMEDY)
    return state


def damaged(path: bytes, damage: Damage) -> VolumeDamaged:
    """The error for bytes of a file that can't be had."""
    return VolumeDamaged(f"volume is damaged or was tampered with: {why(damage.bad)}", place(path, damage), REMEDY)


def why(bad: Bad) -> str:
    """The cause, with the container's bytes that it is about."""
    start = bad.block * BLOCK
    return f"container bytes {start}..{start + bad.count * BLOCK - 1}: {bad.why}"


def place(path: bytes, damage: Damage) -> str:
    """The bytes of a file, as messages name them."""
    return f"{shown(path)} bytes {damage.start}..{damage.start + damage.size - 1}"


def shown(path: bytes) -> str:
    """A path as messages show it."""
    text = path.decode(errors="surrogateescape")
    return "".join(c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" for c in text) or "/"


class Reader:
    """Strict reading of one state."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def node(self, path: bytes, ino: int) -> Node:
        """The inode with that number; raise VolumeDamaged, also where its record can't be had or isn't used."""
        record = self.tree.record(ino)
        if isinstance(record, Bad):
            rule = f"volume is damaged or was tampered with: {why(record)}"
            raise VolumeDamaged(rule, f"{shown(path)}: its record (inode {ino})", REMEDY)
        if record.is_free:
            raise VolumeDamaged("volume is damaged: a name without a file", f"{shown(path)} (inode {ino})", REMEDY)
        return Node(path, ino, record)

    def names(self, node: Node) -> Iterator[Name]:
        """A directory's names; raise VolumeDamaged."""
        for one in self.tree.names(node.ino, node.record):
            if isinstance(one, Damage):
                raise damaged(node.path, one)
            yield one

    def data(self, node: Node, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of what is no hole; raise VolumeDamaged."""
        for one in self.tree.data(node.ino, node.record, start, end):
            if isinstance(one, Damage):
                raise damaged(node.path, one)
            yield one

    def target(self, node: Node) -> bytes:
        """Where a symbolic link leads."""
        if node.record.size >= TARGET_MAX:
            raise VolumeDamaged("volume is damaged: a link with an impossible target", shown(node.path), REMEDY)
        whole = bytearray(node.record.size)
        for at, part in self.data(node):
            whole[at : at + len(part)] = part
        return bytes(whole)

    def walk(self, path: bytes, *, is_following: bool = True) -> Node:
        """What a path inside the volume names; raise VolumeMissing, VolumeError, VolumeDamaged."""
        trail = [self.node(b"", ROOT_INO)]
        left = path.split(b"/")[::-1]
        links = 0
        while left:
            name = left.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                trail = trail[:-1] or trail
                continue
            node = self._step(trail[-1], name)
            if not S_ISLNK(node.record.mode) or not (is_following or any(left)):
                trail.append(node)
                continue
            links += 1
            left += self._followed(node, links).split(b"/")[::-1]
        return trail[-1]

    def _step(self, directory: Node, name: bytes) -> Node:
        path = directory.path + b"/" + name
        if not S_ISDIR(directory.record.mode):
            raise VolumeError("not a directory", shown(directory.path), "see: scone-volume ls")
        for one in self.names(directory):
            if one.name == name:
                return self.node(path, one.ino)
        raise VolumeMissing("no such file in the volume", shown(path), "see: scone-volume ls")

    def _followed(self, node: Node, links: int) -> bytes:
        if links > LINKS_MAX:
            raise VolumeError("too many symbolic links", shown(node.path), "name the file itself")
        target = self.target(node)
        if target.startswith(b"/"):
            what = f"{shown(node.path)} -> {shown(target)}"
            raise VolumeError("link leads out of the volume", what, "name the file itself")
        return target

    def below(self, node: Node) -> Iterator[Node]:
        """A directory and all below it, each before what it holds, names sorted; raise VolumeDamaged."""
        for found in self.tree.below(node.ino):
            if isinstance(found, Lost):
                raise damaged(node.path + found.path, found.damage)
            yield self.node(node.path + found.path, found.ino)
