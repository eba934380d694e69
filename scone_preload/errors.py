"""Every error that the tools report, who broke the rule, and the exit status each one ends with.

    SconeError
    ├── UserError            125   the command line or a setting is wrong
    │   ├── PolicyInvalid    125   lines of the policy are wrong; all of them are named
    │   ├── KeystoreError    125   the keystore can't be used or changed as asked
    │   │   ├── KeystorePermissions  125   others could read or replace it (mode, owner, symbolic link)
    │   │   ├── KeystoreDamaged      125   cut short, changed behind our back, or no keystore at all
    │   │   ├── KeystoreVersion      125   written by a newer version
    │   │   ├── KeystoreLocked       125   nothing given opens it: a wrong or missing passphrase, key file, variable
    │   │   ├── KeyMissing           125   it holds no such key, secret, slot or anchor
    │   │   ├── KeyExists            125   the name is taken, or would be overwritten
    │   │   └── AnchorLost           125   the freshness anchor of a volume is gone or can't be believed
    │   ├── VolumeError      125   the volume can't be used or made as asked
    │   │   ├── NotAVolume           125   the directory holds other things
    │   │   ├── VolumeMissing        125   there is none
    │   │   ├── VolumeDamaged        125   cut short, or changed behind our back
    │   │   ├── VolumeWrongKey       125   nothing given opens it
    │   │   ├── VolumeNewer          125   written by a newer version
    │   │   └── VolumeBusy           125   another process has it open
    │   ├── BinaryNotFound   127   no such program, as shells say it
    │   └── BinaryRefused    126   the program is there but can't be run wrapped (static, 32-bit, ...)
    │       ├── NotRunnable      126   the kernel itself would not run it (not executable, not a program)
    │       │   └── NoFormat     126   the kernel would not know what its bytes are (ENOEXEC)
    │       └── GainsPrivilege   126   setuid, setgid or file capabilities: its loader would drop the shim
    ├── MachineLacks         125   the kernel or the machine has not what wrapping needs
    ├── PolicyDenied         126   the policy forbids it
    ├── HostileHost          124   the host answered what can't be true
    │   └── RolledBack       124   a state older than its freshness anchor
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


class PolicyInvalid(UserError):
    """Lines of the policy are wrong; `problems` has one `file:line: rule: remedy` for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("the policy is wrong", "\n".join(problems), "correct these lines; see docs/policy.md")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join((f"{self.rule}, {self.remedy}:", *self.problems))


class KeystoreError(UserError):
    """The keystore can't be used or changed as asked."""


class KeystorePermissions(KeystoreError):
    """Others could read or replace it (mode, owner, symbolic link)."""


class KeystoreDamaged(KeystoreError):
    """Cut short, changed behind our back, or no keystore at all."""


class KeystoreVersion(KeystoreError):
    """Written by a newer version."""


class KeystoreLocked(KeystoreError):
    """Nothing given opens it: a wrong or missing passphrase, key file or variable."""


class KeyMissing(KeystoreError):
    """It holds no such key, secret, slot or anchor."""


class KeyExists(KeystoreError):
    """The name is taken, or would be overwritten."""


class AnchorLost(KeystoreError):
    """The freshness anchor of a volume is gone or can't be believed."""


class VolumeError(UserError):
    """The volume can't be used or made as asked."""


class NotAVolume(VolumeError):
    """The directory holds other things."""


class VolumeMissing(VolumeError):
    """There is no volume."""


class VolumeDamaged(VolumeError):
    """Cut short, or changed behind our back; `thing` names the bytes where they are known."""


class VolumeWrongKey(VolumeError):
    """Nothing given opens it."""


class VolumeNewer(VolumeError):
    """Written by a newer version."""


class VolumeBusy(VolumeError):
    """Another process has it open."""


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
    """The policy forbids it, at `place` in it, if there is one."""

    exit_status = 126

    def __init__(self, rule: str, thing: str, remedy: str, *, place: str = "") -> None:
        super().__init__(rule, thing, remedy)
        self.place = place

    def __str__(self) -> str:
        return ": ".join(part for part in (self.rule, self.thing, self.place, self.remedy) if part)


class HostileHost(SconeError):
    """The host answered what can't be true."""

    exit_status = 124


class RolledBack(HostileHost):
    """A state older than its freshness anchor."""


class InternalError(SconeError):
    """A bug of ours."""

    exit_status = 123


class BadMessage(InternalError):
    """A control message that no shim of ours sends."""
