#!/bin/sh
# build.sh FOLDER plain|sanitize standin|real TEST...: builds each tests/volume/TEST.c, on the stand-in or on the core, into FOLDER/TEST.
set -e
cd "$(dirname "$0")/../.."
folder=$1 how=$2 below=$3 sanitize=
shift 3
[ "$how" = sanitize ] && sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all'
work=$(mktemp -d "$folder/objects.XXXXXX")
trap 'rm -rf "$work"' EXIT
common='-std=gnu11 -O2 -g -fPIC -Wall -Wextra -Werror -fno-strict-aliasing'
freestanding='-ffreestanding -fno-stack-protector -mgeneral-regs-only -Wconversion'
sources=$(echo libshim/volume/directory.c libshim/volume/undo.c libshim/volume/name*.c libshim/volume/file.c libshim/volume/lock*.c)
libraries=-lpthread
if [ "$below" = real ]; then
	sources=$(echo libshim/volume/*.c | tr ' ' '\n' | grep -v /library.c)
	libraries="-l:libIPSec_MB.a -lpthread"
fi
for source in $sources; do
	gcc $common $freestanding $sanitize -c "$source" -o "$work/$(basename "$source" .c).o"
done
for source in calls "$below" standin_host; do
	gcc $common $sanitize -c "tests/volume/$source.c" -o "$work/test_$source.o"
done
for name in "$@"; do
	gcc $common $sanitize -o "$folder/$name" "tests/volume/$name.c" "$work"/*.o $libraries
done
