/*
 * lying_twin.c - the helper's thread that serves a lane, and lies: the real twin.c with other words behind its back.
 *
 * Owns: what each lie of ring_lie.h changes, and the thread that changes words again and again. Must never: be linked
 * into the real shim, or touch anything but the ring (host.h says why). Used by: tests/hostile/build.py, which puts it
 * in the place of twin.c.
 *
 *   serve ── lie_posts ── the call ── lie_ahead ── lie_done ──► the words that the enclave reads
 *                                     lie_forever (a thread) ──► the same words at any moment
 */
#include <linux/eventpoll.h>
#include <linux/sched.h>
#include "../enclave/frame.h"
#include "host.h"
#include "ring_lie.h"

enum { LIAR_STACK_TOP = 0x40000, FLIP_NS = 20000, FLIPS = 16, LANES_MAX = 16 };

/* What the liar remembers of a lane, where nobody looks. */
struct kept {
	uint32_t lock, has_tail, tail, result;	/* of the posts, honestly */
	struct wire_control *control;
};

INLINE struct ring_lie *lie_of(struct wire_control *control)
{
	return (struct ring_lie *)control->padding;
}

INLINE bool is_lie(struct wire_control *control, uint32_t kind)
{
	struct ring_lie *lie = lie_of(control);

	if (load32(&lie->kind) != kind)
		return false;
	__atomic_fetch_add(&lie->told, 1, __ATOMIC_RELAXED);
	return true;
}

INLINE uint32_t chance(struct wire_control *control)
{
	uint32_t *seed = &lie_of(control)->seed, value = *seed;

	value ^= value << 13;
	value ^= value >> 17;
	value ^= value << 5;
	return *seed = value;
}

INLINE struct kept *kept_of(struct wire_lane *lane)
{
	return (struct kept *)((uint8_t *)lane + sizeof *lane + 64);
}

INLINE uint32_t used_lanes(struct wire_control *control)
{
	uint32_t count = 0;

	while (count < LANES_MAX && kept_of(control_lane(control, count))->control)
		count++;
	return count;
}

/* Values at the edges of what is believed, and beyond. */
static HOST int64_t edge(struct wire_control *control)
{
	uint32_t which = chance(control) % 12;

	if (which < 2)
		return -(int64_t)(chance(control) % 4096);
	if (which == 2)
		return -4096;
	if (which == 3)
		return INT64_MIN;
	if (which == 4)
		return INT64_MAX;
	if (which == 5)
		return 0x7fffffff;
	if (which == 6)
		return (int64_t)1 << 32;
	if (which == 7)
		return 1000;
	return chance(control) % 8192;
}

static HOST int64_t edge_not_512(struct wire_control *control)
{
	int64_t value = edge(control);

	return value == RING_NOT_BEGUN ? -1000 : value;
}

/* ---- posts ---- */

static HOST void backlog_lie(struct wire_control *control, struct wire_lane *lane)
{
	if (is_lie(control, LIE_backlog_at_random))
		for (uint32_t i = 0; i < BACKLOG_COUNT; i++)
			lane->backlog[i] = (struct wire_backlog){ .state = chance(control) % 5, .result = (int32_t)edge_not_512(control),
				.fd = chance(control) % 4 ? (int32_t)(chance(control) % 32) : (int32_t)edge(control) };
}

/* Nothing is left to be sent: what is said to come after that happens at once, to the program's own descriptors. */
static HOST void after_lie(struct wire_control *control, struct wire_lane *lane)
{
	for (uint32_t i = 0; i < BACKLOG_COUNT; i++) {
		if (!lane->post[i].fd || chance(control) % 8 || !is_lie(control, LIE_backlog_that_closes_or_shuts))
			continue;
		lane->backlog[i] = (struct wire_backlog){ .state = BACKLOG_BUSY, .fd = lane->post[i].fd, .after = chance(control) };
		__atomic_fetch_or(&lane->backlog_used, 1ul << i, __ATOMIC_SEQ_CST);
	}
}

static HOST void slots_lie(struct wire_control *control, struct wire_lane *lane)
{
	uint64_t some = (uint64_t)chance(control) << 32 | chance(control);

	if (is_lie(control, LIE_backlog_slots_at_random))
		__atomic_store_n(&lane->backlog_used, some, __ATOMIC_SEQ_CST);
	if (is_lie(control, LIE_backlog_slots_all_in_use))
		__atomic_store_n(&lane->backlog_used, ~0ul, __ATOMIC_SEQ_CST);
	if (is_lie(control, LIE_backlog_slots_never_in_use))
		__atomic_store_n(&lane->backlog_used, 0, __ATOMIC_SEQ_CST);
}

