/*
 * target.h - what fuzz targets share: how one fails, and how a thread becomes one of the enclave.
 *
 * Owns: both. Must never: be part of the product. Used by: replies.c, ring.c.
 */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

long syscall(long nr, ...);

static inline _Noreturn void target_failed(const char *what, long value)
{
	fprintf(stderr, "FAILED: %s (%ld)\n", what, value);
	abort();
}

static inline void target_gs_set(void *thread)
{
	if (syscall(158 /* arch_prctl */, 0x1001 /* ARCH_SET_GS */, thread))
		target_failed("GS", 0);
}

/* One input: libFuzzer's entry. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
