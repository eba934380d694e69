/*
 * subshape.h - what the spec says of the commands of a multiplexer (ioctl, fcntl, prctl, socket options), as data.
 *
 * Owns: the types of the generated tables (build/gen/calls.gen.c) and the search in them. Must never: hold anything
 * that depends on a running program, or guess about a command that isn't listed.
 * Used by: sys_ioctl, sys_fcntl, sys_prctl, setsockopt and getsockopt; the generator (codegen/calls_c.py).
 */
#ifndef SCONE_SUBSHAPE_H
#define SCONE_SUBSHAPE_H

#include <stddef.h>
#include <stdint.h>

#include "shape.h"

/*
 * One command. `arg` is argument 2 of ioctl and fcntl, 1 of prctl, 3 (the value) of setsockopt and getsockopt.
 * A socket option's value may be shorter than arg.size: arg.check is called only on a reply that holds all of it.
 * Errnos are those of the multiplexer's own row in call_shapes[].
 */
struct sub_shape {
	uint64_t command;	/* socket options: level << 32 | name */
	const char *name;
	struct arg_shape arg;	/* ARG_NONE: nothing, ARG_VALUE: a number */
	uint8_t  route;		/* enum call_route */
	uint8_t  exit;		/* enum call_exit */
	uint8_t  result;	/* enum result_kind; what bounds it is `arg` */
	uint8_t  restart;	/* enum restart_class */
	uint8_t  flags;		/* enum call_flags */
	uint8_t  reserved[3];
	uint32_t deny_errno;
	uint32_t reserved2;
};

struct sub_table {
	const struct sub_shape *rows;	/* sorted by command */
	size_t count;
};

extern const struct sub_table ioctl_table;
extern const struct sub_table fcntl_table;
extern const struct sub_table prctl_table;
extern const struct sub_table sockopt_table;

/*
 * The row of a command, or NULL if the spec doesn't know it: then it takes the gate with its argument as an address
 * (unlisted socket options: bytes, as many as their length says).
 */
static inline const struct sub_shape *sub_find(const struct sub_table *table, uint64_t command)
{
	size_t low = 0;
	size_t high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->rows[middle].command == command)
			return &table->rows[middle];
		if (table->rows[middle].command < command)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

#endif