static HOST void results_lie(struct wire_control *control, struct wire_lane *lane)
{
	for (uint32_t i = 0; i < POST_COUNT; i++) {
		if (is_lie(control, LIE_post_results_at_random))
			lane->post[i].result = (int32_t)edge_not_512(control);
		if (is_lie(control, LIE_post_error_that_no_call_has))
			lane->post[i].result = -4000;
		if (is_lie(control, LIE_backlog_that_stays))
			lane->post[i].result = POST_BACKLOG;
	}
}

/* An earlier helper may have been ended while it had the lock: its pid stands there. */
static HOST void tail_lock(struct kept *kept)
{
	uint32_t helper = (uint32_t)host_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0), owner;

	do {
		pause_cpu();
		owner = load32(&kept->lock);
	} while (owner == helper || !change32(&kept->lock, owner, helper));
}

/* The real tail is kept aside: the helper itself goes on honestly. */
static HOST void lie_posts(struct wire_control *control, struct wire_lane *lane)
{
	struct kept *kept = kept_of(lane);

	tail_lock(kept);
	if (kept->has_tail)
		lane->post_tail = kept->tail;
	posts_serve(control, lane);
	kept->tail = lane->post_tail;
	kept->has_tail = 1;
	if (is_lie(control, LIE_post_tail_that_never_moves))
		store32(&lane->post_tail, 0);
	results_lie(control, lane);
	backlog_lie(control, lane);
	after_lie(control, lane);
	store32(&kept->lock, 0);
}

static HOST void tail_flip(struct wire_control *control, struct wire_lane *lane)
{
	struct kept *kept = kept_of(lane);

	tail_lock(kept);
	if (!kept->has_tail) {
		kept->tail = lane->post_tail;
		kept->has_tail = 1;
	}
	if (chance(control) % 4 == 0)
		store32(&lane->post_tail, kept->tail);
	else if (is_lie(control, LIE_post_tail_of_the_future))
		store32(&lane->post_tail, load32(&lane->post_head) + 1 + chance(control) % 4000);
	else if (is_lie(control, LIE_post_tail_backwards))
		store32(&lane->post_tail, kept->tail - chance(control) % 70);
	store32(&kept->lock, 0);
}

/* ---- turns ---- */

static HOST void aheads_lie(struct wire_control *control, struct wire_lane *lane)
{
	struct wire_ahead *last = &lane->ahead[lane->ahead_count - 1];

	if (is_lie(control, LIE_ahead_of_no_event))
		last->event = (uint32_t)lane->result + chance(control) % 3;
	if (is_lie(control, LIE_ahead_too_long))
		last->result = AHEAD_SIZE + 1;
	if (is_lie(control, LIE_ahead_in_no_buffer))
		last->buffer = AHEAD_COUNT + chance(control) % 100;
	if (is_lie(control, LIE_ahead_error_that_no_call_has))
		last->result = -4000;
	if (is_lie(control, LIE_ahead_in_a_buffer_not_offered) && last->result > 0)
		lane->ahead[lane->ahead_count++] = (struct wire_ahead){ last->event, last->buffer, 1, 0 };
	if (is_lie(control, LIE_ahead_twice_for_one_event) && lane->ahead_free)
		lane->ahead[lane->ahead_count++] =
			(struct wire_ahead){ last->event, (uint32_t)__builtin_ctzl(lane->ahead_free), 1, 0 };
	if (is_lie(control, LIE_aheads_in_one_buffer) && last->result > 0)
		for (uint32_t i = 0; i < 2; i++)
			lane->ahead[lane->ahead_count++] = (struct wire_ahead){ last->event, 63, 1, 0 };
}

static HOST void events_lie(struct wire_control *control, struct epoll_event *events, long count)
{
	for (long i = 0; i < count; i++) {
		if (is_lie(control, LIE_events_of_nobodys))
			events[i].data ^= 1ul << 61;
		if (!is_lie(control, LIE_events_at_random))
			continue;
		events[i].data ^= (uint64_t)chance(control) << (chance(control) % 33);
		events[i].events = chance(control);
	}
}

