#!/bin/bash
# Debian's own redis-server, unchanged, behind the boundary: a real client works with it, and in the end it says what
# crossed. Everything that is started here is stopped here.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
PATH=$root/.venv/bin:$PATH

folder=$(mktemp -d)
server=''
stop() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$folder"
}
trap stop EXIT

port=$("$root/.venv/bin/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
client=(redis-cli -h 127.0.0.1 -p "$port")

echo "== scone-wrap --stats redis-server (plain Debian binary, appendonly file in $folder)"
scone-wrap --stats redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --appendonly yes \
	--save '' --daemonize no --logfile "$folder/redis.log" 2>"$folder/stats" &
server=$!

for _ in $(seq 300); do
	[ "$("${client[@]}" ping 2>/dev/null)" != PONG ] || break
	kill -0 "$server" 2>/dev/null || { cat "$folder/stats" "$folder/redis.log" >&2; exit 1; }
	sleep 0.1
done

echo "== a client works with it"
echo "set, get:        $("${client[@]}" set greeting 'hello from behind the boundary'), $("${client[@]}" get greeting)"
echo "100000 at once:  $(seq 100000 | sed 's/.*/SET key:& value:&/' | "${client[@]}" --pipe | tail -1)"
echo "keys:            $("${client[@]}" dbsize)"
echo "one of them:     $("${client[@]}" get key:4711)"
echo "rewrite of the append-only file in a child: $("${client[@]}" bgrewriteaof)"
until "${client[@]}" info persistence | grep -q 'aof_rewrite_in_progress:0'; do sleep 0.1; done
redis-benchmark -h 127.0.0.1 -p "$port" -q -n 50000 -P 1 -t get,set 2>/dev/null | tr '\r' '\n' | grep 'requests per second'

echo "== it ends as it would without the wrapper"
"${client[@]}" shutdown nosave || true
status=0
wait "$server" || status=$?
server=''
echo "exit status:     $status"
[ "$status" = 0 ]
echo "== what crossed the boundary"
cat "$folder/stats"
