/*
 * pass.c - the handler of every row without one of its own.
 *
 * Owns: the synchronous exit and the choice between the exits. Must never: give the program a result that check.c has
 * not seen. Called by: dispatch.c; handlers that hand a call on.
 */
#include "alive.h"
#include "dispatch.h"
#include "check.h"
#include "marshal.h"
#include "policy.h"
#include "predicates.h"
#include "ring.h"
#include "stream.h"

enum { SOCKADDR_MAX = 128, STRUCT_MAX = 1024 };

static inline void exit_cost_burn(void)
{
	uint64_t end = __builtin_ia32_rdtsc() + enclave.exit_cost;

	while (__builtin_ia32_rdtsc() < end)
		__builtin_ia32_pause();
}

static void extra_do(const struct call_shape *shape)
{
	if (enclave.is_unwatched && shape->flags & CALL_MAY_BLOCK)
		alive_watch();
	if (enclave.exit_cost && shape->route == ROUTE_HOST)
		exit_cost_burn();
}

/* The size of an address that the kernel put into the program's memory. */
static long address_check(uint32_t nr, const uint64_t *arg, uint32_t size_arg)
{
	uint32_t size;

	if (!arg[size_arg])
		return 0;
	TRY(copy_guarded(&size, (void *)arg[size_arg], sizeof size));
	return size > SOCKADDR_MAX ? check_refuse(nr, "an address size", size) : 0;
}

/* By a copy: a host that lies may say that it filled memory which isn't there. */
static long filled_check(uint32_t nr, const struct arg_shape *at, uint64_t address)
{
	uint8_t copy[STRUCT_MAX];

	if (at->size > sizeof copy)
		die("a struct of the spec is larger than the checker's");
	TRY(copy_guarded(copy, (const void *)address, at->size));
	return check_struct(nr, at, copy, 1);
}

/* Out structs lie in the program's memory already (the kernel put them there): refused ones are an error. */
static long check_in_place(uint32_t nr, const struct call_shape *shape, const uint64_t *arg, long result)
{
	for (uint32_t left = shape->checked_args; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(left);
		const struct arg_shape *at = &shape->arg[i];
		bool is_counted = shape->result == RESULT_COUNT || shape->result == RESULT_AT_MOST;

		if (!arg[i])
			continue;
		if (at->kind == ARG_OUT_SOCKADDR)
			TRY(address_check(nr, arg, at->size_arg));
		else if (at->kind == ARG_OUT || at->kind == ARG_INOUT)
			TRY(check_struct(nr, at, (void *)arg[i], is_counted ? (size_t)result : arg[at->size_arg]));
		else
			TRY(filled_check(nr, at, arg[i]));
	}
	return result;
}

long pass_renewing(struct frame *frame)
{
	struct thread *thread = thread_self();
	const uint64_t *arg = frame->arg;
	bool has_helper = enclave.mode == MODE_ASYNC && !thread->is_guest;
	long result;

	if (has_helper)
		TRY(ring_stop(thread));
	result = gate6((long)frame->nr, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], (long)arg[4], (long)arg[5]);
	if (has_helper)
		ring_resume();
	return result;
}

/* Could somebody act on this call before what was written earlier is with the kernel? */
static bool is_seen_outside(uint32_t nr, const struct call_shape *shape)
{
	return shape->route == ROUTE_HOST || shape->flags & CALL_MAY_BLOCK || nr == __NR_kill || nr == __NR_tgkill ||
	       nr == __NR_tkill || nr == __NR_rt_sigqueueinfo || nr == __NR_rt_tgsigqueueinfo;
}

/* Did the kernel write what is to be checked? */
static inline bool has_written(const struct call_shape *shape, const uint64_t *arg)
{
	for (uint32_t left = shape->checked_args; left; left &= left - 1)
		if (arg[__builtin_ctz(left)])
			return true;
	return false;
}

/* What most results are: check_result() would say the same, after a call and a jump that no processor foresees here. */
static inline bool is_plainly_believed(const struct call_shape *shape, const uint64_t *arg, long result)
{
	if (result < 0)
		return false;
	if (shape->result == RESULT_AT_MOST)
		return (uint64_t)result <= arg[shape->result_arg];
	return result == 0 ? shape->result == RESULT_ZERO : shape->result == RESULT_FD && result <= FD_MAX;
}

