"""The volumes in the runtime host: handed to each image, kept up to date by one thread, and closed at the very end.

What wrapped processes leave in the arena, killed or not, is the volume's, as a kernel's page cache would be: this
thread commits it, and tells the freshness anchor what is durable. The anchor comes behind, by a second or so: what a
host that lies may choose from after an unclean end is what was durable since it was last advanced (docs/volume.md).
"""

from __future__ import annotations

from time import monotonic

from scone_preload.errors import SconeError
from scone_preload.runtime.images import Carrying, volume_packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scone_preload.volume.opening import Opened

TURN_S = 0.1
ADVANCE_S = 1.0  # between two advances of an anchor
TOLD_MAX = 10


class Volume:
    """One mounted volume, and where the program sees it."""

    def __init__(self, place: str, opened: Opened) -> None:
        self.place = place
        self.opened = opened
        self.anchored = opened.core.durable().version
        self.advanced_at = monotonic()

    @property
    def descriptors(self) -> tuple[int, int]:
        """The arena's and the container's."""
        return self.opened.core.arena_fd, self.opened.container.fd

    def packet(self) -> Carrying:
        """What hands it to an image."""
        return volume_packet(
            self.place,
            self.opened.container.directory,
            arena_size=self.opened.core.arena_size,
            is_readonly=self.opened.container.is_readonly,
            fds=self.descriptors,
        )

    def taken_over(self) -> None:
        """This process, a fork of the one that mounted it, holds it now."""
        self.opened.container.mark()

    def tend(self) -> None:
        """Do what is to be done about every 100 ms; raise SconeError."""
        if self.opened.container.is_readonly:
            return
        self.opened.core.maintain()
        if monotonic() - self.advanced_at >= ADVANCE_S:
            self.advance()

    def advance(self) -> None:
        """Tell the anchor what is durable, if that is news to it."""
        self.advanced_at = monotonic()
        durable = self.opened.core.durable()
        if self.opened.anchor is None or durable.version == self.anchored:
            return
        from scone_preload.volume.freshness import state_of  # lazy: the launcher has it loaded already

        self.opened.anchor.advance(state_of(durable))
        self.anchored = durable.version

    def commit(self) -> None:
        """All that was written is durable then, and anchored."""
        if not self.opened.container.is_readonly:
            self.opened.core.commit()
            self.advance()

    def close(self) -> None:
        """No wrapped process is left: close it, and let others have it."""
        self.opened.container.mark_closing()
        self.opened.close()


class Maintainer:
    """Tends volumes until `finish`; `say` tells what is wrong, each trouble once."""

    def __init__(self, volumes: Sequence[Volume], say: Callable[[str], None]) -> None:
        from threading import Event, Lock, Thread  # lazy: the first image is answered before

        self._one_at_a_time = Lock()  # an anchor must not be told of an older state behind a newer one
        self.volumes = list(volumes)
        self._say = say
        self._told: set[str] = set()
        self._ended = Event()
        self._thread = Thread(target=self._run, name="volumes", daemon=True)
        self._thread.start()

    def commit(self) -> None:
        """The first process has ended: what it wrote is made durable while somebody can still be told if it can't."""
        for volume in self.volumes:
            self._try(volume, volume.commit)

    def finish(self) -> None:
        """No wrapped process is left: close all volumes."""
        self._ended.set()
        self._thread.join()
        for volume in self.volumes:
            self._try(volume, volume.close)
        self.volumes.clear()

    def _run(self) -> None:
        while not self._ended.wait(TURN_S):
            for volume in self.volumes:
                self._try(volume, volume.tend)

    def _try(self, volume: Volume, act: Callable[[], None]) -> None:
        try:
            with self._one_at_a_time:
                act()
        except SconeError as error:
            text = str(error)
            if text not in self._told and len(self._told) < TOLD_MAX:
                self._told.add(text)
                self._say(f"volume {volume.place}: {text}")
