/*
 * policy.h - a policy as the runtime hands it to a shim.
 *
 * Owns: the layout of the answer to HELLO that carries it (docs/policy.md has worked bytes). Must never: hold a
 * function, or a key. Used by: enclave/policy.c; scone_preload/policy/image.py writes it.
 */
#ifndef SCONE_WIRE_POLICY_H
#define SCONE_WIRE_POLICY_H

#include <stdint.h>

enum {
	POLICY_MAGIC   = 0x4c4f5053,	/* "SPOL" */
	POLICY_VERSION = 1,
	POLICY_CALLS   = 512,
};

/* What a policy does with a call. */
enum policy_route {
	POLICY_DENY    = 0,	/* -error */
	POLICY_INSIDE  = 1,	/* by the gate, on the program's own thread */
	POLICY_RUNTIME = 2,	/* the runtime is asked each time */
	POLICY_HOST    = 3,	/* as the spec says */
	POLICY_STOP    = 4,	/* the enclave stops */
	POLICY_PATHS   = 5,	/* the runtime is asked about its path, unless an answer of before covers it */
	POLICY_ADDRESS = 6,	/* the same about the socket address that it names, if it does */
};

enum { POLICY_LOOKS = 1, POLICY_READS = 2, POLICY_WRITES = 4, POLICY_OPENS = 8, POLICY_CONNECTS = 16, POLICY_BINDS = 32 };

struct policy_call {
	uint8_t  route;		/* enum policy_route */
	uint8_t  access;	/* POLICY_PATHS, POLICY_ADDRESS: bits of what it does with it; answers hold for the same bits.
				 * POLICY_OPENS: by the flags of the open, POLICY_READS or POLICY_WRITES */
	uint16_t error;		/* POLICY_DENY: errno */
};
_Static_assert(sizeof(struct policy_call) == 4, "wire layout");

struct policy_image {
	uint32_t magic;		/* POLICY_MAGIC */
	uint16_t version;	/* POLICY_VERSION */
	uint16_t reserved;
	uint32_t size;		/* of all of it */
	uint32_t answer_count;	/* struct policy_answer, each with its path, one behind the other */
	struct policy_call calls[POLICY_CALLS];
};
_Static_assert(sizeof(struct policy_image) == 16 + 4 * POLICY_CALLS, "wire layout");

/* A path that need not be asked about where no link stands in it. What doesn't fit into the shim's table is asked about all the same. */
struct policy_answer {
	uint8_t  access;	/* POLICY_LOOKS ... */
	uint8_t  is_below;	/* 1: and all that lies below it */
	uint16_t size;		/* of the path that follows, without NUL */
};
_Static_assert(sizeof(struct policy_answer) == 4, "wire layout");

#endif
