"""The volumes of a start, mounted by the launcher: what is wrong with one is an error of the command line, and nothing
has run. The runtime host goes on with them (maintaining.py)."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from scone_preload.keys.memory import forbid_dumps
from scone_preload.log import LOG
from scone_preload.policy.start import VolumePlan
from scone_preload.runtime.maintaining import Volume
from scone_preload.runtime.unlocking import VOLUME_KEY_FILE, VOLUME_PASSPHRASE, KeystoreAccess, ask
from scone_preload.volume.format import Freshness, Mode
from scone_preload.volume.keys import Keys
from scone_preload.volume.opening import Asked, open_volume

REMEDY = f"start it on a terminal, or set {VOLUME_PASSPHRASE}, or {VOLUME_KEY_FILE} to a key file's path"


def mount_all(plans: Sequence[VolumePlan], access: KeystoreAccess, environment: Mapping[bytes, bytes]) -> list[Volume]:
    """Open or make each volume of the policy; raise SconeError, with none left open."""
    forbid_dumps()  # from here on there are keys in this process
    mounted: list[Volume] = []
    with ExitStack() as undo:
        for plan in plans:
            mounted.append(_mount(plan, access, environment))
            undo.callback(mounted[-1].opened.close)
        undo.pop_all()
    return mounted


def _mount(plan: VolumePlan, access: KeystoreAccess, environment: Mapping[bytes, bytes]) -> Volume:
    path, mode, freshness, key, host_path = plan
    asked = Asked(
        directory=host_path,
        mode=Mode.ENCRYPT if mode == "ephemeral" else Mode[mode.upper()],
        freshness=Freshness[freshness.upper()],
    )
    keys = Keys(
        access,
        name=key,
        key_file=os.fsdecode(environment.get(VOLUME_KEY_FILE.encode(), b"")),
        passphrase=_passphrase(host_path, environment),
    )
    opened = open_volume(asked, keys, _say)
    return Volume(os.path.realpath(path), opened)


def _passphrase(directory: str, environment: Mapping[bytes, bytes]) -> Callable[[], bytes]:
    given = environment.get(VOLUME_PASSPHRASE.encode())
    return lambda: given if given is not None else ask(f"Passphrase of volume {directory}", REMEDY)


def _say(text: str) -> None:
    LOG.write(text, "notice", "warning")
