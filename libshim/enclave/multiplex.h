/*
 * multiplex.h - calls whose meaning is in a command: ioctl, fcntl, prctl, socket options.
 *
 * Owns: the contract of multiplex.c. Must never: guess about a command that the spec doesn't list. Used by: the
 * handlers of those calls.
 */
#ifndef SCONE_MULTIPLEX_H
#define SCONE_MULTIPLEX_H

#include "dispatch.h"
#include "subshape.h"

/*
 * Makes the frame's call by the exit that the row of `command` allows, and checks the reply by that row; a command
 * that the row denies is refused. One that isn't listed takes the call's own way and checks. `value_arg` is the index
 * of the argument that the row describes; 0: the call's own row says what is memory (socket options: the call says
 * which way they go, and a predicate what is believed of them).
 */
NODISCARD long multiplex(struct frame *frame, const struct sub_table *table, uint64_t command, uint32_t value_arg);
#endif
