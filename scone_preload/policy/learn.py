"""From what a program did to the least policy that allows it, with the reason behind each line.

An Event's kind and object are a question of `explain.py` ("read", "/etc/passwd"), so what was learned is allowed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scone_preload.policy.calls import call_named, call_names, spec_denies
from scone_preload.policy.decide import decide_file, normal
from scone_preload.policy.document import Source
from scone_preload.policy.effective import combine, parse, section
from scone_preload.policy.group import absorb, covers, group, named, pattern_of, printable
from scone_preload.policy.keys import attribute
from scone_preload.policy.learn_sockets import SocketFacts, note_socket, socket_rules
from scone_preload.policy.match import first_match
from scone_preload.policy.model import Place, Policy
from scone_preload.policy.read import read_layer
from scone_preload.policy.render import render_with_comments
from scone_preload.policy.why import Why, added, read_why

HEADER = """\
# Written by scone-wrap --learn: what the program did, and where its messages are. Behind each line stands why: the
# calls that needed it, and how often each was made ("given": with the command line). Run it again with --learn and
# other work to add what that needs. Other arguments and variables are passed as well, unless --strict is given.
"""
BASE = b"""\
version = 1
files.unlisted = "refuse"
network.unlisted = "refuse"
exec.unlisted = "refuse"
calls.unlisted = "EPERM"
"""
# A program that has set its locale looks for its messages there when it first has something to tell: most likely not in
# the run that was watched.
LOCALE, CATALOGS = "/etc/locale.alias", "/usr/share/locale/"
FOR_MESSAGES = Why(words="where a program looks for its messages when something fails")
UNFIT_VARIABLE = re.compile(r"^[0-9]|[^A-Za-z0-9_]")
LISTS = ("files.read", "files.write", "files.execute", "exec.programs", "environment.pass", "arguments.allow",
         "calls.allow")  # fmt: skip
LOOKS = "files.look"  # becomes files.read, where nothing else allows it
NETWORK = ("network.listen", "network.connect")
ACCESS = {"look": "look", "read": "read", "write": "write", "execute": "execute", "open": "read"}
Whys = dict[str, Why]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing the program did: a question's verb and object, the call by which, and how often."""

    kind: str
    object: str
    call: str
    count: int = 1


@dataclass(slots=True)
class Facts:
    """What lines there are to be, by list, each with its reason."""

    lists: dict[str, Whys] = field(default_factory=dict)
    sockets: SocketFacts = field(default_factory=dict)

    def add(self, key: str, item: str, why: Why, name: str = "") -> None:
        whys = self.lists.setdefault(key, {})
        whys[item] = added(([(whys[item], "")] if item in whys else []) + [(why, name)])


@dataclass(frozen=True, slots=True)
class Learned:
    """A policy, and what stands behind its lines."""

    policy: Policy
    reasons: Mapping[Place, Why]

    def text(self) -> str:
        """Return the policy as TOML with the reasons as comments."""
        return HEADER + render_with_comments(self.policy, {place: str(why) for place, why in self.reasons.items()})


def learn(events: Iterable[Event]) -> Learned:
    """Return the least policy that allows all of these."""
    facts = Facts()
    for event in events:
        _note(facts, event)
    if LOCALE in facts.lists.get("files.read", {}):
        facts.lists["files.read"].setdefault(CATALOGS, FOR_MESSAGES)
    return _learned(parse(BASE), facts, {}, fresh=True)


def merge(old: Learned, new: Learned) -> Learned:
    """Return what allows both; where they differ in more than lists, the old one's word holds."""
    facts, more = _facts(old), _facts(new)
    for key, whys in more.lists.items():
        before = facts.lists.setdefault(key, {})
        for item, why in whys.items():
            before[item] = before[item].joined(why) if item in before else why
    for socket, (rule, why) in more.sockets.items():
        known, reason = facts.sockets.get(socket, (rule, why))
        facts.sockets[socket] = (known, reason.joined(why))
    others = {place: why for place, why in old.reasons.items() if not place[1] or place[0] not in (*LISTS, *NETWORK)}
    return _learned(old.policy, facts, others, fresh=False)


def learned_from(source: Source) -> Learned:
    """Return what a file says that learn wrote, or a person; raises PolicyInvalid."""
    policy = combine([source])
    comments = read_layer(source)[0].comments
    found = {place: comments[where] for place, where in policy.places.items() if where in comments}
    return Learned(policy, {place: read_why(words) for place, words in found.items()})


# ---- from events to facts ----


