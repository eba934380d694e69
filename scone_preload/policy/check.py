"""The rules that go beyond one value: each a function that yields the lines that break it.

They see what all sources say together (preset, file, flags), so a flag can't make what a file couldn't say.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

from scone_preload.policy.calls import ALWAYS, BY_SPEC, call_named, call_names, spec_denies
from scone_preload.policy.match import is_below
from scone_preload.policy.model import UNIX
from scone_preload.policy.problem import Problem
from scone_preload.policy.read import Entry, Layer

# The kernel's own file systems: what is in them is no file's content.
KERNEL = ("/proc", "/sys", "/dev")
FRESHNESS = {  # the first is the default
    "encrypt": ("rollback_protected", "rollback_protected_reinitializable", "no_rollback_protection"),
    "authenticate": ("rollback_protected", "rollback_protected_reinitializable", "no_rollback_protection"),
    "ephemeral": ("ephemeral",),
    "passthrough": ("no_rollback_protection",),
}
KEYED = ("encrypt", "authenticate")
NETWORK = ("network.listen", "network.connect")
Rule = Callable[[Layer], Iterator[Problem]]


def check(merged: Layer) -> list[Problem]:
    """Return everything that is wrong in what the sources say together."""
    return [problem for rule in RULES for problem in rule(merged)]


def host_path(volume: Entry) -> str:
    """Return where the host keeps a volume."""
    return volume.text("host_path") or volume.text("path")


def volumes_are_no_system(merged: Layer) -> Iterator[Problem]:
    for volume in merged.many("volume"):
        path = volume.text("path")
        if path == "/" and volume.text("mode") != "passthrough":
            remedy = "name the directory that holds the data; the loader reads libraries from /"
            yield Problem(volume.place("path"), "/ can't be a shielded volume", remedy)
        for folder in (folder for folder in KERNEL if is_below(path, folder) and path != "/dev/shm"):
            remedy = "take it out: the kernel serves it itself"
            yield Problem(volume.place("path"), f"{path} is in {folder} and can't be a volume", remedy)


def freshness_fits_the_mode(merged: Layer) -> Iterator[Problem]:
    for volume in merged.many("volume"):
        mode, freshness = volume.text("mode"), volume.text("freshness")
        if freshness and freshness not in FRESHNESS[mode]:
            remedy = f"leave it out, or write one of {', '.join(FRESHNESS[mode])}"
            yield Problem(volume.place("freshness"), f'freshness "{freshness}" doesn\'t fit mode "{mode}"', remedy)


def only_kept_volumes_have_keys(merged: Layer) -> Iterator[Problem]:
    for volume in merged.many("volume"):
        mode = volume.text("mode")
        if volume.text("key") and mode not in KEYED:
            yield Problem(volume.place("key"), f'mode "{mode}" has no key', "leave it out")


def only_shielded_volumes_have_a_cache(merged: Layer) -> Iterator[Problem]:
    for volume in merged.many("volume"):
        if volume.text("cache") and volume.text("mode") == "passthrough":
            yield Problem(volume.place("cache"), 'mode "passthrough" has no cache', "leave it out")


def host_paths_do_not_loop(merged: Layer) -> Iterator[Problem]:
    for volume in merged.many("volume"):
        path, host = volume.text("path"), host_path(volume)
        if path != host and (is_below(host, path) or is_below(path, host)):
            rule = f"{path} is kept in {host}: each is inside of the other"
            yield Problem(volume.place("host_path"), rule, "keep it beside, not in itself")


def host_paths_do_not_overlap(merged: Layer) -> Iterator[Problem]:
    """Two volumes may nest on the host only as they nest for the program."""
    for one, two in combinations(merged.many("volume"), 2):
        outer, inner = sorted((one, two), key=lambda volume: len(host_path(volume)))
        if not is_below(host_path(inner), host_path(outer)):
            continue
        rest = host_path(inner).removeprefix(host_path(outer))
        if inner.text("path").rstrip("/") != outer.text("path").rstrip("/") + rest:
            rule = f"{host_path(inner)} would hold two volumes, {one.text('path')} and {two.text('path')}"
            yield Problem(two.place("host_path"), rule, "give each a host_path of its own")


def rules_name_one_socket(merged: Layer) -> Iterator[Problem]:
    for rule in (rule for table in NETWORK for rule in merged.many(table)):
        address = rule.text("address")
        unix, udp = address.startswith(UNIX), rule.text("protocol") == "udp"
        if unix and (udp or "port" in rule.values):
            key = "protocol" if udp else "port"
            yield Problem(rule.place(key), f"a unix path has no {key}", "leave it out")
        if not unix and "port" not in rule.values:
            yield Problem(rule.where, f"port is missing in {rule.table.header}", 'write port = 6379, or port = "any"')
        if udp and rule.text("shield") == "tls":
            yield Problem(rule.place("shield"), "TLS is for streams, not for UDP", 'write "pass" or "refuse"')


def names_are_connected_to(merged: Layer) -> Iterator[Problem]:
    for rule in merged.many("network.listen"):
        address = rule.text("address")
        if not address.startswith(UNIX) and any(letter.isalpha() for letter in address) and ":" not in address:
            remedy = 'write an address of this machine, or "*"'
            yield Problem(rule.place("address"), f'can\'t listen on the name "{address}"', remedy)


def tls_keys_need_tls(merged: Layer) -> Iterator[Problem]:
    for rule in (rule for table in NETWORK for rule in merged.many(table)):
        given = [name for name in rule.values if name.startswith("tls.")]
        if given and rule.text("shield") != "tls":
            remedy = 'write shield = "tls", or leave it out'
            yield Problem(rule.place(given[0]), f'{given[0]} with shield = "{rule.text("shield")}"', remedy)
        if "tls.private_key" in given and rule.text("tls.certificate") in ("", "runtime"):
            remedy = 'write tls.certificate = "/path", too'
            yield Problem(rule.place("tls.private_key"), "a private key without its certificate", remedy)


def no_port_twice(merged: Layer) -> Iterator[Problem]:
    """Ranges may nest, then the narrower one wins; else it is not clear which is meant."""
    for table in NETWORK:
        for one, two in combinations(merged.many(table), 2):
            if any(one.text(name) != two.text(name) for name in ("protocol", "address")) or one.label == two.label:
                continue
            first, second = sorted((one.ports("port"), two.ports("port")), key=lambda ports: (ports[0], -ports[1]))
            if second[0] <= first[1] < second[1]:
                rule = f"port {second[0]} twice in {one.table.header}: {one.label} and {two.label}"
                remedy = f"{one.place('port')} has it, too: one must hold the other whole"
                yield Problem(two.place("port"), rule, remedy)


def variables_have_one_rule(merged: Layer) -> Iterator[Problem]:
    environment = merged.one("environment")
    for name in set(environment.texts("pass")) & set(environment.texts("drop")):
        yield Problem(environment.place("drop", name), f"{name} is passed and dropped", "leave one")
    for name, _ in environment.pairs("set"):
        if name == "SCONE_SHIM":
            yield Problem(environment.place("set", name), f"{name} is the shim's own", "leave it out")


def arguments_are_fixed_or_allowed(merged: Layer) -> Iterator[Problem]:
    arguments = merged.one("arguments")
    if arguments.texts("fixed") and arguments.texts("allow"):
        yield Problem(arguments.place("allow"), "arguments are fixed, and others are allowed", "leave one of the two")


def secrets_have_a_place(merged: Layer) -> Iterator[Problem]:
    volumes = {volume.text("path"): volume.text("mode") for volume in merged.many("volume")}
    for secret in merged.many("secret"):
        path = secret.text("path")
        volume = max((one for one in volumes if is_below(path, one) and one != "/"), key=len, default="")
        if path == "/" or any(is_below(path, folder) for folder in KERNEL):
            remedy = "serve it as /run/secrets/NAME"
            yield Problem(secret.place("path"), f"a secret can't be served as {path}", remedy)
        elif path in volumes:
            yield Problem(secret.place("path"), f"{path} is a volume, too", "serve it as /run/secrets/NAME")
        elif volumes.get(volume, "passthrough") != "passthrough":
            yield Problem(secret.place("path"), f"{path} is in volume {volume}", "serve it as /run/secrets/NAME")


def calls_can_be_allowed(merged: Layer) -> Iterator[Problem]:
    calls = merged.one("calls")
    for key in ("allow", "route"):
        names = calls.texts(key) if key == "allow" else tuple(name for name, _ in calls.pairs(key))
        for call in filter(None, map(call_named, names)):
            if spec_denies(call):
                rule = f"{call.name} can't be allowed: {call.deny_reason}"
                yield Problem(calls.place(key, call.name), rule, "leave it out; docs/syscalls.md says what works")


def calls_have_one_rule(merged: Layer) -> Iterator[Problem]:
    """In one source: a later source's denial wins over an earlier one's leave."""
    calls = merged.one("calls")
    routed, allowed = {name for name, _ in calls.pairs("route")}, set(calls.texts("allow"))
    for name, _ in calls.pairs("deny"):
        if name in ALWAYS:
            remedy = "leave it out: no program can end without it"
            yield Problem(calls.place("deny", name), f"{name} can't be denied", remedy)
        where = calls.place("route" if name in routed else "allow", name)
        if name in routed | allowed and where.source == calls.place("deny", name).source:
            yield Problem(calls.place("deny", name), f"{name} is denied and allowed", f"{where} allows it: leave one")


def answers_stay_checked(merged: Layer) -> Iterator[Problem]:
    """A call that goes to the host has its answer checked; served inside it would not."""
    calls = merged.one("calls")
    for name, route in calls.pairs("route"):
        meant = [call_named(one) for one in (call_names() if name == "*" else (name,))]
        served = [call for call in meant if call and not spec_denies(call)]
        if route == "inside" and any(BY_SPEC[call.route] != "inside" for call in served):
            rule = f"\"{name}\" can't be routed inside: the host's answers would not be checked"
            yield Problem(calls.place("route", name), rule, 'write "host" or "runtime"')


def programs_are_wrapped_or_not(merged: Layer) -> Iterator[Problem]:
    programs = merged.one("exec")
    for path in set(programs.texts("programs")) & set(programs.texts("unwrapped")):
        yield Problem(programs.place("unwrapped", path), f"{path} is wrapped and unwrapped", "leave one of the two")


RULES: tuple[Rule, ...] = (
    volumes_are_no_system, freshness_fits_the_mode, only_kept_volumes_have_keys,
    only_shielded_volumes_have_a_cache, host_paths_do_not_loop,
    host_paths_do_not_overlap, rules_name_one_socket, names_are_connected_to, tls_keys_need_tls, no_port_twice,
    variables_have_one_rule, arguments_are_fixed_or_allowed, secrets_have_a_place, calls_can_be_allowed,
    calls_have_one_rule, answers_stay_checked, programs_are_wrapped_or_not,
)  # fmt: skip
