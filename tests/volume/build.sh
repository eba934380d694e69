#!/bin/sh
# build.sh TEST OUT plain|sanitize [standin|real]: builds tests/volume/TEST.c, on the stand-in or on the core, into OUT.
set -e
cd "$(dirname "$0")/../.."
name=$1 out=$2 sanitize= on=${4:-standin}
[ "${3:-}" = sanitize ] && sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
common='-std=gnu11 -O2 -g -fPIC -Wall -Wextra -Werror -fno-strict-aliasing'
freestanding='-ffreestanding -fno-stack-protector -mgeneral-regs-only -Wconversion'
sources=$(echo libshim/volume/directory.c libshim/volume/undo.c libshim/volume/name*.c libshim/volume/file.c libshim/volume/lock*.c)
libraries=-lpthread
if [ "$on" = real ]; then
	sources=$(echo libshim/volume/*.c | tr ' ' '\n' | grep -v /library.c)
	libraries="-l:libIPSec_MB.a -lpthread"
fi
for source in $sources; do
	gcc $common $freestanding $sanitize -c "$source" -o "$work/$(basename "$source" .c).o"
done
for source in "$name" calls "$on" standin_host; do
	gcc $common $sanitize -c "tests/volume/$source.c" -o "$work/test_$source.o"
done
gcc $sanitize -o "$out" "$work"/*.o $libraries
