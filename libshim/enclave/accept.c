/*
 * accept.c - connections begin and end.
 *
 * Owns: what is known of a connection at birth, and what must be sent before its end. Must never: assume anything of
 * the peer. Called by: dispatch.c.
 */
#include "dispatch.h"
#include "descriptor.h"
#include "ring.h"

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

long sys_shutdown(struct frame *frame);
long sys_shutdown(struct frame *frame)
{
	struct descriptor *descriptor = thread_self()->gate_only ? NULL : descriptor_of((int)frame->arg[0]);

	if (!descriptor)
		return pass_by_gate(frame);
	TRY(ring_settle(thread_self(), (int)frame->arg[0], RING_RESTART));
	descriptor->is_connected = false;	/* the next write asks the kernel */
	return sys_pass(frame);
}
