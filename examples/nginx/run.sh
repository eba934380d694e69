#!/bin/bash
# Debian's own nginx, a master and two workers, behind the boundary: curl fetches a page, the configuration is loaded
# anew, and the calls that one request makes are shown. Everything that is started here is stopped here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
PATH=$root/.venv/bin:$PATH:/usr/sbin

folder=$(mktemp -d)
chmod 755 "$folder"	# workers of root's nginx are another user
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
mkdir "$folder/www"
echo 'hello from behind the boundary' >"$folder/www/index.html"
sed "s#FOLDER#$folder#g; s#PORT#$port#g" "$here/nginx.conf" >"$folder/nginx.conf"

echo "== scone-wrap nginx (plain Debian binary, master and two workers)"
scone-wrap --trace="$folder/calls" nginx -c "$folder/nginx.conf" -e "$folder/error.log" &
server=$!
for _ in $(seq 300); do
	curl -sf -o "$folder/got" "http://127.0.0.1:$port/" && break
	kill -0 "$server" 2>/dev/null || { cat "$folder/error.log" >&2; exit 1; }
	sleep 0.1
done

echo "== a page, before and after a reload"
cat "$folder/got"
kill -HUP "$server"
curl -sf "http://127.0.0.1:$port/"

echo "== the calls of one request, as they crossed"
grep -F -m 1 'recvfrom(' -A 9 "$folder/calls" | sed '/close(/q' | cut -c1-150

echo "== it ends as it would without the wrapper"
kill -QUIT "$server"
status=0
wait "$server" || status=$?
server=''
echo "exit status:     $status"
[ "$status" = 0 ]
