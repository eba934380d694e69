"""What --stats-socket shows: the live counts of one runtime host's processes, behind a socket."""

import selectors
from collections.abc import Callable, Mapping

from scone_preload import __version__
from scone_preload.options import Options
from scone_preload.runtime.exposition import exposition
from scone_preload.runtime.live import LiveCounts
from scone_preload.runtime.names import call_names
from scone_preload.runtime.stats_socket import StatsServer


class Watched:
    """The counts of the processes, and their server; `catch_up` takes the messages that wait."""

    def __init__(
        self,
        options: Options,
        selector: selectors.BaseSelector,
        catch_up: Callable[[], None],
        events: Mapping[str, int],
    ) -> None:
        self.counts = LiveCounts(selector)
        self._events = events
        self._catch_up = catch_up
        self._info = {"version": __version__, "syscalls": options.syscalls, "program": options.binary}
        self._server = StatsServer(selector, options.stats_fd, options.stats_socket, self.text)

    def text(self) -> str:
        """Return the exposition as it is now."""
        self._catch_up()
        return exposition(self.counts.sum(), self._events, call_names(), self._info)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
