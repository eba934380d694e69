"""What a wrapped program may do, and what is shielded: `scone.toml`, as data and pure functions (docs/policy.md).

Importing this package imports nothing: a start with a cached policy needs `start` and `match` only, which are light.
Everything else is read when the policy is new: `effective` (layers to one Policy), `decide` and `explain` (questions),
`render` (back to TOML), `learn` (from what a program did), `calls` (the table for libshim).
"""
