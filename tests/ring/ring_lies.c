/*
 * ring_lies.c - a host that lies, one lie a run: ring_lies LIE.
 *
 * Owns: a thread that plays the twin on a lane whose real twin never comes. Run by: test_ring.py, plain and sanitized.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#undef PAGE_SIZE
#include "support.h"
#include "ring_inner.h"

static struct wire_lane *wire;
static const char *lie;

static bool tells(const char *name)
{
	return strcmp(lie, name) == 0;
}

static void ahead_put(uint32_t index, uint32_t event, uint32_t buffer, int32_t result)
{
	wire->ahead[index] = (struct wire_ahead){ event, buffer, result, 0 };
}

static void turn_reply(void)
{
	wire->result = 2;
	wire->ahead_count = tells("too_many_aheads") ? AHEAD_COUNT + 1 : 2;
	ahead_put(0, 0, 3, 100);
	ahead_put(1, 1, 4, 100);
	if (tells("an_ahead_for_no_event"))
		ahead_put(1, 2, 4, 100);
	if (tells("an_ahead_that_is_too_long"))
		ahead_put(1, 1, 4, AHEAD_SIZE + 1);
	if (tells("an_ahead_in_a_buffer_not_offered"))
		ahead_put(1, 1, 7, 100);
	if (tells("two_aheads_in_one_buffer"))
		ahead_put(1, 1, 3, 100);
}

static void *liar(void *unused)
{
	uint32_t served = wire->done & ~WORD_ASLEEP, word;

	for (;;) {
		while ((word = __atomic_load_n(&wire->request, __ATOMIC_ACQUIRE) & ~WORD_ASLEEP) == served)
			usleep(10);
		served = word;
		wire->result = tells("a_result_that_says_cancelled") ? RING_NOT_BEGUN : 0;
		if (wire->kind == REQUEST_TURN_EPOLL)
			turn_reply();
		word = tells("a_completion_of_the_future") ? served + 2 : served;
		word = tells("a_completion_of_the_past") ? served - 4 : word;
		__atomic_store_n(&wire->done, word, __ATOMIC_SEQ_CST);
		gate3(__NR_futex, &wire->done, FUTEX_WAKE, 1);
	}
	return unused;
}

static void turn(struct thread *thread)
{
	struct ring_ahead ahead[64];
	long args[6] = { 0, (long)lane_data(thread, 2 * sizeof(struct epoll_event)), 2, 0 };
	size_t count;

	thread->lane->ahead_busy = 1ul << 7;
	CHECK(ring_turn(thread, __NR_epoll_wait, args, RING_EINTR, ahead, &count) == 2);
	CHECK(count == 2 && ahead[1].size == 100);
}

/* Posts whose fate the host tells wrongly: no index of the enclave's moves beyond what was posted. */
static void posts(struct thread *thread)
{
	struct lane *lane = thread->lane;

	CHECK(ring_post(thread, 100, "abc", 3, 0) == 3);
	wire->post[0].result = tells("a_post_result_out_of_range") ? -100000 : POST_BACKLOG;
	wire->post_tail = tells("a_post_tail_of_the_future") ? 1000 : 1;
	wire->backlog[0] = (struct wire_backlog){ .state = BACKLOG_FAILED, .fd = -5, .result = -5 };
	wire->backlog[1] = (struct wire_backlog){ .state = BACKLOG_FAILED, .fd = 1 << 30, .result = 5 };
	if (tells("a_post_result_out_of_range"))
		CHECK(ring_post_state(100) == -EIO);
	else
		CHECK(ring_post_state(100) >= 0);
	CHECK(lane->post_head == 1 && lane->post_tail <= 1);
	for (int i = 0; i < 1000; i++)
		CHECK(ring_post(thread, 100, "abc", 3, 0) != 0);
	CHECK(lane->post_head - lane->post_tail <= POST_COUNT);
	CHECK(lane->byte_head - lane->byte_tail <= POST_BYTES);
}

int main(int count, char **names)
{
	struct thread *thread = test_thread();
	long args[6] = { 0 };
	pthread_t twin;

	CHECK(count == 2);
	lie = names[1];
	CHECK(ring_attach(thread));
	CHECK(ring_call(thread, __NR_getpid, args, RING_WAIT) == ring_helper_pid());
	wire = thread->lane->wire;
	thread->lane->wire = wire = (struct wire_lane *)((uint8_t *)wire + LANE_SIZE);	/* one that has no twin */
	wire->request = wire->done = thread->lane->sequence;
	if (strstr(lie, "post") || strstr(lie, "backlog")) {
		posts(thread);
		puts("ok");
		return 0;
	}
	pthread_create(&twin, NULL, liar, NULL);
	if (strstr(lie, "ahead"))
		turn(thread);
	CHECK(ring_call(thread, __NR_getpid, args, RING_RESTART) == 0);
	puts("ok");
	return 0;
}
