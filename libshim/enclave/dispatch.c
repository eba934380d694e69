/*
 * dispatch.c - from the doors to the handler of a call.
 *
 * Owns: the order of things for every call: allowed, counted, served, traced, restarted. Must never: know a particular
 * call. Called by: doors.S, on the shim's stack.
 */
#include <linux/time.h>
#include "dispatch.h"
#include "control.h"
#include "policy.h"
#include "shield.h"
#include "shim_abi.h"

long deny(uint32_t nr, uint32_t error)
{
	static uint64_t reported[CALL_COUNT / 64 + 1];
	uint32_t word = nr < CALL_COUNT ? nr / 64 : CALL_COUNT / 64;
	uint64_t bit = nr < CALL_COUNT ? 1UL << nr % 64 : 1;

	thread_self()->stats.denied++;
	if (!(__atomic_fetch_or(&reported[word], bit, __ATOMIC_RELAXED) & bit))
		control_event(CTL_EVENT_DENIED, nr < CALL_COUNT ? nr : ~0u,
			      nr < CALL_COUNT && call_shapes[nr].name ? call_shapes[nr].name : "?");
	return -(long)error;
}

static inline bool is_allowed(uint32_t nr)
{
	return shim_image.calls[nr / 64] & 1UL << nr % 64;
}

static long serve(struct frame *frame, uint32_t nr)
{
	const struct call_shape *shape = &call_shapes[nr];

	if (unlikely(enclave.has_policy)) {	/* what the spec denies it denies too, and what does not exist */
		long result = policy_serve(frame, shape);

		if (result != -SHIELD_PLAIN)
			return result;
	}
	if (unlikely(shape->route == ROUTE_DENY))
		return deny(nr, shape->deny_errno ? shape->deny_errno : ENOSYS);
	if (unlikely(!is_allowed(nr)))
		return deny(nr, ENOSYS);
	if (unlikely(enclave.has_shields)) {
		long result = shield_serve(frame, shape);

		if (result != -SHIELD_PLAIN)
			return result;
	}
	return shape->handler(frame);
}

static uint64_t now_ns(void)
{
	int64_t time[2] = { 0, 0 };

	gate2(__NR_clock_gettime, CLOCK_MONOTONIC, time);
	return (uint64_t)time[0] * 1000000000 + (uint64_t)time[1];
}

static long serve_traced(struct frame *frame, uint32_t nr)
{
	const uint64_t *by_ring = &thread_self()->stats.calls_by_exit[WIRE_EXIT_RING];
	uint64_t arg[6], start = now_ns(), before = *by_ring;
	long result;

	memcpy(arg, frame->arg, sizeof arg);
	if (nr == __NR_exit_group || nr == __NR_execve || nr == __NR_exit || nr == __NR_execveat)
		trace_call(frame, arg, nr, 0, WIRE_EXIT_GATE, 0);	/* it may not come back */
	result = serve(frame, nr);
	if (result != -GATE_RESTART && (!(enclave.flags & FLAG_TRACE_FAILING) || result < 0))
		trace_call(frame, arg, nr, result, *by_ring != before ? WIRE_EXIT_RING : WIRE_EXIT_GATE, now_ns() - start);
	return result;
}

long dispatch(struct frame *frame)
{
	struct thread *thread = thread_self();
	uint32_t nr = (uint32_t)frame->nr;
	long result;

	thread->stats.calls_by_door[frame->door & 3]++;
	if (unlikely(nr >= CALL_COUNT))
		return enclave.has_policy ? policy_serve_unknown(nr) : deny(nr, ENOSYS);
	thread->stats.calls[nr]++;
	thread->stats.calls_by_route[call_shapes[nr].route & 3]++;
	result = unlikely(enclave.flags & FLAG_TRACE) ? serve_traced(frame, nr) : serve(frame, nr);
	if (unlikely(result == -GATE_RESTART)) {
		frame->rip = frame->retry;
		return nr;
	}
	return result;
}
