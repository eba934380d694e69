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

/*
 * Asks the runtime about the program's call, with what its arguments point to. -SHIELD_PLAIN: it goes on, and *scope is
 * what the answer holds for (struct ctl_call_answer). Else the call's result: memory of the program that the answer
 * fills is filled, a file that it opens is open. `path` is the absolute path that the call is about, or NULL. Dies when
 * there is no answer.
 */
NODISCARD long ask_runtime(struct frame *frame, const struct call_shape *shape, const char *path, uint32_t *scope);
#endif
