"""The policies that come with scone-preload, in scone_preload/presets/, by name."""

from scone_preload.paths import ROOT

PRESETS = ("apache", "memcached", "nginx", "postgresql", "python", "redis", "sqlite")
FOLDER = ROOT + "/scone_preload/presets"


def preset_path(name: str) -> str:
    """Return the file of one of PRESETS."""
    return f"{FOLDER}/{name}.toml"
