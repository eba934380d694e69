"""What a start does while another process has the container locked that it wants: it joins that one, once it can."""

from __future__ import annotations

from scone_preload.volume.place import CONTAINER, Container, is_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from scone_preload.volume.joining import Check, Joined, Open


class Joining:
    """Asked again and again; `joined` is what came of it. `open_key` and `check` are join's."""

    def __init__(self, open_key: Open, check: Check) -> None:
        self._open_key = open_key
        self._check = check
        self.joined: Joined | None = None

    def __call__(self, container: Container) -> bool:
        """True: there is no lock to be waited for: joined, or it is another file that counts by now."""
        if not is_current(container):
            return True
        if container.name != CONTAINER:  # somebody is making it
            return False
        from scone_preload.volume.joining import join  # lazy: few starts meet anybody

        self.joined = join(container, self._open_key, self._check)
        return self.joined is not None
