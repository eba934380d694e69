/*
 * multiplex.c - calls whose meaning is in a command: ioctl, fcntl, prctl, socket options.
 *
 * Owns: refusing and routing by the command's own row. Must never: guess about a command that the spec doesn't list (it
 * goes on as the call's row says), or check a reply itself. Called by: the handlers of those calls, and by dispatch.c.
 */
#include "multiplex.h"

/* The call's own row with what the command's says. A command goes by the ring only where both rows let it. */
static long pass_command(struct frame *frame, const struct sub_shape *row, uint32_t value_arg)
{
	struct call_shape shape = call_shapes[(uint32_t)frame->nr];

	shape.route = row->route;
	shape.exit = row->exit == EXIT_ANY ? shape.exit : EXIT_GATE;
	shape.result = row->result;
	shape.result_arg = (uint8_t)value_arg;
	shape.arg[value_arg] = row->arg;
	shape.direct = !row->arg.check;
	return pass_shaped(frame, &shape);
}

long multiplex(struct frame *frame, const struct sub_table *table, uint64_t command, uint32_t value_arg)
{
	uint32_t nr = (uint32_t)frame->nr;
	const struct sub_shape *row = sub_find(table, command);

	if (!row)
		return sys_pass(frame);
	if (row->route == ROUTE_DENY)
		return deny(nr, row->deny_errno);
	if (row->flags & CALL_RENEWS_HELPER)
		return pass_renewing(frame);
	if (value_arg)
		return pass_command(frame, row, value_arg);
	return row->exit == EXIT_GATE ? pass_by_gate(frame) : sys_pass(frame);
}

long sys_setsockopt(struct frame *frame);
long sys_setsockopt(struct frame *frame)
{
	return multiplex(frame, &sockopt_table, frame->arg[1] << 32 | (uint32_t)frame->arg[2], 0);
}

long sys_getsockopt(struct frame *frame);
long sys_getsockopt(struct frame *frame)
{
	return sys_setsockopt(frame);
}

long sys_prctl(struct frame *frame);
long sys_prctl(struct frame *frame)
{
	return multiplex(frame, &prctl_table, (uint32_t)frame->arg[0], 1);
}
