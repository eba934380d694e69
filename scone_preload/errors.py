"""Every error that the tools report, who broke the rule, and the exit status each one ends with.

    SconeError
    ├── UserError            125   the command line or a setting is wrong
    │   ├── BinaryNotFound   127   no such program, as shells say it
    │   └── BinaryRefused    126   the program is there but can't be run wrapped (static, 32-bit, ...)
    │       ├── NotRunnable      126   the kernel itself would not run it (not executable, not a program)
    │       │   └── NoFormat     126   the kernel would not know what its bytes are (ENOEXEC)
    │       └── GainsPrivilege   126   setuid, setgid or file capabilities: its loader would drop the shim
    ├── MachineLacks         125   the kernel or the machine has not what wrapping needs
    ├── PolicyDenied         126   the policy forbids it
    ├── HostileHost          124   the host answered what can't be true
    └── InternalError        123   a bug of ours
        └── BadMessage       123   a control message that no shim of ours sends

A program's own exit status is passed on as it is, so a status alone doesn't tell who ended; the message on stderr,
which starts with the tool's name, does.
"""


class SconeError(Exception):
    """One broken rule, at one object, with what to do about it: `<rule>: <object>: <remedy>`."""

    exit_status = 123

    def __init__(self, rule: str, thing: str, remedy: str) -> None:
        super().__init__(rule, thing, remedy)
        self.rule = rule
        self.thing = thing
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.rule}: {self.thing}: {self.remedy}"


class UserError(SconeError):
    """The command line or a setting is wrong."""

    exit_status = 125


class BinaryNotFound(UserError):
    """There is no such program."""

    exit_status = 127


class BinaryRefused(UserError):
    """The program is there but can't be run wrapped (static, 32-bit, ...)."""

    exit_status = 126


class NotRunnable(BinaryRefused):
    """The kernel itself would not run it (not executable, not a program)."""


class NoFormat(NotRunnable):
    """The kernel would not know what its bytes are: unless it has a binfmt_misc registration that we can't see."""


class GainsPrivilege(BinaryRefused):
    """Setuid, setgid or file capabilities: its loader would drop the shim."""


class MachineLacks(SconeError):
    """The kernel or the machine has not what wrapping needs."""

    exit_status = 125


class PolicyDenied(SconeError):
    """The policy forbids it."""

    exit_status = 126


class HostileHost(SconeError):
    """The host answered what can't be true."""

    exit_status = 124


class InternalError(SconeError):
    """A bug of ours."""

    exit_status = 123


class BadMessage(InternalError):
    """A control message that no shim of ours sends."""
