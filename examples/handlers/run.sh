#!/bin/bash
# Your own Python behind the syscalls of unmodified programs: one example for each kind of answer.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
PATH=$root/.venv/bin:$PATH
cd "$(dirname "$0")"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo kept >"$folder/file"

echo "== virtual_file.py: cat reads a file that is nowhere"
scone-wrap --handlers virtual_file.py --route openat=runtime --route open=runtime cat /virtual/now

echo "== approve_connect.py: a connection that is not in the list is refused"
scone-wrap --handlers approve_connect.py --route connect=runtime \
	bash -c 'exec 3<>/dev/tcp/127.0.0.1/9' 2>&1 | sed 's/^bash: .*: /bash: /' || true

echo "== deny.py: rm gets an errno of our choice"
scone-wrap --handlers deny.py --route unlinkat=runtime --route unlink=runtime rm "$folder/file" 2>&1 |
	sed "s|$folder|FOLDER|" || true
cat "$folder/file"

echo "== result.py: a call is answered without being made"
echo "id -u says $(scone-wrap --handlers result.py --route geteuid=runtime id -u)"

echo "== audit.py: all calls of a program, as Python sees them"
AUDIT_LOG=$folder/log scone-wrap --handlers audit.py --route-all runtime cat "$folder/file"
echo "$(wc -l <"$folder/log") calls, the first that opens the file:"
grep -m1 "openat .*/file" "$folder/log" | sed "s|$folder|FOLDER|; s/^[0-9]* //"
