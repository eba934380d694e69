/*
 * dispatch.c - from the doors to the handler of a call.
 *
 * Owns: the order of things for every call: allowed, counted, served, traced, restarted. Must never: know a particular
 * call. Called by: doors.S, on the shim's stack.
 */
#include <linux/time.h>
#include "dispatch.h"
#include "control.h"
#include "live.h"
#include "policy.h"
#include "shield.h"
#include "shim_abi.h"
#include "volumes.h"

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

/* Who serves each number: its handler, or refuse() for what is denied or what the binary can't make. */
static long (*servers[CALL_COUNT])(struct frame *frame);

static long refuse(struct frame *frame)
{
	uint32_t nr = (uint32_t)frame->nr;

	return deny(nr, call_shapes[nr].route == ROUTE_DENY && call_shapes[nr].deny_errno ? call_shapes[nr].deny_errno : ENOSYS);
}

/* sys_pass() would choose the gate for some rows each time. */
static long (*server_of(const struct call_shape *shape))(struct frame *frame)
{
	if (shape->handler == sys_pass && (enclave.mode == MODE_SYNC || shape->route != ROUTE_HOST || shape->exit == EXIT_GATE))
		return pass_by_gate;
	return shape->handler;
}

void dispatch_start(void)
{
	for (uint32_t nr = 0; nr < CALL_COUNT; nr++) {
		bool is_allowed = call_shapes[nr].route != ROUTE_DENY && shim_image.calls[nr / 64] & 1UL << nr % 64;

		servers[nr] = is_allowed ? server_of(&call_shapes[nr]) : refuse;
	}
	enclave.is_watched = enclave.flags & (FLAG_TRACE | FLAG_LIVE);
}

long dispatch_asked(struct frame *frame, uint32_t nr)
{
	long result = enclave.has_shields ? shield_serve(frame, &call_shapes[nr]) : -SHIELD_PLAIN;

	return result == -SHIELD_PLAIN ? servers[nr](frame) : result;
}

long dispatch_on(struct frame *frame, uint32_t nr)
{
	long result = -SHIELD_PLAIN;

	if (enclave.has_policy)	/* what the spec denies it denies too, and what does not exist */
		result = policy_serve(frame, &call_shapes[nr]);
	return result == -SHIELD_PLAIN ? dispatch_asked(frame, nr) : result;
}

/* Where there is a policy, a shield or a volume: they come first. */
static long serve(struct frame *frame, uint32_t nr)
{
	if (enclave.has_volumes && volumes_meet(nr))
		return volumes_serve(frame, &call_shapes[nr]);
	return dispatch_on(frame, nr);
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

/* What somebody outside looks at. */
static __attribute__((noinline)) long serve_watched(struct frame *frame, uint32_t nr)
{
	uint64_t start = live_begin();
	long result = enclave.flags & FLAG_TRACE ? serve_traced(frame, nr) : serve(frame, nr);

	if (enclave.flags & FLAG_LIVE && result != -GATE_RESTART)
		live_end(thread_self(), nr, start);
	return result;
}

/* Ends in a jump, as the handlers do as far as they can: after a system call some processors foresee no return. */
long dispatch(struct frame *frame)
{
	struct thread *thread = thread_self();
	uint32_t nr = (uint32_t)frame->nr;

	thread->stats.calls_by_door[frame->door & 3]++;
	if (unlikely(nr >= CALL_COUNT))
		return enclave.has_policy ? policy_serve_unknown(nr) : deny(nr, ENOSYS);
	thread->stats.calls[nr]++;
	return unlikely(enclave.is_watched) ? serve_watched(frame, nr) : servers[nr](frame);
}
