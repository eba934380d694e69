#!/bin/sh
# core_build.sh TEST OUT [sanitize]: builds tests/volume/TEST.c with the core and core_disk.c into the executable OUT.
set -e
cd "$(dirname "$0")/../.."
name=$1 out=$2 sanitize=
[ "${3:-}" = sanitize ] && sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
common="-std=gnu11 ${OPT:--O2} -g -fPIC -Wall -Wextra -Werror -fno-strict-aliasing"
freestanding='-ffreestanding -fno-stack-protector -mgeneral-regs-only -Wconversion'
for source in libshim/volume/*.c; do
	[ "$source" = libshim/volume/library.c ] && continue
	gcc $common $freestanding $sanitize -c "$source" -o "$work/$(basename "$source" .c).o"
done
for source in "$name" core_disk; do
	gcc $common $sanitize -c "tests/volume/$source.c" -o "$work/test_$source.o"
done
gcc $sanitize -o "$out" "$work"/*.o -l:libIPSec_MB.a -lpthread
