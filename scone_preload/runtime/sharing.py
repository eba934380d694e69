"""Volumes that several runtime hosts have: one, the holder, maintains it, and others have joined it.

One thread per host answers those who want to join (volume/proof.py says how they talk), and watches the holders that
this host has joined. A volume stays open at its holder until the last one that joined it has gone. If a holder is
killed, who joined it ends as well, so that its programs stop, closed, as they do when their own host dies. If one that
joined is killed, its programs are stopping, and may write for a moment longer: so the volume is closed as after a
crash, with all that is durable, and the next mount goes on from there.
"""

from __future__ import annotations

import array
import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from threading import Condition, Thread

from scone_preload.volume.core import build_digest
from scone_preload.volume.joining import greeting, peer_of, socket_name
from scone_preload.volume.proof import (
    GONE,
    PACKET_MAX,
    PROOF_SIZE,
    TAKEN,
    Answer,
    Hello,
    Meeting,
    parse_hello,
    parse_request,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scone_preload.runtime.maintaining import JoinedVolume, Volume

WAITING_MAX = 64  # that have connected and not proven anything yet
BACKLOG = 128
PAUSE_S = 0.05


class Guest:
    """A connection of one who wants to join, or has joined, a volume; `stage` is what it does with the next packet."""

    def __init__(self, connection: socket.socket, volume: Volume) -> None:
        self.connection = connection
        self.volume = volume
        self.has_joined = False
        self.has_taken = False  # its wrapped processes may have the volume
        self.stage: Callable[[bytes], bool] = self._greeted
        self._meeting: Meeting | None = None

    def _greeted(self, packet: bytes) -> bool:
        found = parse_hello(packet)
        if found is None or found[1]:
            return False
        ours = greeting()
        self._meeting = Meeting(found[0], ours, peer_of(self.connection)[0], os.getpid())
        self.stage = self._asked
        return self._send(ours.packed() + self._meeting.prove(self.volume.join_key, b"challenge"))

    def _asked(self, packet: bytes) -> bool:
        proof, said = packet[:PROOF_SIZE], packet[PROOF_SIZE:]
        request, meeting = parse_request(said), self._meeting
        if request is None or meeting is None:
            return False
        if not meeting.is_proven(self.volume.join_key, b"request", proof, said):
            return False
        refused = self._refusal(meeting.joiner, meeting.holder, request.build, request.directory)
        answer = Answer(self.volume.opened.core.arena_size, refused).packed()
        self.stage = self._told
        self.has_joined = not refused
        fds = () if refused else self.volume.descriptors
        return self._send(meeting.prove(self.volume.join_key, b"answer", answer) + answer, fds)

    def _told(self, packet: bytes) -> bool:
        self.has_taken = packet == TAKEN
        return packet in (TAKEN, GONE)

    def _refusal(self, joiner: Hello, holder: Hello, build: bytes, directory: str) -> str:
        here, pid = self.volume.opened.container.directory, os.getpid()
        if joiner.namespace != holder.namespace:
            return f"volume is in use in another pid namespace (process {pid} there)"
        if directory != here:
            return f"volume is open as {here} by process {pid}, and asked for by another path"
        if build != build_digest():
            return f"volume is in use by process {pid}, which runs another version of scone-wrap"
        return ""

    def _send(self, packet: bytes, fds: Sequence[int] = ()) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.connection.sendmsg([packet], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True


class Company:
    """Who has joined the volumes of this host, and whom it has joined. `lost` is called, in a thread of its own, when
    the holder of a volume that this host has joined is gone."""

    def __init__(
        self, own: Sequence[Volume], joined: Sequence[JoinedVolume], lost: Callable[[JoinedVolume], None]
    ) -> None:
        self._changed = Condition()
        self._selector = selectors.DefaultSelector()
        self._listeners: dict[Volume, socket.socket] = {}
        self._guests: list[Guest] = []
        self._unclean: set[Volume] = set()
        for volume in own:
            self._listen(volume)
        for one in joined:
            self._selector.register(one.joined.connection, selectors.EVENT_READ, partial(lost, one))
        os.register_at_fork(after_in_child=self._leave)
        Thread(target=self._run, name="joins", daemon=True).start()

    def part(self, volume: Volume) -> bool:
        """Let nobody join it any more; False: somebody has joined it, and it must stay."""
        with self._changed:
            if self._is_joined(volume):
                return False
            volume.opened.container.mark_closing()
            listener = self._listeners.pop(volume, None)
            if listener is not None:
                self._selector.unregister(listener)
                listener.close()
            for guest in [one for one in self._guests if one.volume is volume]:
                self._drop(guest)
        return True

    def is_quiet(self, volume: Volume) -> bool:
        """No process can be left that writes to it: all who joined it have said that theirs are gone."""
        return volume not in self._unclean

    def wait(self, volumes: Sequence[Volume]) -> None:
        """Until nobody has joined one of these."""
        with self._changed:
            self._changed.wait_for(lambda: any(not self._is_joined(volume) for volume in volumes))

    def _is_joined(self, volume: Volume) -> bool:
        return any(guest.volume is volume and guest.has_joined for guest in self._guests)

    def _listen(self, volume: Volume) -> None:
        """Somebody else may have taken the name: then others are refused as if it could not be joined."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.bind(socket_name(volume.opened.container))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            return
        finally:
            volume.opened.container.mark_started()
        listener.setblocking(False)
        self._listeners[volume] = listener
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(volume, listener))

    def _run(self) -> None:
        try:
            while True:
                self._turn()
        finally:  # a bug: nobody would see a holder's end, nor who has joined: the programs stop, closed
            kind, error, trace = sys.exc_info()
            if kind and error:
                sys.excepthook(kind, error, trace)
            os._exit(1)

    def _turn(self) -> None:
        ready = self._selector.select()
        with self._changed:
            known = self._selector.get_map()
            for key, _ in ready:
                if key.fd in known and known[key.fd] is key:  # else it was closed meanwhile
                    key.data()

    def _accept(self, volume: Volume, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # no descriptor is left, most likely
            time.sleep(PAUSE_S)
            return
        waiting = sum(not guest.has_joined for guest in self._guests)
        if peer_of(connection)[1] != os.geteuid() or waiting >= WAITING_MAX:
            connection.close()
            return
        guest = Guest(connection, volume)
        self._guests.append(guest)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(guest))

    def _hear(self, guest: Guest) -> None:
        try:
            packet = guest.connection.recv(PACKET_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet and guest.stage(packet):
            return
        if guest.has_taken:
            self._unclean.add(guest.volume)
        self._drop(guest)

    def _drop(self, guest: Guest) -> None:
        self._guests.remove(guest)
        self._selector.unregister(guest.connection)
        guest.connection.close()
        self._changed.notify_all()

    def _leave(self) -> None:
        """A fork of this process, by a handler, is no runtime host."""
        for key in list(self._selector.get_map().values()):
            with suppress(OSError):
                os.close(key.fd)
        self._selector.close()