def _note(facts: Facts, event: Event) -> None:
    why = Why(((event.call, event.count),))
    if event.kind in ACCESS:
        access, path = ACCESS[event.kind], normal(event.object)
        pattern = pattern_of(path, written=access == "write")
        if path != "/":
            facts.add(f"files.{access}", pattern, why, named(pattern, path))
    elif event.kind == "exec":
        facts.add("exec.programs", printable(normal(event.object)), why)
    elif event.kind in ("connect", "listen", "bind"):
        note_socket(facts.sockets, event.kind, event.object, why)
    elif event.kind == "variable":
        facts.add("environment.pass", UNFIT_VARIABLE.sub("?", event.object) or "?", why)
    elif event.kind == "argument":
        facts.add("arguments.allow", printable(event.object), why)
    made = call_named(event.object if event.kind == "call" else event.call)
    if made and not spec_denies(made):
        facts.add("calls.allow", made.name, Why(((made.name, event.count),)))


# ---- from a policy to facts ----


def _facts(learned: Learned) -> Facts:
    facts, policy = Facts(), learned.policy
    for key in LISTS:
        facts.lists[key] = {item: learned.reasons.get((key, item), Why()) for item in _items(policy, key)}
    for table, rules in zip(NETWORK, (policy.network.listen, policy.network.connect), strict=True):
        for rule in rules:
            why = learned.reasons.get((table, rule.label), Why())
            facts.sockets[table, rule.protocol, rule.address, rule.port] = (rule, why)
    return facts


def _items(policy: Policy, key: str) -> tuple[str, ...]:
    table, name = key.split(".")
    found: object = getattr(section(policy, table), attribute(name))
    return tuple(map(str, found)) if isinstance(found, tuple) else ()


# ---- from facts to a policy ----


def _learned(base: Policy, facts: Facts, reasons: dict[Place, Why], *, fresh: bool) -> Learned:
    lists = {key: _ordered(facts, key) for key in LISTS}
    found: dict[Place, Why] = {(key, item): why for key, whys in lists.items() for item, why in whys.items()}
    sockets = socket_rules(facts.sockets)
    found |= {(table, rule.label): why for table, rule, why in sockets}
    listen, connect = (tuple(rule for table, rule, _ in sockets if table == one) for one in NETWORK)
    policy = base.replaced(network=base.network.replaced(listen=listen, connect=connect))
    policy = _with_lists(policy, {key: tuple(whys) for key, whys in lists.items()}, fresh=fresh)
    looks = facts.lists.pop(LOOKS, {})
    unseen = {path: why for path, why in looks.items() if not decide_file(policy, _inside(path), "look").allowed}
    if unseen:
        facts.lists["files.read"] = absorb({**unseen, **facts.lists.get("files.read", {})})
        return _learned(base, facts, reasons, fresh=fresh)
    return Learned(policy, {**reasons, **{place: why for place, why in found.items() if str(why)}})


def _inside(pattern: str) -> str:
    """Return a path that a pattern matches, and that no pattern does which stands for less."""
    return pattern + "?" if pattern.endswith("/") else pattern


def _ordered(facts: Facts, key: str) -> Whys:
    whys = facts.lists.get(key, {})
    if key == "calls.allow":
        order = {name: at for at, name in enumerate(call_names())}
        return dict(sorted(whys.items(), key=lambda one: order[one[0]]))
    if key.startswith("files."):
        return _grouped(facts, key)
    return absorb(whys) if key == "exec.programs" else whys


def _grouped(facts: Facts, key: str) -> Whys:
    """Return one list of [files], without what a stronger one allows already."""
    own = group(facts.lists.get(key, {}))
    stronger = {"files.write": (), "files.execute": (), "files.read": ("files.write", "files.execute")}
    above = [pattern for other in stronger[key] for pattern in _grouped(facts, other)]
    return {pattern: why for pattern, why in own.items() if not any(covers(one, pattern) for one in above)}


def _with_lists(base: Policy, lists: Mapping[str, tuple[str, ...]], *, fresh: bool) -> Policy:
    """Return the policy with these lists. What an old policy leaves open stays open, what it drops or sets stays so."""
    read, write, execute, programs, passed, arguments, calls = (lists[key] for key in LISTS)
    found = base.replaced(
        files=base.files.replaced(read=read, write=write, execute=execute),
        exec=base.exec.replaced(programs=programs),
    )
    if not base.arguments.fixed:
        found = found.replaced(arguments=base.arguments.replaced(allow=arguments))
    own = [name for name, _ in base.environment.set]
    keep = tuple(name for name in passed if name not in own and first_match(base.environment.drop, name) is None)
    found = found.replaced(environment=base.environment.replaced(keep=keep))
    if fresh or base.calls.allow:
        found = found.replaced(calls=base.calls.replaced(allow=calls))
    return found
