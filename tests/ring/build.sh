#!/bin/sh
# build.sh TEST OUT [sanitize]: builds tests/ring/TEST.c with the ring and the helper into the executable OUT.
# The helper's code is never sanitized: it runs where the sanitizer's shadow memory is not mapped.
set -e
cd "$(dirname "$0")/../.."
test_source=tests/ring/$1.c out=$2 sanitize=
[ "${3:-}" = sanitize ] && sanitize='-fsanitize=address,undefined -fno-sanitize-recover=all -g'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
common='-std=gnu11 -O2 -fPIC -Wall -Wextra -Werror -iquote libshim/enclave -iquote tests/ring'
freestanding='-ffreestanding -fno-stack-protector -mgeneral-regs-only -mno-red-zone -fvisibility=hidden -Wconversion'
for source in libshim/host/*.c; do
	gcc $common $freestanding -c "$source" -o "$work/host_$(basename "$source" .c).o"
done
for source in libshim/enclave/ring*.c libshim/enclave/turns.c; do
	gcc $common $freestanding $sanitize -c "$source" -o "$work/$(basename "$source" .c).o"
done
gcc $common $sanitize -o "$out" "$test_source" tests/ring/support.c libshim/enclave/gate.S "$work"/*.o -lpthread
