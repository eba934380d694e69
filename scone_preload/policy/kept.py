"""A Policy in the form that a plan keeps: reading TOML again would make the first question wait for 25 ms."""

import pickle

from scone_preload.policy.model import Policy


def keep(policy: Policy) -> bytes:
    """Return the policy, places included, for a cache that only this user can write."""
    return pickle.dumps(policy, protocol=5)


def kept(raw: bytes) -> Policy:
    """Return the policy that `keep` made these bytes of, by the same code; raises TypeError for anything else."""
    found = pickle.loads(raw)
    if not isinstance(found, Policy):
        raise TypeError(f"not a policy: {type(found).__name__}")
    return found
