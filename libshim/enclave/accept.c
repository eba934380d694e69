/*
 * accept.c - new connections.
 *
 * Owns: what is known of a connection at birth. Must never: assume anything of the peer. Called by: dispatch.c.
 */
#include "dispatch.h"
#include "descriptor.h"

enum { SOCK_NONBLOCK_ = 04000 };

static long accepted(struct frame *frame, uint64_t flags)
{
	struct descriptor *descriptor;
	long result = sys_pass(frame);

	if (result < 0 || enclave.mode == MODE_SYNC || thread_self()->gate_only)
		return result;
	descriptor = descriptor_of((int)result);
	if (descriptor) {
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
