/*
 * uring.c - several calls that do not block, given to the kernel at once.
 *
 * Owns: the io_uring of a lane's twin, in the lane's memory at LANE_URING: no descriptor stands for it, the kernel
 * keeps it by its number among the twin's own (Linux 6.5). Must never: leave a call under way when it returns, or be
 * called by another thread than the lane's twin. Used by: post.c; what is not done here it does by plain calls.
 */
#include <linux/io_uring.h>
#include "host.h"

/* Newer than some systems' headers. */
enum {
	SETUP_SUBMIT_ALL          = 1u << 7,
	SETUP_SINGLE_ISSUER       = 1u << 12,
	SETUP_DEFER_TASKRUN       = 1u << 13,
	SETUP_NO_MMAP             = 1u << 14,
	SETUP_REGISTERED_FD_ONLY  = 1u << 15,
	ENTER_GETEVENTS           = 1u << 0,
	ENTER_REGISTERED_RING     = 1u << 4,
	PAGE                      = 4096,
};

/* The kernel's struct io_uring_params with the addresses that SETUP_NO_MMAP needs. */
struct uring_params {
	uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, reserved[3];
	struct { uint32_t head, tail, mask, entries, flags, dropped, array, reserved; uint64_t memory; } sq;
	struct { uint32_t head, tail, mask, entries, overflow, cqes, flags, reserved; uint64_t memory; } cq;
};
_Static_assert(sizeof(struct uring_params) == 120, "kernel's layout");

/* At LANE_URING: a page each, since each of the kernel's two parts must not cross one. */
struct uring {
	struct uring_params params;
	long index;		/* in the kernel's list of the twin's rings */
	uint8_t padding[PAGE - sizeof(struct uring_params) - sizeof(long)];
	struct io_uring_sqe sqe[PAGE / sizeof(struct io_uring_sqe)];
	uint8_t words[PAGE];	/* heads, tails, completions: where, the kernel says */
};
_Static_assert(sizeof(struct uring) == 3 * PAGE && sizeof(struct uring) <= LANE_STACK - LANE_URING, "areas");
_Static_assert(URING_COUNT_MAX <= PAGE / sizeof(struct io_uring_sqe), "a page of calls");
_Static_assert(URING_COUNT_MAX * (2 * sizeof(struct io_uring_cqe) + 4) + 128 <= PAGE, "a page of completions");

INLINE uint32_t *uring_word(struct uring *uring, uint32_t offset)
{
	return (uint32_t *)(uring->words + offset % PAGE);
}

INLINE struct uring *lane_uring(struct wire_lane *lane)
{
	return (struct uring *)((uint8_t *)lane + LANE_URING);
}

static HOST bool uring_make(struct uring *uring)
{
	volatile uint64_t *word = (volatile uint64_t *)uring;

	for (uint32_t i = 0; i < sizeof *uring / 8; i++)	/* an earlier helper's */
		word[i] = 0;
	uring->params.flags = SETUP_SUBMIT_ALL | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN | SETUP_NO_MMAP |
			      SETUP_REGISTERED_FD_ONLY;
	uring->params.sq.memory = (uint64_t)uring->sqe;
	uring->params.cq.memory = (uint64_t)uring->words;
	uring->index = host_syscall(__NR_io_uring_setup, URING_COUNT_MAX, (long)&uring->params, 0, 0, 0, 0);
	if (uring->index < 0)
		return false;
	for (uint32_t i = 0; i < URING_COUNT_MAX; i++)
		uring_word(uring, uring->params.sq.array)[i] = i;
	return true;
}

/* Takes note of the calls that are done: how many. */
static HOST uint32_t uring_reap(struct uring *uring, struct uring_call *calls, uint32_t count)
{
	const struct io_uring_cqe *done = (const struct io_uring_cqe *)uring_word(uring, uring->params.cq.cqes);
	uint32_t *head_word = uring_word(uring, uring->params.cq.head);
	uint32_t tail = load32(uring_word(uring, uring->params.cq.tail)), head = *head_word, reaped = tail - head;

	for (; head != tail; head++) {
		const struct io_uring_cqe *one = &done[head % (2 * URING_COUNT_MAX)];

		if (one->user_data < count)
			calls[one->user_data].result = one->res;
	}
	store32(head_word, head);
	return reaped;
}

/* Waits for all: those that the kernel doesn't begin are taken back. A signal only interrupts the waiting. */
static HOST void uring_await(struct wire_lane *lane, struct uring_call *calls, uint32_t count)
{
	struct uring *uring = lane_uring(lane);
	uint32_t *tail = uring_word(uring, uring->params.sq.tail), *head = uring_word(uring, uring->params.sq.head);
	uint32_t left = count, done;

	while (left) {
		uint32_t waiting = *tail - load32(head);
		long result = host_syscall(__NR_io_uring_enter, uring->index, waiting, left,
					   ENTER_GETEVENTS | ENTER_REGISTERED_RING, 0, 0);

		done = uring_reap(uring, calls, count);
		lane->uring_calls += done;
		left -= done;
		waiting = *tail - load32(head);
		if (result >= 0 || result == -EINTR || !waiting)
			continue;
		store32(tail, *tail - waiting);
		left -= waiting;
		if (result != -EAGAIN && result != -EBUSY)
			lane->uring_state = URING_REFUSED;
	}
}

HOST void uring_run(struct wire_control *control, struct wire_lane *lane, struct uring_call *calls, uint32_t count)
{
	uint32_t fewest = load32(&control->uring_min), tail;
	struct uring *uring = lane_uring(lane);

	for (uint32_t i = 0; i < count; i++)
		calls[i].result = RING_NOT_BEGUN;
	if (!fewest || count < fewest)
		return;
	if (lane->uring_state == URING_UNTRIED)
		lane->uring_state = uring_make(uring) ? URING_READY : URING_REFUSED;
	if (lane->uring_state != URING_READY)
		return;
	tail = *uring_word(uring, uring->params.sq.tail);
	for (uint32_t i = 0; i < count; i++) {
		struct io_uring_sqe *sqe = &uring->sqe[(tail + i) % URING_COUNT_MAX];

		sqe->opcode = calls[i].sends ? IORING_OP_SEND : IORING_OP_RECV;
		sqe->fd = calls[i].fd;
		sqe->addr = (uint64_t)calls[i].bytes;
		sqe->len = calls[i].size;
		sqe->msg_flags = calls[i].flags;
		sqe->user_data = i;
	}
	store32(uring_word(uring, uring->params.sq.tail), tail + count);
	uring_await(lane, calls, count);
}
