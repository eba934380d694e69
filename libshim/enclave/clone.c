/*
 * clone.c - threads and children of the program: fork, vfork, clone, clone3, exit.
 *
 * Owns: the child's first steps. Must never: let a child run program code before Syscall User Dispatch is on again (the
 * kernel clears it in every child).
 *
 *   clone ─ all signals blocked ─ gate_clone ─┬─ parent: mask restored, result to the program
 *                                             ├─ fork child (memory of its own): child_of_fork, same frame
 *                                             └─ thread or vfork child: own struct thread, thread_begin, own frame
 */
#include <linux/sched.h>
#include "alive.h"
#include "signal.h"
#include "clone.h"
#include "control.h"
#include "live.h"
#include "memory_file.h"
#include "policy.h"
#include "ring.h"
#include "stream.h"
#include "volumes.h"

enum { CLONE_ARGS_MAX = 128 };

static struct wire_stats stats_sent;	/* of this process's counts */

_Noreturn void door_leave_new(struct frame *frame);
_Noreturn void thread_begin(struct thread *thread);

struct request {
	uint64_t flags;
	long     call[6];
	uint64_t stack;			/* of the program's child; 0: the caller's */
	struct clone_args args;
	uint64_t args_size;
	uint64_t serial;		/* of volumes */
};

static void child_of_fork(struct thread *thread, uint64_t mask, const struct request *request)
{
	uint32_t parent = thread->tid;

	live_after_fork(thread);
	for (struct thread *each = thread_all(); each; each = each->next_all)
		memset(&each->stats, 0, sizeof each->stats);
	memset(&stats_sent, 0, sizeof stats_sent);
	enclave.flags &= ~(uint32_t)FLAG_FIRST;
	thread->tid = 0;
	thread->clock_cycles = 0;
	thread->is_guest = false;
	thread->stats.processes = 1;
	thread_enter(thread);
	exec_forget_held(true);
	ring_after_fork(thread);
	enclave.is_ringing = stream_held_first() >= 0;
	policy_after_fork();
	if (enclave.has_volumes)
		volumes_child_begin(parent, request->serial, true);
	if (!(request->flags & CLONE_FILES))
		alive_after_fork();
	signal_mask_set(mask);
}

static long fork_process(struct frame *frame, struct request *request)
{
	struct thread *thread = thread_self();
	uint64_t mask;
	long result;

	stream_flush(thread);
	stream_privatize();
	mask = signal_mask_set(~0UL);
	if (enclave.has_volumes)
		request->serial = volumes_clone_begin(true);
	signal_fork_lock();
	thread_fork_lock();
	ring_fork_lock();
	result = gate_clone(request->call, NULL);
	ring_fork_unlock();
	thread_fork_unlock();
	signal_fork_unlock();
	if (result == 0) {
		if (request->stack)
			frame->rsp = request->stack;
		child_of_fork(thread, mask, request);
		return 0;
	}
	if (enclave.has_volumes)
		volumes_clone_end(request->serial, result, true);
	signal_mask_set(mask);
	return result;
}

/* First C code of a thread or vfork child, on its own shim stack, all signals blocked. */
_Noreturn void thread_begin(struct thread *thread)
{
	thread_enter(thread);
	if (thread->gate_only)
		exec_forget_held(false);
	if (thread->volumes_of)
		volumes_child_begin(thread->volumes_of, thread->volumes_serial, false);
	signal_mask_set(thread->call_mask);
	door_leave_new(thread->frame);
}

static long clone_in_memory(struct frame *frame, struct request *request)
{
	struct thread *child = thread_new();
	struct frame *child_frame;
	uint32_t counted;
	uint64_t mask;
	long result;

	if (!child)
		return -EAGAIN;
	child_frame = (struct frame *)(child->stack_top - FRAME_SIZE);
	*child_frame = *frame;
	child_frame->nr = 0;
	if (request->stack)
		child_frame->rsp = request->stack;
	child->frame = child_frame;
	child->gate_only = thread_self()->gate_only || !(request->flags & CLONE_FILES);
	child->is_guest = thread_self()->is_guest || !(request->flags & CLONE_THREAD);
	child->hidden_mask = thread_self()->hidden_mask;
	if (!(request->flags & CLONE_SIGHAND))
		signal_table_copy(child);
	if (request->flags & CLONE_VFORK) {
		child->altstack_pointer = thread_self()->altstack_pointer;
		child->altstack_size = thread_self()->altstack_size;
		child->altstack_flags = thread_self()->altstack_flags;
	}
	request->args.stack = child->stack_top - SHIM_STACK_SIZE;
	request->args.stack_size = SHIM_STACK_SIZE - FRAME_SIZE - 128;
	if (request->call[0] == __NR_clone)
		request->call[2] = (long)(request->args.stack + request->args.stack_size);
	mask = signal_mask_set(~0UL);
	child->call_mask = mask;
	child->volumes_of = counted = enclave.has_volumes && !(request->flags & CLONE_THREAD) ? thread_number() : 0;
	if (counted)
		child->volumes_serial = request->serial = volumes_clone_begin(false);
	result = gate_clone(request->call, child);
	if (counted)
		volumes_clone_end(request->serial, result, false);
	if (result < 0 || request->flags & CLONE_VFORK) {
		thread_scratch_free(child);
		memory_files_drop(child);
		thread_release(child);
	}
	signal_mask_set(mask);
	return result;
}

