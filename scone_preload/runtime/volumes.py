"""The volumes of a start, mounted by the launcher: what is wrong with one is an error of the command line, and nothing
has run. The runtime host goes on with them (maintaining.py)."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from scone_preload.keys.memory import forbid_dumps
from scone_preload.log import LOG
from scone_preload.policy.start import VolumePlan
from scone_preload.runtime.maintaining import HeldVolume, JoinedVolume, Volume
from scone_preload.runtime.unlocking import VOLUME_KEY_FILE, VOLUME_PASSPHRASE, KeystoreAccess, ask
from scone_preload.volume.format import Freshness, Mode
from scone_preload.volume.keys import Keys
from scone_preload.volume.opening import Asked, Opened, open_or_join

REMEDY = f"start it on a terminal, or set {VOLUME_PASSPHRASE}, or {VOLUME_KEY_FILE} to a key file's path"


def mount_all(
    plans: Sequence[VolumePlan], access: KeystoreAccess, environment: Mapping[bytes, bytes]
) -> list[HeldVolume]:
    """Open, make or join each volume of the policy; raise SconeError, with none left open."""
    forbid_dumps()  # from here on there are keys in this process
    mounted: dict[VolumePlan, HeldVolume] = {}
    with ExitStack() as undo:
        for plan in sorted(plans, key=_directory):  # one order for all starts: else two may wait for one another
            mounted[plan] = _mount(plan, access, environment)
            undo.callback(mounted[plan].close)
        undo.pop_all()
    return [mounted[plan] for plan in plans]


def _directory(plan: VolumePlan) -> str:
    return os.path.realpath(plan[4])


def _mount(plan: VolumePlan, access: KeystoreAccess, environment: Mapping[bytes, bytes]) -> HeldVolume:
    path, mode, freshness, key, host_path, cache_size = plan
    asked = Asked(
        directory=host_path,
        mode=Mode.ENCRYPT if mode == "ephemeral" else Mode[mode.upper()],
        freshness=Freshness[freshness.upper()],
        is_shared=True,
        cache_size=int(cache_size),
    )
    keys = Keys(
        access,
        name=key,
        key_file=os.fsdecode(environment.get(VOLUME_KEY_FILE.encode(), b"")),
        passphrase=_passphrase(host_path, environment),
    )
    opened = open_or_join(asked, keys, _say)
    place = os.path.realpath(path)
    return Volume(place, opened) if isinstance(opened, Opened) else JoinedVolume(place, opened)


def _passphrase(directory: str, environment: Mapping[bytes, bytes]) -> Callable[[], bytes]:
    given = environment.get(VOLUME_PASSPHRASE.encode())
    return lambda: given if given is not None else ask(f"Passphrase of volume {directory}", REMEDY)


def _say(text: str) -> None:
    LOG.write(text, "notice", "warning")
