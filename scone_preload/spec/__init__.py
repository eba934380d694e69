"""What is believed of every syscall, one line each: `load()` gives it, checked; `format_call()` prints a call."""

from scone_preload.spec.load import load
from scone_preload.spec.model import Spec
from scone_preload.spec.problems import SpecError
from scone_preload.spec.trace import format_call

__all__ = ["Spec", "SpecError", "format_call", "load"]
