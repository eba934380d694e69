/*
 * ask.h - calls that the runtime decides or serves.
 *
 * Owns: their way to the runtime and back. Must never: go on with a call that the runtime did not answer. Used by:
 * policy.c.
 */
#ifndef SCONE_ASK_H
#define SCONE_ASK_H

#include "enclave.h"
#include "shape.h"

/* What a call is about: its absolute path, or the socket address that it names. */
struct about {
	uint8_t  kind;		/* CTL_ABOUT_*, 0: nothing */
	uint64_t size;
	char     bytes[4096];	/* a path is also NUL-terminated */
};

/*
 * Asks the runtime about the program's call, with what its arguments point to. -SHIELD_PLAIN: it goes on, and *scope is
 * what the answer holds for (struct ctl_call_answer). Else the call's result: memory of the program that the answer
 * fills is filled, a file that it opens is open. Dies when there is no answer.
 */
NODISCARD long ask_runtime(struct frame *frame, const struct call_shape *shape, const struct about *about, uint32_t *scope);

/* The flags of open(2) in this call; 0 where it has none. */
uint32_t open_flags(const struct frame *frame);
#endif
