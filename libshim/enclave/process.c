/*
 * process.c - calls about processes that would show the helper, or move the shim's GS base.
 *
 * Owns: keeping both from happening. Must never: change what the program sees of its own children. Called by: dispatch.c.
 */
#include <linux/wait.h>
#include "dispatch.h"
#include "ring.h"
#include "signal.h"

enum { ARCH_SET_GS_ = 0x1001, ARCH_GET_GS_ = 0x1004, WAITID_PID_AT = 12 };

/* The helper is a child too: one that only __WALL and __WCLONE show. */
long sys_wait4(struct frame *frame);
long sys_wait4(struct frame *frame)
{
	long result;

	do
		result = pass_by_gate(frame);
	while (result > 0 && result == ring_helper_pid());
	return result;
}

long sys_waitid(struct frame *frame);
long sys_waitid(struct frame *frame)
{
	int32_t pid = 0;
	long result;

	do {
		result = pass_by_gate(frame);
		if (result == 0 && frame->arg[2])
			TRY(copy_guarded(&pid, (void *)(frame->arg[2] + WAITID_PID_AT), sizeof pid));
	} while (result == 0 && pid > 0 && pid == ring_helper_pid());
	return result;
}

long sys_arch_prctl(struct frame *frame);
long sys_arch_prctl(struct frame *frame)
{
	uint64_t none = 0;

	if (frame->arg[0] == ARCH_SET_GS_)
		return deny(__NR_arch_prctl, EPERM);	/* the GS base is the shim's */
	if (frame->arg[0] == ARCH_GET_GS_)
		return copy_guarded((void *)frame->arg[1], &none, sizeof none);
	return pass_by_gate(frame);
}
