/*
 * ring_lie.h - the lies about words of the ring that a lying helper tells, and how the victim arms one.
 *
 * Owns: the list of lies with the endings that each may have; struct ring_lie, which lies in the control page of the
 * ring, where the helper finds it. Must never: be part of a product. Used by: lying_twin.c (in the helper), ring_liar.c
 * (in the enclave), ring_victim.c (the program), test_ring_lies.py (reads the list).
 */
#ifndef HOSTILE_RING_LIE_H
#define HOSTILE_RING_LIE_H

#include <stdint.h>

enum { RING_LIE_HANDLE = -770078 };	/* read(RING_LIE_HANDLE, kind, RING_LIE_ARM) or (.., count, RING_LIE_TOLD) */
enum { RING_LIE_ARM = 4, RING_LIE_TOLD = 5 };

/* GOES_ON: errnos alone; STOPS: status 120; EITHER of both; WAITS: until a signal ends it; ANY of all. */
#define RING_LIES(LIE) \
	LIE(done_word_of_the_future, STOPS) \
	LIE(done_word_of_the_far_future, STOPS) \
	LIE(done_word_of_the_past, STOPS) \
	LIE(done_word_at_random, STOPS) \
	LIE(done_word_before_the_call, EITHER) \
	LIE(done_word_that_flips, EITHER) \
	LIE(no_completion, WAITS) \
	LIE(completion_in_another_lane, ANY) \
	LIE(result_of_an_earlier_call, EITHER) \
	LIE(result_at_random, EITHER) \
	LIE(result_that_says_not_begun, STOPS) \
	LIE(result_that_says_again, STOPS) \
	LIE(result_that_flips, EITHER) \
	LIE(data_that_flips, EITHER) \
	LIE(post_tail_of_the_future, GOES_ON) \
	LIE(post_tail_backwards, GOES_ON) \
	LIE(post_tail_that_never_moves, ANY) \
	LIE(post_results_at_random, ANY) \
	LIE(post_error_that_no_call_has, ANY) \
	LIE(backlog_at_random, ANY) \
	LIE(backlog_that_stays, ANY) \
	LIE(backlog_slots_at_random, ANY) \
	LIE(backlog_slots_all_in_use, ANY) \
	LIE(backlog_slots_never_in_use, ANY) \
	LIE(backlog_that_closes_or_shuts, EITHER) \
	LIE(aheads_too_many, STOPS) \
	LIE(ahead_of_no_event, STOPS) \
	LIE(ahead_too_long, STOPS) \
	LIE(ahead_in_a_buffer_not_offered, STOPS) \
	LIE(ahead_in_no_buffer, STOPS) \
	LIE(aheads_in_one_buffer, STOPS) \
	LIE(ahead_twice_for_one_event, STOPS) \
	LIE(ahead_error_that_no_call_has, GOES_ON) \
	LIE(turn_of_more_events_than_room, EITHER) \
	LIE(events_at_random, EITHER) \
	LIE(events_of_nobodys, EITHER) \
	LIE(control_words_at_random, GOES_ON) \
	LIE(descriptor_marks_at_random, EITHER) \
	LIE(twin_words_at_random, GOES_ON) \
	LIE(twin_state_of_no_twin, GOES_ON) \
	LIE(everything_at_random, EITHER)

#define RING_LIE_NAME(name, ending) LIE_##name,
enum ring_lie_kind { LIE_NONE, RING_LIES(RING_LIE_NAME) LIE_COUNT };
#undef RING_LIE_NAME

struct ring_lie {
	uint32_t kind;
	uint32_t told;		/* times */
	uint32_t seed;
	uint32_t has_thread;	/* pid of the helper with the one that changes words again and again */
};

#endif
