"""The parts of a policy that `start` and `paths` work with, in their plain form."""

from scone_preload.policy.kinds import bytes_of
from scone_preload.policy.model import Policy
from scone_preload.policy.paths import FileRules
from scone_preload.policy.start import ArgumentRules, EnvironmentRules, VolumePlan


def environment_rules(policy: Policy) -> EnvironmentRules:
    """Return [environment] as `start` takes it."""
    secrets = (secret.source.removeprefix("env:") for secret in policy.secrets if secret.source.startswith("env:"))
    rules = policy.environment
    return rules.unlisted, rules.set, rules.keep, rules.drop, tuple(secrets)


def keystore_names(policy: Policy) -> tuple[str, ...]:
    """Return the names of the secrets that are in the keystore."""
    kept = (secret.source for secret in policy.secrets if secret.source.startswith("keystore:"))
    return tuple(dict.fromkeys(source.removeprefix("keystore:") for source in kept))


def shielded_volumes(policy: Policy) -> tuple[VolumePlan, ...]:
    """Return the volumes that are kept in a container."""
    shielded = (one for one in policy.volumes if one.mode != "passthrough")
    return tuple(
        (one.path, one.mode, one.freshness, one.key, one.host_path, str(bytes_of(one.cache))) for one in shielded
    )


def argument_rules(policy: Policy) -> ArgumentRules:
    """Return [arguments] as `start` takes it."""
    return policy.arguments.unlisted, policy.arguments.fixed, policy.arguments.allow


def file_rules(policy: Policy) -> FileRules:
    """Return volumes, secrets and [files] as `paths` takes them."""
    files = policy.files
    volumes, secrets = (tuple(one.path for one in many) for many in (policy.volumes, policy.secrets))
    return files.unlisted, files.read, files.write, files.execute, volumes, secrets
