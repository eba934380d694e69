/*
 * accept.c - connections begin and end.
 *
 * Owns: what is known of a connection at birth, and what must be sent before its end. Must never: assume anything of
 * the peer. Called by: dispatch.c.
 */
#include "dispatch.h"
#include "check.h"
#include "descriptor.h"
#include "stream.h"

enum { SOCK_NONBLOCK_ = 04000, SHUT_RD_ = 0, SHUT_WR_, SHUT_RDWR_, AF_UNSPEC_ = 0, SOCKADDR_MAX = 128 };

static long accepted(struct frame *frame, uint64_t flags)
{
	struct descriptor *descriptor;
	long result = sys_pass(frame);

	if (result < 0 || enclave.mode == MODE_SYNC || thread_self()->gate_only)
		return result;
	descriptor = descriptor_of((int)result);
	if (descriptor) {
		struct descriptor *listener = descriptor_of((int)frame->arg[0]);

		if (listener && listener->ahead_state == AHEAD_REFUSED)		/* by an option that connections inherit */
			descriptor->ahead_state = AHEAD_REFUSED;
		descriptor->kind = (uint8_t)descriptor_kind((int)frame->arg[0]);
		descriptor->is_connected = true;
		descriptor->is_nonblocking = flags & SOCK_NONBLOCK_;
		descriptor->is_nonblocking_known = true;
	}
	return result;
}

long sys_accept(struct frame *frame);
long sys_accept(struct frame *frame)
{
	return accepted(frame, 0);
}

long sys_accept4(struct frame *frame);
long sys_accept4(struct frame *frame)
{
	return accepted(frame, frame->arg[3]);
}

/* Whether a connect ends a stream's connection, so that it may have another. */
static bool dissolves(const struct frame *frame)
{
	uint16_t family;

	return enclave.mode == MODE_ASYNC && !thread_self()->gate_only && frame->arg[2] >= sizeof family &&
	       frame->arg[2] <= SOCKADDR_MAX && !copy_guarded(&family, (const void *)frame->arg[1], sizeof family) &&
	       family == AF_UNSPEC_ && descriptor_kind((int)frame->arg[0]) == KIND_STREAM;
}

/* The kernel forgets what waits in either direction; so does the helper, before the next connection. */
long sys_connect(struct frame *frame);
long sys_connect(struct frame *frame)
{
	int fd = (int)frame->arg[0];
	enum stream_source source;
	bool is_left;
	long result;

	if (!dissolves(frame))
		return sys_pass(frame);
	TRY(stream_unsent(fd, &is_left));
	source = stream_read_begin(fd);
	result = is_left ? ring_dissolve(thread_self(), fd) : pass_by_gate(frame);
	if (is_left)
		result = check_result(__NR_connect, &call_shapes[__NR_connect], frame->arg, result);
	if (!result)
		stream_dissolved(fd);
	stream_read_end(fd, source, 0);
	return result;
}

long sys_shutdown(struct frame *frame);
long sys_shutdown(struct frame *frame)
{
	struct frame rest = *frame;
	bool follows = false;

	if (thread_self()->gate_only || !descriptor_of((int)frame->arg[0]))
		return pass_by_gate(frame);
	if (frame->arg[1] == SHUT_WR_ || frame->arg[1] == SHUT_RDWR_)
		TRY(stream_shut((int)frame->arg[0], &follows));
	if (!follows)
		return sys_pass(frame);
	rest.arg[1] = SHUT_RD_;
	return frame->arg[1] == SHUT_RDWR_ ? sys_pass(&rest) : 0;
}
