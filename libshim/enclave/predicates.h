/*
 * predicates.h - what is believed of a reply and no range in the spec can say, each under the name that a row gives it.
 *
 * Owns: the contract of the predicates, and of believe.c, which calls them. Must never: be called with a result that
 * check.c has refused. Used by: pass.c; the generated table (scone_preload/spec/predicates.py lists the names).
 */
#ifndef SCONE_PREDICATES_H
#define SCONE_PREDICATES_H

#include "enclave.h"
#include "shape.h"

/* A reply that has come back into the program's memory, by whichever exit. */
struct reply {
	uint32_t nr;
	const struct call_shape *shape;
	const uint64_t *arg;		/* of the program */
	const void *asked[6];		/* what inout arguments held before the call; NULL: not inout, or not there */
	size_t asked_size[6];		/* as much of it as could be read */
	long result;			/* >= 0, or -EINTR (select writes the remaining time then, too) */
};

typedef long (*way_out)(struct frame *frame, const struct call_shape *shape);

/*
 * Makes a call whose row has a predicate by `way` (exit_by_gate, exit_by_ring), and gives what the predicate says of its
 * reply. Of a refused one the program's inout arguments are as they were.
 */
NODISCARD long believe(struct frame *frame, const struct call_shape *shape, way_out way);

/* getdents: records follow each other exactly to the end; each name ends inside its record, isn't empty, has no '/'. */
long believe_listing(const struct reply *reply);

/* getdents64: the same of its records. */
long believe_listing64(const struct reply *reply);

/* recvmsg: sizes don't exceed what was offered, control messages lie inside, received descriptors are numbers. */
long believe_message(const struct reply *reply);

/* recvmmsg: the same of each header that the result counts, and no more bytes than its vectors hold, unless MSG_TRUNC
 * was asked for; the remaining time. */
long believe_received_messages(const struct reply *reply);

/* sendmmsg: of each header that the result counts, no more was sent than its vectors hold. */
long believe_sent_messages(const struct reply *reply);

/* getsockopt: the value is no longer than was asked for; a whole one is as its own row says. */
long believe_option(const struct reply *reply);

/* poll, ppoll: nothing is ready that was not asked for, and the result counts what is; the remaining time. */
long believe_polled(const struct reply *reply);

/* select, pselect6: each set is a subset of the one asked for, and the result counts their bits; the remaining time. */
long believe_selected(const struct reply *reply);

/* Part of the above: each inout time is from 0 to what was asked for. 0, or -EIO. */
NODISCARD long remaining_check(const struct reply *reply);
#endif
