"""The trusted side's Python: starts the program and answers its shims."""
