"""A volume against its freshness anchor, and against where it belongs.

An anchor says how far a volume had come, by a version that only grows and the tag that stands for all of its bytes. The
keystore also says which volume belongs to a directory: else the host could show another of the same owner, or none.
"""

from scone_preload.errors import AnchorLost, RolledBack
from scone_preload.keys.record import REMEDY_LOST, State
from scone_preload.keys.store import Keystore
from scone_preload.volume.core import Durable

REMEDY_OLDER = "put the right one back; if this is the one that you want: scone-volume rekey --adopt DIR"
REMEDY_OTHER = "put the right one back; if that is gone for good: scone-volume create --anew in an empty DIR"
REMEDY_GONE = "put it back; if it is gone for good: scone-volume create --anew DIR"


def check_place(store: Keystore, volume_id: bytes, directory: str) -> State:
    """Return the anchor's state of the volume that was found in `directory`; raise RolledBack where that isn't where it
    belongs, AnchorLost where it was never anchored or is no more."""
    places = store.places()
    belongs = next((one for one, place in places.items() if place == directory), volume_id)
    if belongs != volume_id:
        rule = f"another volume was put in the place of {belongs.hex()}"
        raise RolledBack(rule, f"{directory}, {volume_id.hex()}", REMEDY_OLDER)
    own = places.get(volume_id, directory)
    if own != directory:
        rule = f"volume belongs to {own}: it was moved, or is a copy"
        raise RolledBack(rule, directory, "if you moved it: scone-volume rekey --adopt DIR")
    state = store.read(volume_id)
    if state is None:
        rule = "volume has no freshness anchor in this keystore, so an old copy would not be noticed"
        raise AnchorLost(rule, directory, "if it is the right one: scone-volume rekey --adopt DIR")
    return state


def check_unanchored(store: Keystore, volume_id: bytes, directory: str) -> None:
    """Raise RolledBack where a volume without an anchor stands in the place of one that has one."""
    belongs = check_gone(store, directory)
    if belongs is not None and belongs != volume_id:
        rule = f"another volume, which has no anchor, was put in the place of {belongs.hex()}"
        raise RolledBack(rule, f"{directory}, {volume_id.hex()}", REMEDY_OTHER)


def check_gone(store: Keystore, directory: str) -> bytes | None:
    """The id of the volume that belongs to a directory where none is, if there is one."""
    return next((one for one, place in store.places().items() if place == directory), None)


def gone(directory: str) -> RolledBack:
    """The error for a volume that was anchored and isn't there."""
    return RolledBack("the volume that belongs here is gone", directory, REMEDY_GONE)


def check_fresh(state: State, found: Durable, where: str) -> None:
    """Raise RolledBack for what is older than its anchor; newer is what an unclean end leaves, and is accepted."""
    if found.version < state.counter:
        rule = f"volume is older than its freshness anchor: version {found.version}, not {state.counter}"
        raise RolledBack(rule, where, f"{REMEDY_OLDER}; {REMEDY_LOST}")
    if found.version == state.counter and found.root != state.root:
        rule = f"volume is not the one that its freshness anchor knows: version {found.version} with another tag"
        raise RolledBack(rule, where, f"{REMEDY_OLDER}; {REMEDY_LOST}")


def state_of(durable: Durable) -> State:
    """As an anchor keeps it."""
    return State(durable.version, durable.root)