static long clone_by_flags(struct frame *frame, struct request *request)
{
	if (thread_self()->signal_pending)
		return -GATE_RESTART;
	if (enclave.has_volumes)
		TRY(volumes_namespace_check(__NR_clone, request->flags));
	if (request->flags & CLONE_VM)
		return clone_in_memory(frame, request);
	return fork_process(frame, request);
}

long sys_clone(struct frame *frame);
long sys_clone(struct frame *frame)
{
	struct request request = { .flags = frame->arg[0], .stack = frame->arg[1] };

	request.call[0] = __NR_clone;
	memcpy(request.call + 1, frame->arg, 5 * sizeof(long));
	if (!(request.flags & CLONE_VM))
		request.call[2] = 0;		/* the child leaves by the frame, which gets the program's stack */
	return clone_by_flags(frame, &request);
}

long sys_fork(struct frame *frame);
long sys_fork(struct frame *frame)
{
	struct request request = { .flags = 17, .call = { __NR_clone, 17 } };

	return clone_by_flags(frame, &request);
}

long sys_vfork(struct frame *frame);
long sys_vfork(struct frame *frame)
{
	struct request request = { .flags = CLONE_VM | CLONE_VFORK, .call = { __NR_clone, CLONE_VM | CLONE_VFORK | 17 } };

	return clone_by_flags(frame, &request);
}

long sys_clone3(struct frame *frame);
long sys_clone3(struct frame *frame)
{
	struct request request = { .args_size = frame->arg[1] };

	if (request.args_size < CLONE_ARGS_SIZE_VER0 || request.args_size > PAGE_SIZE)
		return request.args_size > PAGE_SIZE ? -E2BIG : -EINVAL;
	if (request.args_size > sizeof request.args)
		return -E2BIG;
	TRY(copy_guarded(&request.args, (void *)frame->arg[0], request.args_size));
	request.flags = request.args.flags;
	if (request.args.stack)
		request.stack = request.args.stack + request.args.stack_size;
	if (!(request.flags & CLONE_VM))
		request.args.stack = request.args.stack_size = 0;
	request.call[0] = __NR_clone3;
	request.call[1] = (long)&request.args;
	request.call[2] = (long)request.args_size;
	return clone_by_flags(frame, &request);
}

void stats_send(bool is_end)
{
	struct ring_stats of_ring;
	struct wire_stats sum;
	uint64_t *total = (uint64_t *)&sum, *sent = (uint64_t *)&stats_sent;

	memset(&sum, 0, sizeof sum);
	for (struct thread *each = thread_all(); each; each = each->next_all) {
		const uint64_t *part = (const uint64_t *)&each->stats;

		for (size_t i = 0; i < sizeof sum / 8; i++)
			total[i] += part[i];
	}
	for (size_t i = 0; i < CTL_CALL_COUNT; i++)
		sum.calls_by_route[call_shapes[i].route & 3] += sum.calls[i];
	ring_stats(&of_ring);
	sum.crossings = of_ring.crossings;
	sum.ring_spun = of_ring.spun;
	sum.ring_slept = of_ring.slept;
	sum.ring_by_uring = of_ring.by_uring;
	for (size_t i = 0; i < sizeof sum / 8; i++) {
		uint64_t all = total[i];

		total[i] -= sent[i];
		sent[i] = all;
	}
	control_stats(&sum, is_end);
}

long sys_exit(struct frame *frame);
long sys_exit(struct frame *frame)
{
	struct thread *thread = thread_self();
	const struct lane *lane = thread->lane;

	ring_thread_exit(thread);
	live_lane_free(lane);
	thread_exit(thread, (long)frame->arg[0]);
}

long sys_exit_group(struct frame *frame);
long sys_exit_group(struct frame *frame)
{
	if (!thread_self()->is_guest) {
		if (enclave.flags & FLAG_STATS)
			stats_send(true);
		ring_exit(thread_self());
	}
	for (;;)
		gate1(__NR_exit_group, frame->arg[0]);
}
