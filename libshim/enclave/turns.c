/*
 * turns.c - whether a thread's event-loop turns cross by the ring.
 *
 * Owns: measuring both ways, the choice, letting go of a helper without use. Must never: decide anything but speed: the
 * clocks are the host's word. Called by: epoll.c.
 *
 * What an event costs from turn to turn is measured by both ways, one after the other. The ring is taken for many turns when
 * in each of several such pairs less time passed by it, and hardly more of the cores' time was used: a twin is one more that
 * the scheduler gives a share, so on busy cores a thread gets on faster at the cost of all others, and of the machine. One
 * pair tells little, for what else runs there weighs more than the difference. Where turns bring few events, the gate it
 * is, without trying.
 *
 *   TRY_GATE ── TRY_RING ──┬─ TRY_GATE, when the ring was cheaper, until it was WINS times
 *                          └─ SETTLED ── TRY_GATE ...
 */
#include <linux/time.h>
#include "enclave.h"
#include "ring.h"
#include "stream.h"
#include "turns.h"
#include "untrusted.h"

enum { TURN_MANY = 4, TURNS_TRIED = 64, WINS = 4, TURNS_SETTLED = 8192, LOSSES_MAX = 6, PASSED_GAIN = 32, CORE_LOSS = 16,
       TURNS_RESTLESS = 16 };

enum turn_phase { TRY_GATE = 0, TRY_RING, SETTLED };

static uint64_t nanoseconds(const int64_t time[2])
{
	return (uint64_t)time[0] * 1000000000 + (uint64_t)time[1];
}

/* A core's time of this thread, and of its twin where that has a part in it. */
static uint64_t core_time(struct thread *thread, bool with_twin)
{
	int64_t own[2] = { 0 }, twin[2] = { 0 };
	long args[6] = { CLOCK_THREAD_CPUTIME_ID };
	void *place = with_twin && ring_attach(thread) ? lane_data(thread, sizeof twin) : NULL;

	gate2(__NR_clock_gettime, CLOCK_THREAD_CPUTIME_ID, own);
	if (!place)
		return nanoseconds(own);
	args[1] = (long)place;
	if (ring_call(thread, __NR_clock_gettime, args, RING_WAIT) == 0)
		copy_in(twin, place, sizeof twin);
	lane_data_release(thread);
	return nanoseconds(own) + nanoseconds(twin);
}

static void phase_begin(struct thread *thread, enum turn_phase phase, uint32_t count, bool by_ring)
{
	struct turns *turns = &thread->turns;

	turns->phase = (uint8_t)phase;
	turns->left = count;
	turns->by_ring = by_ring && ring_attach(thread);
	turns->events = 0;
	if (phase == TRY_RING)
		thread->posts = thread->posts_forced = thread->posts_paused = 0;
	if (phase == SETTLED)
		return;
	turns->start.core = core_time(thread, turns->by_ring);
	turns->start.passed = __builtin_ia32_rdtsc();
}

/* What an event of this phase has cost. */
static struct turn_cost cost_of(struct thread *thread)
{
	const struct turns *turns = &thread->turns;
	uint64_t passed = __builtin_ia32_rdtsc() - turns->start.passed;
	uint64_t core = core_time(thread, turns->by_ring) - turns->start.core;

	return (struct turn_cost) { passed / turns->events, core / turns->events };
}

/* After a pair of tries. */
static void pair_end(struct thread *thread, struct turn_cost ring)
{
	struct turns *turns = &thread->turns;
	struct turn_cost gate = turns->gate;
	bool is_won = ring.passed + ring.passed / PASSED_GAIN < gate.passed && ring.core <= gate.core + gate.core / CORE_LOSS;

	turns->wins = is_won ? turns->wins + 1u : 0;
	if (is_won)
		turns->losses = 0;
	else if (turns->losses < LOSSES_MAX)
		turns->losses++;
	if (is_won && turns->wins < WINS)
		phase_begin(thread, TRY_GATE, TURNS_TRIED, false);
	else
		phase_begin(thread, SETTLED, (uint32_t)TURNS_SETTLED << turns->losses, is_won);
}

/*
 * A helper that these turns have no use for is let go, once nobody is left with anything of it: if not now, then 256 turns
 * later. To make another costs what a fork does.
 */
static void helper_rest(struct turns *turns)
{
	bool is_of_use = turns->by_ring || turns->phase == TRY_RING ||
			 (turns->phase == TRY_GATE && turns->average >= TURN_MANY * 16) || thread_all()->next_all;

	turns->rest = is_of_use ? 0 : (uint8_t)(turns->rest + 1);
	if (turns->rest == TURNS_RESTLESS && stream_held_first() < 0)
		ring_rest();
}

static void phase_end(struct thread *thread)
{
	struct turns *turns = &thread->turns;

	if (turns->average < TURN_MANY * 16 || turns->phase == SETTLED || !turns->start.passed) {
		turns->wins = 0;
		phase_begin(thread, TRY_GATE, TURNS_TRIED, false);
	} else if (turns->phase == TRY_GATE) {
		turns->gate = cost_of(thread);
		phase_begin(thread, TRY_RING, TURNS_TRIED, true);
	} else {
		pair_end(thread, cost_of(thread));
	}
}

void turns_judge(struct thread *thread, long events)
{
	struct turns *turns = &thread->turns;

	if (events <= 0 || enclave.mode == MODE_SYNC || enclave.is_exit_dear)
		return;
	turns->average = (turns->average * 7 + (uint32_t)events * 16) / 8;
	turns->events += (uint32_t)events;
	if (unlikely(enclave.is_ringing))
		helper_rest(turns);
	if (!turns->left || !--turns->left)
		phase_end(thread);
}
