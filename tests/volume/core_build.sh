#!/bin/sh
# core_build.sh FOLDER plain|sanitize TEST...: builds tests/volume/TEST.c, each with the core and core_disk.c, into FOLDER/TEST.
set -e
cd "$(dirname "$0")/../.."
folder=$1 sanitize=
[ "$2" = sanitize ] && sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all'
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
common="-std=gnu11 ${OPT:--O2} -g -fPIC -Wall -Wextra -Werror -fno-strict-aliasing"
freestanding='-ffreestanding -fno-stack-protector -mgeneral-regs-only -Wconversion'
for source in libshim/volume/*.c; do
	[ "$source" = libshim/volume/library.c ] && continue
	gcc $common $freestanding $sanitize -c "$source" -o "$work/$(basename "$source" .c).o"
done
gcc $common $sanitize -c tests/volume/core_disk.c -o "$work/test_core_disk.o"
for name; do
	gcc $common $sanitize -o "$folder/$name" "tests/volume/$name.c" "$work"/*.o -l:libIPSec_MB.a -lpthread
done
