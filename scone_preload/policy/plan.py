"""From a Policy to the StartPlan that the launcher keeps in its cache."""

from hashlib import sha256

from scone_preload.policy.image import policy_image
from scone_preload.policy.kept import keep
from scone_preload.policy.known import known_paths
from scone_preload.policy.model import Policy
from scone_preload.policy.render import render
from scone_preload.policy.rules import argument_rules, environment_rules, file_rules, keystore_names, shielded_volumes
from scone_preload.policy.start import Sources, StartPlan
from scone_preload.policy.unbuilt import unbuilt


def plan_for(policy: Policy, *, sources: Sources, preset: str = "") -> StartPlan:
    """Return the plan of a policy that was made of `sources`; `preset` is the name of the preset among them."""
    text = render(policy).encode()
    return StartPlan(
        sources=sources,
        preset=preset,
        identity=sha256(text).hexdigest(),
        text=text,
        policy=keep(policy),
        calls=policy_image(policy, known_paths(policy)),
        environment=environment_rules(policy),
        arguments=argument_rules(policy),
        files=file_rules(policy),
        unbuilt=tuple(unbuilt(policy)),
        unwrapped=policy.exec.unwrapped,
        handlers=policy.handlers.file,
        secrets=tuple((one.path, one.source, one.owner) for one in policy.secrets),
        keystore=keystore_names(policy),
        volumes=shielded_volumes(policy),
    )