static HOST void lie_ahead(struct wire_control *control, struct wire_lane *lane, long count)
{
	ahead_serve(control, lane, count);
	if (lane->ahead_count)
		aheads_lie(control, lane);
	if (count > 0 && is_lie(control, LIE_aheads_too_many))
		lane->ahead_count = AHEAD_COUNT + 1;
	if (is_lie(control, LIE_turn_of_more_events_than_room))
		lane->result = 140000000;
	if (lane->kind == REQUEST_TURN_EPOLL)
		events_lie(control, (struct epoll_event *)lane->args[1], count);
}

/* ---- words that change at any moment ---- */

/* One of those that the helper writes, but those that would end it all at once, or break the helper itself. */
INLINE uint32_t scrambled_word(uint32_t any)
{
	any %= 16 + 256;
	if (any >= 16)
		return offsetof(struct wire_lane, ahead) / 4 + any - 16;
	if (any < 8)
		return offsetof(struct wire_lane, ahead_count) / 4 + any % 3;		/* and the result */
	return any < 12 ? offsetof(struct wire_lane, cancels_seen) / 4 + any % 2 :	/* and the twin's tid */
	       offsetof(struct wire_lane, uring_state) / 4 + any % 2;			/* and its count of calls */
}

/* No '/': the twin uses what lies there for paths too, and none may lead out of the test's own folder. */
INLINE uint32_t without_slash(uint32_t word)
{
	for (uint32_t at = 0; at < 32; at += 8)
		if ((word >> at & 255) == '/')
			word ^= 1u << at;
	return word;
}

static HOST void words_flip(struct wire_control *control, struct wire_lane *lane)
{
	uint32_t request = load32(&lane->request) & ~WORD_ASLEEP, *words = (uint32_t *)lane;

	if (is_lie(control, LIE_done_word_that_flips))
		store32(&lane->done, (chance(control) & 1 ? request : request - 2) | (chance(control) & 1));
	if (is_lie(control, LIE_result_that_flips))
		__atomic_store_n(&lane->result, edge_not_512(control), __ATOMIC_RELEASE);
	if (is_lie(control, LIE_data_that_flips))
		for (uint32_t i = 0; i < 512; i++)
			*(volatile uint32_t *)((uint8_t *)lane + LANE_DATA + i * 4) = without_slash(chance(control));
	if (is_lie(control, LIE_twin_words_at_random)) {
		store32(&lane->twin_state, TWIN_STARTING + chance(control) % 4);
		store32(&lane->cancels_seen, chance(control));
		lane->twin_tid = chance(control) & 1 ? 0 : control->program_pid;
		lane->uring_calls = chance(control);
	}
	if (is_lie(control, LIE_backlog_that_stays))
		for (uint32_t i = 0; i < BACKLOG_COUNT; i++) {
			lane->backlog[i].fd = lane->post[i].fd;
			store32(&lane->backlog[i].state, BACKLOG_BUSY);
		}
	if (is_lie(control, LIE_everything_at_random))
		words[scrambled_word(chance(control))] = chance(control);
	slots_lie(control, lane);
	tail_flip(control, lane);
}

static HOST void control_flip(struct wire_control *control)
{
	if (is_lie(control, LIE_control_words_at_random)) {
		control->helper_pid = -(int32_t)(chance(control) % 100000);	/* the helper signals it: nobody's number */
		control->sweeping = chance(control);
		control->lanes_used = chance(control);
		control->magic = chance(control);
		control->ring_size = chance(control);
		control->text_start = control->text_end = chance(control);
	}
	if (is_lie(control, LIE_descriptor_marks_at_random))
		for (uint32_t i = 0; i < 64; i++)
			control->fd_marks[i] = (uint8_t)(chance(control) % 4);
}

static HOST void lie_forever(struct wire_control *control, struct wire_control *unused)
{
	int64_t wait[2] = { 0, FLIP_NS };

	(void)unused;
	for (;;) {
		for (uint32_t i = 0; i < FLIPS; i++) {
			for (uint32_t lane = 0; lane < used_lanes(control); lane++)
				words_flip(control, control_lane(control, lane));
			control_flip(control);
		}
		host_syscall(__NR_nanosleep, (long)wait, 0, 0, 0, 0, 0);
	}
}

