/*
 * ready.h - what the host says is ready: only what the program asked for.
 *
 * Owns: the contract of ready.c. Must never: let a reply of poll or select change what was asked. Used by: poll.c.
 */
#ifndef SCONE_READY_H
#define SCONE_READY_H

#include "dispatch.h"

/* Makes a poll or ppoll by `pass`: refuses revents that were not asked for, and a result that does not count them. */
NODISCARD long polled_pass(struct frame *frame, long (*pass)(struct frame *frame));

/* The same of select or pselect6: each reply is a subset of what was asked, and the result counts its bits. */
NODISCARD long selected_pass(struct frame *frame, long (*pass)(struct frame *frame));
#endif
