"""Runs unmodified Linux programs behind a checked syscall boundary."""

__version__ = "0.1.0"