/* Of a reply that is not, or of one with more to it. */
static __attribute__((noinline)) HOT long reply_check(struct frame *frame, const struct call_shape *shape, long result)
{
	const uint64_t *arg = frame->arg;
	uint32_t nr = (uint32_t)frame->nr;

	if (!is_plainly_believed(shape, arg, result))
		result = check_result(nr, shape, arg, result);
	return result < 0 ? result : check_in_place(nr, shape, arg, result);
}

/* What few calls need before they go out. True: *result is the call's. */
static __attribute__((noinline)) bool prepare_exit(struct frame *frame, const struct call_shape *shape, long *result)
{
	struct thread *thread = thread_self();

	if (thread->has_posted && is_seen_outside((uint32_t)frame->nr, shape))
		stream_flush(thread);
	if (shape->flags & CALL_RENEWS_HELPER && enclave.mode == MODE_ASYNC && !thread->is_guest) {
		*result = pass_renewing(frame);
		return true;
	}
	if (enclave.has_extra)
		extra_do(shape);
	return false;
}

static __attribute__((noinline)) HOT long exit_checked(struct frame *frame, const struct call_shape *shape)
{
	long result = gate_frame(frame);

	thread_self()->stats.calls_by_exit[WIRE_EXIT_GATE]++;
	if (likely(is_plainly_believed(shape, frame->arg, result) && !has_written(shape, frame->arg)))
		return result;
	return reply_check(frame, shape, result);
}

static inline long exit_now(struct frame *frame, const struct call_shape *shape)
{
	return shape->route == ROUTE_HOST ? exit_checked(frame, shape) : gate_frame(frame);
}

static __attribute__((noinline)) long exit_prepared(struct frame *frame, const struct call_shape *shape)
{
	long result;

	return prepare_exit(frame, shape, &result) ? result : exit_now(frame, shape);
}

/* Such that what most calls need is all that is done for them: each register that is saved for the others costs. */
long exit_by_gate(struct frame *frame, const struct call_shape *shape)
{
	if (unlikely(thread_self()->has_posted || enclave.has_extra || shape->flags & CALL_RENEWS_HELPER))
		return exit_prepared(frame, shape);
	return exit_now(frame, shape);
}

long pass_steadily(struct frame *frame)
{
	const struct call_shape *shape = &call_shapes[(uint32_t)frame->nr];
	const uint64_t *arg = frame->arg;
	long result;

	if (enclave.has_extra)
		extra_do(shape);
	result = gate6((long)frame->nr, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], (long)arg[4], (long)arg[5]);
	thread_self()->stats.calls_by_exit[WIRE_EXIT_GATE]++;
	return reply_check(frame, shape, result);
}

/* The one place where a call goes out and its reply comes back, whichever way it takes. */
static inline long leave(struct frame *frame, const struct call_shape *shape, way_out way)
{
	return likely(!shape->believe) ? way(frame, shape) : believe(frame, shape, way);
}

long pass_by_gate(struct frame *frame)
{
	return leave(frame, &call_shapes[(uint32_t)frame->nr], exit_by_gate);
}

static __attribute__((noinline)) long pass_governed(struct frame *frame, const struct call_shape *shape)
{
	return leave(frame, shape, policy_is_inside((uint32_t)frame->nr) ? exit_by_gate : exit_by_ring);
}

long pass_shaped(struct frame *frame, const struct call_shape *shape)
{
	struct thread *thread = thread_self();

	if (enclave.mode == MODE_SYNC || shape->route != ROUTE_HOST || shape->exit == EXIT_GATE || thread->gate_only ||
	    (!enclave.is_exit_dear && !thread->has_posted))	/* alone, a crossing costs more than an exit */
		return leave(frame, shape, exit_by_gate);
	if (unlikely(enclave.has_policy))
		return pass_governed(frame, shape);
	return leave(frame, shape, exit_by_ring);
}

long sys_pass(struct frame *frame)
{
	return pass_shaped(frame, &call_shapes[(uint32_t)frame->nr]);
}
