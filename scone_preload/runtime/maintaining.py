"""The volumes in the runtime host: handed to each image, kept up to date by one thread, and closed at the very end.

What wrapped processes leave in the arena, killed or not, is the volume's, as a kernel's page cache would be: this
thread commits it, and tells the freshness anchor what is durable. The anchor comes behind, by a second or so: what a
host that lies may choose from after an unclean end is what was durable since it was last advanced (docs/volume.md).

Others may have joined a volume of ours (sharing.py): then it stays open until they have gone. One that this host has
joined itself is another host's to maintain.
"""

from __future__ import annotations

import os
from functools import partial
from time import monotonic

from scone_preload.errors import SconeError
from scone_preload.runtime.images import Carrying, volume_packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scone_preload.runtime.sharing import Company
    from scone_preload.volume.core import Core
    from scone_preload.volume.joining import Joined
    from scone_preload.volume.opening import Opened
    from scone_preload.volume.place import Container

TURN_S = 0.1
ADVANCE_S = 1.0  # between two advances of an anchor
TOLD_MAX = 10


class HeldVolume:
    """A volume of this host, and where the program sees it."""

    def __init__(self, place: str, container: Container, core: Core) -> None:
        self.place = place
        self.container = container
        self.core = core

    @property
    def descriptors(self) -> tuple[int, int]:
        """The arena's and the container's."""
        return self.core.arena_fd, self.container.fd

    @property
    def held(self) -> tuple[int, ...]:
        """What the runtime host must not close."""
        return self.descriptors

    def packet(self) -> Carrying:
        """What hands it to an image."""
        return volume_packet(
            self.place,
            self.container.directory,
            arena_size=self.core.arena_size,
            is_readonly=self.container.is_readonly,
            fds=self.descriptors,
        )

    def taken_over(self) -> None:
        """This process, a fork of the one that opened it, holds it now."""
        raise NotImplementedError

    def tend(self) -> None:
        """Do what is to be done about every 100 ms; raise SconeError."""
        raise NotImplementedError

    def commit(self) -> None:
        """All that was written is durable then; raise SconeError."""
        raise NotImplementedError

    def close(self, *, is_last: bool = True) -> None:
        """No wrapped process of this host is left; nor of others, but for some that are stopping (not `is_last`). Let
        go of it; raise SconeError."""
        raise NotImplementedError


class Volume(HeldVolume):
    """One that this host has mounted."""

    def __init__(self, place: str, opened: Opened) -> None:
        super().__init__(place, opened.container, opened.core)
        self.opened = opened
        self.anchored = opened.core.durable().version
        self.advanced_at = monotonic()

    @property
    def join_key(self) -> bytearray:
        """What who wants to join it must know; empty: nobody can."""
        return self.opened.join_key

    def taken_over(self) -> None:
        """See HeldVolume."""
        self.container.mark()
        if self.join_key:
            self.container.mark_starting()

    def tend(self) -> None:
        """See HeldVolume."""
        if self.container.is_readonly:
            return
        self.core.maintain()
        if monotonic() - self.advanced_at >= ADVANCE_S:
            self.advance()

    def advance(self) -> None:
        """Tell the anchor what is durable, if that is news to it."""
        self.advanced_at = monotonic()
        durable = self.core.durable()
        if self.opened.anchor is None or durable.version == self.anchored:
            return
        from scone_preload.volume.freshness import state_of  # lazy: the launcher has it loaded already

        self.opened.anchor.advance(state_of(durable))
        self.anchored = durable.version

    def commit(self) -> None:
        """See HeldVolume; it is anchored, too."""
        if not self.container.is_readonly:
            self.core.commit()
            self.advance()

    def close(self, *, is_last: bool = True) -> None:
        """See HeldVolume."""
        self.container.mark_closing()
        self.opened.close(is_last=is_last)


class JoinedVolume(HeldVolume):
    """One that another host has mounted, and maintains."""

    def __init__(self, place: str, joined: Joined) -> None:
        super().__init__(place, joined.container, joined.core)
        self.joined = joined

    @property
    def held(self) -> tuple[int, ...]:
        """See HeldVolume."""
        return *self.descriptors, self.joined.connection.fileno()

    def taken_over(self) -> None:
        """See HeldVolume."""
        self.joined.taken()

    def tend(self) -> None:
        """Its holder does."""

    def commit(self) -> None:
        """See HeldVolume; its holder anchors that within a second or so."""
        self.core.commit()

    def close(self, *, is_last: bool = True) -> None:
        """See HeldVolume."""
        del is_last
        self.joined.close()


class Maintainer:
    """Tends volumes until `finish`; `say` tells what is wrong, each trouble once."""

    def __init__(self, volumes: Sequence[HeldVolume], say: Callable[[str], None]) -> None:
        from threading import Event, Lock, Thread  # lazy: the first image is answered before

        self._one_at_a_time = Lock()  # an anchor must not be told of an older state behind a newer one
        self.volumes = list(volumes)
        self._say = say
        self._told: set[str] = set()
        self._ended = Event()
        self._company = self._in_company()
        self._thread = Thread(target=self._run, name="volumes", daemon=True)
        self._thread.start()

    def commit(self) -> None:
        """The first process has ended: what it wrote is made durable while somebody can still be told if it can't."""
        for volume in list(self.volumes):
            self._try(volume, volume.commit)

    def let_go(self) -> None:
        """No wrapped process of this host is left: close all volumes but those that others have joined."""
        for volume in list(self.volumes):
            if isinstance(volume, Volume) and self._company is not None and not self._company.part(volume):
                self._try(volume, volume.commit)
            else:
                self._try(volume, partial(self._close, volume))

    def finish(self) -> None:
        """The same, and wait until nobody has joined the others any more, and close them."""
        self.let_go()
        while self.volumes and self._company is not None:
            self._company.wait([volume for volume in self.volumes if isinstance(volume, Volume)])
            self.let_go()
        self._ended.set()
        self._thread.join()

    def _close(self, volume: HeldVolume) -> None:
        self.volumes = [one for one in self.volumes if one is not volume]
        is_quiet = self._company is None or not isinstance(volume, Volume) or self._company.is_quiet(volume)
        volume.close(is_last=is_quiet)

    def _in_company(self) -> Company | None:
        own = [one for one in self.volumes if isinstance(one, Volume) and one.join_key]
        joined = [one for one in self.volumes if isinstance(one, JoinedVolume)]
        if not own and not joined:
            return None
        from scone_preload.runtime.sharing import Company  # lazy: only where there is somebody to be met

        return Company(own, joined, self._lost)

    def _lost(self, volume: JoinedVolume) -> None:
        """The host that maintained it was killed: ours ends, and with it its programs."""
        if volume in self.volumes:
            holder = volume.joined.holder
            self._say(f"volume {volume.place}: process {holder}, which kept it for all, is gone: something killed it")
            os._exit(1)

    def _run(self) -> None:
        while not self._ended.wait(TURN_S):
            for volume in list(self.volumes):
                self._try(volume, volume.tend)

    def _try(self, volume: HeldVolume, act: Callable[[], None]) -> None:
        try:
            with self._one_at_a_time:
                if volume in self.volumes:  # else it was closed meanwhile
                    act()
        except SconeError as error:
            text = str(error)
            if text not in self._told and len(self._told) < TOLD_MAX:
                self._told.add(text)
                self._say(f"volume {volume.place}: {text}")
