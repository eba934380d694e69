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
#include "../wire/control.h"

struct about;

/*
 * Asks the runtime about the program's call, with what its arguments point to, and the `count` names that it is about.
 * -SHIELD_PLAIN: it goes on, and *scope is what the answer holds for. Else the call's result: memory of the program that the answer
 * fills is filled, a file that it opens is open. Dies when there is no answer.
 */
NODISCARD long ask_runtime(struct frame *frame, const struct call_shape *shape, const struct about *about, uint32_t count,
			   enum ctl_scope *scope);

/* The flags of open(2) in this call; 0 where it has none. */
uint32_t open_flags(const struct frame *frame);
#endif
