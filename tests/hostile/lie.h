/*
 * lie.h - how the victim tells the liar what the host shall answer next.
 *
 * Owns: struct lie and the call that arms it. Must never: be part of a product. Used by: liar.c (linked into a shim of
 * its own), victim.c (the program under that shim).
 */
#ifndef HOSTILE_LIE_H
#define HOSTILE_LIE_H

#include <stdint.h>

enum { LIE_WRITES = 6, LIE_HANDLE = -770077 };	/* read(LIE_HANDLE, lie, 0) arms it, for the next call of lie->nr */

/* What the host leaves in memory that it was given: at argument `arg`, or where the pointer at `via` in it leads. */
struct lie_write {
	uint32_t    arg;
	uint32_t    via;		/* offset of a pointer in what `arg` points to, plus one; 0: none */
	uint64_t    offset;
	uint64_t    size;
	const void *bytes;
};

struct lie {
	long     nr;
	long     also;			/* another number by which the shim may make the call; 0: none */
	long     result;
	uint32_t count;
	uint32_t is_told;		/* set by the liar */
	uint32_t by_ring;		/* set by the liar */
	uint32_t reserved;
	struct lie_write write[LIE_WRITES];
};

#endif
