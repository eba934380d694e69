"""`python -m scone_preload.policy` prints the tables of docs/policy.md."""

from scone_preload.policy.docs import emit

print(emit(), end="")
