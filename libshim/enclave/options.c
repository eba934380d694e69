/*
 * options.c - what is believed of a socket option's value.
 *
 * Owns: the predicate of getsockopt. Must never: look at more of a value than its length says. Called by: believe.c.
 */
#include "check.h"
#include "predicates.h"
#include "subshape.h"

enum { VALUE_MAX = 1024, OPTION_LEVEL = 1, OPTION_NAME = 2, OPTION_VALUE = 3, OPTION_SIZE = 4 };

/* By a copy of our own: the value may be shorter in the program's memory than its length says. */
static long value_check(uint32_t nr, const struct arg_shape *at, uint64_t value)
{
	uint8_t copy[VALUE_MAX];

	if (at->size > sizeof copy)
		die("a struct of a command is larger than the checker's");
	TRY(copy_guarded(copy, (void *)value, at->size));
	return check_struct(nr, at, copy, 1);
}

/* A value may be shorter than asked for, never longer; only a whole one is checked. */
long believe_option(const struct reply *reply)
{
	uint64_t command = reply->arg[OPTION_LEVEL] << 32 | (uint32_t)reply->arg[OPTION_NAME];
	const struct sub_shape *row = sub_find(&sockopt_table, command);
	uint32_t asked = 0, size;

	TRY(reply->result);
	if (reply->asked_size[OPTION_SIZE] == sizeof asked)
		memcpy(&asked, reply->asked[OPTION_SIZE], sizeof asked);
	TRY(copy_guarded(&size, (void *)reply->arg[OPTION_SIZE], sizeof size));
	if (size > asked)
		return check_refuse(reply->nr, "an option's size", size);
	if (row && row->arg.check && size >= row->arg.size && reply->arg[OPTION_VALUE])
		TRY(value_check(reply->nr, &row->arg, reply->arg[OPTION_VALUE]));
	return reply->result;
}
