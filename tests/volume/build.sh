#!/bin/sh
# build.sh TEST OUT [sanitize]: builds tests/volume/TEST.c with names, files and locks on the stand-in into the executable OUT.
set -e
cd "$(dirname "$0")/../.."
name=$1 out=$2 sanitize=
[ "${3:-}" = sanitize ] && sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
common='-std=gnu11 -O2 -g -fPIC -Wall -Wextra -Werror -fno-strict-aliasing'
freestanding='-ffreestanding -fno-stack-protector -mgeneral-regs-only -fvisibility=hidden -Wconversion'
for source in undo directory name_index names names_tree names_walk names_change names_rename file lock lock_wait; do
	[ -e "libshim/volume/$source.c" ] || continue
	gcc $common $freestanding $sanitize -c "libshim/volume/$source.c" -o "$work/$source.o"
done
for source in "$name" calls standin standin_host; do
	gcc $common $sanitize -c "tests/volume/$source.c" -o "$work/test_$source.o"
done
gcc $sanitize -o "$out" "$work"/*.o -lpthread
