"""The policy: pure functions, so nothing here starts a program (but one interpreter, to see what it imports)."""
