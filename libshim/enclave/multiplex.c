/*
 * multiplex.c - calls whose meaning is in a command: ioctl, fcntl, prctl, socket options.
 *
 * Owns: refusing, routing and checking by the command's own row. Must never: guess about a command that the spec
 * doesn't list: it goes on as the call's row says. Called by: the handlers of those calls, and by dispatch.c.
 */
#include <linux/fcntl.h>
#include "check.h"
#include "multiplex.h"

enum { VALUE_MAX = 1024, PID_MAX = 1 << 22, OPTION_VALUE = 3, OPTION_SIZE = 4 };

/* A group is a negative number: no errno can be told from it. */
static long owner_get(const struct frame *frame)
{
	long result = gate_interruptible(__NR_fcntl, (long)frame->arg[0], F_GETOWN, 0, 0, 0, 0);

	return result >= -PID_MAX && result <= PID_MAX ? result : check_refuse(__NR_fcntl, "owner", result);
}

/* The value that the kernel or the marshaller put into the program's memory, by a copy of our own. */
static long value_check(uint32_t nr, const struct arg_shape *at, uint64_t value)
{
	uint8_t copy[VALUE_MAX];

	if (!at->check || !value || (at->kind != ARG_OUT_STRUCT && at->kind != ARG_INOUT_STRUCT))
		return 0;
	if (at->size > sizeof copy)
		die("a struct of a command is larger than the checker's");
	TRY(copy_guarded(copy, (void *)value, at->size));
	return check_struct(nr, at, copy, 1);
}

long multiplex(struct frame *frame, const struct sub_table *table, uint64_t command, uint32_t value_arg)
{
	uint32_t nr = (uint32_t)frame->nr;
	const struct sub_shape *row = sub_find(table, command);
	struct call_shape own = { .name = call_shapes[nr].name };
	long result;

	if (!row)
		return sys_pass(frame);
	if (row->route == ROUTE_DENY)
		return deny(nr, row->deny_errno);
	if (row->flags & CALL_RENEWS_HELPER)
		return pass_renewing(frame);
	if (table == &fcntl_table && command == F_GETOWN)
		return owner_get(frame);
	result = row->exit == EXIT_GATE ? pass_by_gate(frame) : sys_pass(frame);
	if (result < 0 || row->route != ROUTE_HOST)
		return result;
	own.result = row->result;
	TRY(check_result(nr, &own, frame->arg, result));
	if (table != &sockopt_table)
		TRY(value_check(nr, &row->arg, frame->arg[value_arg]));
	return result;
}

long sys_setsockopt(struct frame *frame);
long sys_setsockopt(struct frame *frame)
{
	return multiplex(frame, &sockopt_table, frame->arg[1] << 32 | (uint32_t)frame->arg[2], OPTION_VALUE);
}

/* A value may be shorter than asked for, never longer; only a whole one is checked. */
long sys_getsockopt(struct frame *frame);
long sys_getsockopt(struct frame *frame)
{
	uint64_t command = frame->arg[1] << 32 | (uint32_t)frame->arg[2];
	const struct sub_shape *row = sub_find(&sockopt_table, command);
	uint32_t asked = 0, size;
	long result;

	if (copy_guarded(&asked, (void *)frame->arg[OPTION_SIZE], sizeof asked) < 0)
		return sys_pass(frame);		/* the kernel's error */
	result = multiplex(frame, &sockopt_table, command, OPTION_VALUE);
	if (result < 0)
		return result;
	TRY(copy_guarded(&size, (void *)frame->arg[OPTION_SIZE], sizeof size));
	if (size > asked)
		return check_refuse(__NR_getsockopt, "an option's size", size);
	if (row && size >= row->arg.size)
		TRY(value_check(__NR_getsockopt, &row->arg, frame->arg[OPTION_VALUE]));
	return result;
}

long sys_prctl(struct frame *frame);
long sys_prctl(struct frame *frame)
{
	return multiplex(frame, &prctl_table, (uint32_t)frame->arg[0], 1);
}
