"""What is believed of every syscall, one line each: `load()` gives it, checked; `format_call()` prints a call."""

from scone_preload.spec.load import SpecError, load, load_from
from scone_preload.spec.model import Spec
from scone_preload.spec.parse import Problem
from scone_preload.spec.trace import format_call

__all__ = ["Problem", "Spec", "SpecError", "format_call", "load", "load_from"]
