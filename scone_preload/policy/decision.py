"""The answer to "may it?": which rule said so, where it stands, and the line that would allow it (promise P7)."""

from scone_preload.errors import PolicyDenied
from scone_preload.frozen import Frozen
from scone_preload.policy.model import Policy

EPERM, EACCES = 1, 13


class Decision(Frozen, kw_only=True):
    """`action` is what happens to what is allowed (pass, tls, a volume's mode, a route, unwrapped); `errno` what the
    program gets otherwise; `where` the line of the policy, or "default"; `line` the TOML that would allow it, if adding
    could; `remedy` the same in words."""

    allowed: bool
    rule: str
    object: str
    where: str
    action: str = "pass"
    errno: int = 0
    line: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.allowed:
            return f"allowed, {self.action}: {self.object}: by {self.rule} ({self.where})"
        return f"denied by {self.rule}: {self.object}: {self.where}: {self.remedy}"

    def error(self) -> PolicyDenied:
        """Return the error that says so."""
        return PolicyDenied(f"denied by {self.rule}", self.object, self.remedy, place=self.where)


class Asked(Frozen):
    """One question: the policy, and the action in words ("read /etc/passwd")."""

    policy: Policy
    object: str

    def yes(self, key: str, item: str = "", *, rule: str = "", action: str = "pass") -> Decision:
        """Allowed by this key, or by this item of it."""
        where = self.policy.place(key, item)
        return Decision(allowed=True, rule=rule or words(key, item), object=self.object, where=where, action=action)

    def no(
        self, key: str, item: str = "", *, rule: str = "", errno: int = EACCES, line: str = "", remedy: str = ""
    ) -> Decision:
        """Denied by this key; `line` would allow it, else `remedy` says what to do."""
        where = self.policy.place(key, item)
        return Decision(
            allowed=False,
            rule=rule or words(key, item),
            object=self.object,
            where=where,
            action="deny",
            errno=errno,
            line=line,
            remedy=f"to allow it, write {on_one_line(line)}" if line else remedy or f"to allow it, change {where}",
        )


def words(key: str, item: str) -> str:
    """Return a rule as messages name it: `files.read "/etc/"`."""
    return f'{key} "{item}"' if item else key


def on_one_line(toml: str) -> str:
    """Return a table's lines as one: `[files] read = ["/etc/passwd"]`."""
    header, _, rest = toml.strip().partition("\n")
    return f"{header} {', '.join(rest.splitlines())}"