static HOST void liar_start(struct wire_control *control)
{
	unsigned long flags = CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	register void (*entry)(struct wire_control *, struct wire_control *) __asm__("r12") = lie_forever;
	uint64_t *stack = (uint64_t *)((uint8_t *)control + LIAR_STACK_TOP);
	long result;

	uint32_t helper = (uint32_t)host_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);

	if (lie_of(control)->kind == LIE_NONE || __atomic_exchange_n(&lie_of(control)->has_thread, helper, __ATOMIC_SEQ_CST) == helper)
		return;
	*--stack = (uint64_t)control;
	*--stack = (uint64_t)control;
	__asm__ volatile("xor %%r10d, %%r10d\n"
			 "xor %%r8d, %%r8d\n"
			 "syscall\n"
			 "test %%rax, %%rax\n"
			 "jnz 1f\n"
			 "xor %%ebp, %%ebp\n"
			 "pop %%rdi\n"
			 "pop %%rsi\n"
			 "call *%%r12\n"
			 "ud2\n"
			 "1:"
			 : "=a"(result)
			 : "a"(__NR_clone), "D"(flags), "S"(stack), "d"(0), "r"(entry)
			 : "rcx", "r8", "r10", "r11", "memory");
}

/* ---- completions ---- */

static HOST uint32_t in_another_lane(struct wire_control *control, const struct wire_lane *lane)
{
	for (uint32_t i = 0; i < used_lanes(control); i++) {
		struct wire_lane *other = control_lane(control, i);

		if (other == lane)
			continue;
		other->result = lane->result;
		if (swap32(&other->done, load32(&other->request) & ~WORD_ASLEEP) & WORD_ASLEEP)
			futex_wake(&other->done);
	}
	return 0;
}

static HOST void result_lie(struct wire_control *control, struct wire_lane *lane)
{
	uint32_t before = kept_of(lane)->result;

	kept_of(lane)->result = (uint32_t)lane->result;
	if (is_lie(control, LIE_result_of_an_earlier_call))
		lane->result = (int32_t)before;
	if (chance(control) % 4 == 0 && is_lie(control, LIE_result_at_random))
		lane->result = edge_not_512(control);
	if (is_lie(control, LIE_result_that_says_not_begun))
		lane->result = RING_NOT_BEGUN;
	if (is_lie(control, LIE_result_that_says_again))
		lane->result = -GATE_RESTART;
}

static HOST uint32_t lie_done(struct wire_control *control, struct wire_lane *lane, uint32_t word)
{
	liar_start(control);
	result_lie(control, lane);
	if (is_lie(control, LIE_no_completion))
		return 0;
	if (chance(control) % 4 == 0 && is_lie(control, LIE_completion_in_another_lane))
		return in_another_lane(control, lane);
	if (is_lie(control, LIE_done_word_of_the_future))
		word += 2;
	if (is_lie(control, LIE_done_word_of_the_far_future))
		word += 1000;
	if (is_lie(control, LIE_done_word_of_the_past))
		word -= 4;
	if (is_lie(control, LIE_done_word_at_random))
		word = chance(control) | 1u << 31;
	return swap32(&lane->done, word);
}

/* Before the call is made: a completion that comes too early. */
static HOST long lie_call(struct wire_lane *lane, uint32_t word, const int64_t *call)
{
	struct wire_control *control = kept_of(lane)->control;

	if (chance(control) % 4 == 0 && is_lie(control, LIE_done_word_before_the_call) &&
	    swap32(&lane->done, word) & WORD_ASLEEP)
		futex_wake(&lane->done);
	return cancellable_call(&lane->cancel, word, call);
}

static HOST void lie_state(struct wire_control *control, struct wire_lane *lane, uint32_t value)
{
	kept_of(lane)->control = control;
	if (is_lie(control, LIE_twin_words_at_random))
		lane->twin_tid = chance(control) & 1 ? 0 : control->program_pid;
	store32(&lane->twin_state, value == TWIN_SERVING && is_lie(control, LIE_twin_state_of_no_twin) ? 77 : value);
}

#define posts_serve(control, lane)            lie_posts(control, lane)
#define ahead_serve(control, lane, count)     lie_ahead(control, lane, count)
#define swap32(at, word)                      lie_done(control, lane, word)
#define store32(at, value)                    lie_state(control, lane, value)
#define cancellable_call(cancel, word, call)  lie_call(lane, word, call)
#include "twin.c"
