/*
 * multiplex.c - calls whose meaning is in a command: ioctl, fcntl, prctl, socket options.
 *
 * Owns: refusing and routing by the command's own row. Must never: guess about a command that the spec doesn't list (it
 * goes on as the call's row says), or check a reply itself. Called by: the handlers of those calls, and by dispatch.c.
 */
#include "multiplex.h"
#include "stream.h"

enum { SOL_SOCKET_ = 1, SOL_TCP_ = 6, SOL_TLS_ = 282, SO_OOBINLINE_ = 10, SO_RCVLOWAT_ = 18, SO_TIMESTAMP_ = 29,
       SO_TIMESTAMPNS_ = 35, SO_TIMESTAMPING_ = 37, SO_PEEK_OFF_ = 42, TCP_REPAIR_ = 19, TCP_ULP_ = 31,
       TCP_ZEROCOPY_RECEIVE_ = 35, TCP_INQ_ = 36 };

/* The call's own row with what the command's says. A command goes by the ring only where both rows let it. */
static long pass_command(struct frame *frame, const struct sub_shape *row, uint32_t value_arg)
{
	struct call_shape shape = call_shapes[(uint32_t)frame->nr];

	shape.route = row->route;
	shape.exit = row->exit == EXIT_ANY ? shape.exit : EXIT_GATE;
	shape.result = row->result;
	shape.result_arg = (uint8_t)value_arg;
	shape.arg[value_arg] = row->arg;
	shape.checked_args = (uint8_t)(row->arg.check ? 1u << value_arg : 0);
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

/* Options after which others than plain reads and writes decide what the stream's next bytes are. */
static long stream_option(const struct frame *frame)
{
	int fd = (int)frame->arg[0], name = (int)frame->arg[2];
	bool is_async = enclave.mode == MODE_ASYNC && !thread_self()->gate_only;

	if (!is_async)
		return 0;
	if (frame->arg[1] == SOL_TLS_ || (frame->arg[1] == SOL_TCP_ && name == TCP_ULP_))
		return stream_share(fd);	/* from here on the kernel encrypts */
	if (frame->arg[1] == SOL_SOCKET_ && (name == SO_OOBINLINE_ || name == SO_RCVLOWAT_ || name == SO_PEEK_OFF_ ||
					     name == SO_TIMESTAMP_ || name == SO_TIMESTAMPNS_ || name == SO_TIMESTAMPING_))
		stream_refuse(fd);
	if (frame->arg[1] == SOL_TCP_ && (name == TCP_REPAIR_ || name == TCP_INQ_))
		stream_refuse(fd);
	return 0;
}

/* TCP_ZEROCOPY_RECEIVE: what was read ahead can't be mapped, so the program is told to read that many bytes first. */
static long received_map(struct frame *frame)
{
	struct { uint64_t address; uint32_t size, to_read; } asked;	/* the kernel's struct begins so */
	uint32_t held;

	stream_refuse((int)frame->arg[0]);
	held = stream_held_size((int)frame->arg[0]);
	if (!held || copy_guarded(&asked, (void *)frame->arg[3], sizeof asked) < 0)
		return multiplex(frame, &sockopt_table, frame->arg[1] << 32 | (uint32_t)frame->arg[2], 0);
	asked.size = 0;
	asked.to_read = held;
	return copy_guarded((void *)frame->arg[3], &asked, sizeof asked);
}

long sys_setsockopt(struct frame *frame);
long sys_setsockopt(struct frame *frame)
{
	TRY(stream_option(frame));
	return multiplex(frame, &sockopt_table, frame->arg[1] << 32 | (uint32_t)frame->arg[2], 0);
}

long sys_getsockopt(struct frame *frame);
long sys_getsockopt(struct frame *frame)
{
	if (frame->arg[1] == SOL_TCP_ && frame->arg[2] == TCP_ZEROCOPY_RECEIVE_ && enclave.mode == MODE_ASYNC &&
	    !thread_self()->gate_only)
		return received_map(frame);
	return multiplex(frame, &sockopt_table, frame->arg[1] << 32 | (uint32_t)frame->arg[2], 0);
}

long sys_prctl(struct frame *frame);
long sys_prctl(struct frame *frame)
{
	return multiplex(frame, &prctl_table, (uint32_t)frame->arg[0], 1);
}
