#!/bin/bash
# Debian's own sqlite3 behind the boundary: two wrapped shells write to one database in turn, and the file is what a
# native shell would have left.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
PATH=$root/.venv/bin:$PATH

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
database=$folder/shop.db

echo "== scone-wrap sqlite3 (plain Debian binary), write-ahead log"
scone-wrap sqlite3 "$database" 'PRAGMA journal_mode=WAL; CREATE TABLE sale (item TEXT, price INTEGER);'
fill() {
	for price in $(seq 20); do
		echo "PRAGMA busy_timeout=10000; INSERT INTO sale VALUES ('$1', $price);"
	done | scone-wrap sqlite3 "$database" >/dev/null
}
fill tea &
fill coffee
wait

echo "== what both wrote, read by a wrapped and by a native shell"
question='SELECT item, count(*), sum(price) FROM sale GROUP BY item ORDER BY item;'
scone-wrap sqlite3 "$database" "$question" | tee "$folder/wrapped"
sqlite3 "$database" "$question" >"$folder/native"
cmp "$folder/wrapped" "$folder/native"
echo "integrity:       $(scone-wrap sqlite3 "$database" 'PRAGMA integrity_check;')"

echo "== what one query cost"
scone-wrap --stats sqlite3 "$database" "$question" 2>&1 >/dev/null
