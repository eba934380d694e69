/*
 * turns_cases.c - when event-loop turns cross by the ring: turns_cases CASE.
 *
 * Owns: turns that cost what a case says, so that both ways differ by far more than the machine's noise. Run by: test_ring.py.
 */
#include <stdio.h>
#include <string.h>
#undef PAGE_SIZE
#include "support.h"

enum { MANY = 16, DEAR = 2000000, LONG = 20000, TRIED_AGAIN = 9000 };
	/* events a turn; cycles of a turn; more turns than any try; as many as the gate is kept for after the first try */

static struct thread *me;
static const struct { int64_t seconds, nanoseconds; } rest = { 0, 1000000 };

static void burn(uint64_t cycles)
{
	uint64_t end = __builtin_ia32_rdtsc() + cycles;

	while (__builtin_ia32_rdtsc() < end)
		;
}

/* Turns of `events`, of which one costs as much as it is said for its way: how many began by the ring, the longest run. */
static uint32_t longest_run(uint32_t turns, long events, uint64_t gate_cycles, uint64_t ring_cycles)
{
	uint32_t run = 0, longest = 0;

	for (uint32_t i = 0; i < turns; i++) {
		run = me->turns.by_ring ? run + 1 : 0;
		longest = run > longest ? run : longest;
		burn(me->turns.by_ring ? ring_cycles : gate_cycles);
		turns_judge(me, events);
	}
	return longest;
}

static void few_events_are_never_tried_by_the_ring(void)
{
	CHECK(longest_run(LONG, 1, 0, 0) == 0);
}

static void a_dear_ring_is_left_after_one_try(void)
{
	uint32_t tried = longest_run(400, MANY, 0, DEAR);

	CHECK(tried > 0 && tried < 100);
	CHECK(longest_run(8000, MANY, 0, DEAR) == 0);
	CHECK(!ring_helper_pid());		/* nobody else has a use for it */
	longest_run(TRIED_AGAIN, MANY, 0, 0);
	CHECK(me->turns.losses == 2 || me->turns.wins);
}

static void a_cheap_ring_is_taken_for_long(void)
{
	CHECK(longest_run(1000, MANY, DEAR, 0) > 200);
	CHECK(longest_run(4000, MANY, 0, 0) == 4000);
}

/* The ring's turns cost no core's time, but take long. */
static void a_slow_ring_is_left_too(void)
{
	for (uint32_t i = 0, run = 0; i < 1000; i++) {
		run = me->turns.by_ring ? run + 1 : 0;
		CHECK(run < 100);
		if (me->turns.by_ring)
			gate2(__NR_nanosleep, &rest, 0);
		else
			burn(DEAR / 10);
		turns_judge(me, MANY);
	}
	CHECK(me->turns.losses == 1);
}

/* The gate's turns take long, but no core's time; the ring's take less of the one and more of the other. */
static void time_won_by_a_core_s_time_does_not_count(void)
{
	for (uint32_t i = 0, run = 0; i < 1000; i++) {
		run = me->turns.by_ring ? run + 1 : 0;
		CHECK(run < 100);
		if (me->turns.by_ring)
			burn(DEAR / 2);
		else if (i < 600)
			gate2(__NR_nanosleep, &rest, 0);
		turns_judge(me, MANY);
	}
	CHECK(me->turns.losses == 1);
}

#define CASE(name) { #name, name }
static const struct { const char *name; void (*run)(void); } cases[] = {
	CASE(few_events_are_never_tried_by_the_ring),
	CASE(a_dear_ring_is_left_after_one_try),
	CASE(a_cheap_ring_is_taken_for_long),
	CASE(a_slow_ring_is_left_too),
	CASE(time_won_by_a_core_s_time_does_not_count),
};

int main(int count, char **names)
{
	me = test_thread();
	enclave.mode = MODE_ASYNC;
	CHECK(ring_attach(me));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (count != 2 || strcmp(names[1], cases[i].name) != 0)
			continue;
		cases[i].run();
		ring_exit(me);
		puts("ok");
		return 0;
	}
	return 2;
}
