/*
 * poll.c - poll and select, and every call that waits with a signal mask of its own.
 *
 * Owns: masks of such calls (the kernel never gets the hidden signals in one), and readiness of what the enclave holds.
 * Must never: wait for data that is there. Called by: dispatch.c, epoll.c, signal.c.
 */
#include <linux/poll.h>
#include "dispatch.h"
#include "signal.h"
#include "stream.h"

enum { POLLED_MAX = 1 << 20 };

long call_mask_begin(uint64_t *pointer)
{
	struct thread *thread = thread_self();

	if (!*pointer)
		return 0;
	TRY(copy_guarded(&thread->call_mask, (void *)*pointer, sizeof thread->call_mask));
	thread->call_mask &= ~SIGNALS_HIDDEN;
	thread->has_call_mask = true;
	*pointer = (uint64_t)&thread->call_mask;
	return 0;
}

void call_mask_end(void)
{
	thread_self()->has_call_mask = false;
}

static long wait_pass(struct frame *frame)
{
	return enclave.has_signalfd ? pass_by_gate(frame) : sys_pass(frame);
}

/* How many of the polled descriptors have held data that is asked for. */
static long held_count(uint64_t polled, uint64_t count)
{
	struct pollfd each;
	long held = 0;

	for (uint64_t i = 0; stream_held_first() >= 0 && i < count && i < POLLED_MAX; i++) {
		TRY(copy_guarded(&each, (void *)(polled + i * sizeof each), sizeof each));
		held += each.fd >= 0 && each.events & POLLIN && stream_is_held(each.fd);
	}
	return held;
}

/* Adds POLLIN where data is held; the number of ready descriptors. */
static long held_add(uint64_t polled, uint64_t count)
{
	struct pollfd each;
	long ready = 0;

	for (uint64_t i = 0; i < count && i < POLLED_MAX; i++) {
		TRY(copy_guarded(&each, (void *)(polled + i * sizeof each), sizeof each));
		if (each.fd >= 0 && each.events & POLLIN && stream_is_held(each.fd))
			each.revents |= POLLIN;
		ready += each.revents != 0;
		TRY(copy_guarded((void *)(polled + i * sizeof each), &each, sizeof each));
	}
	return ready;
}

long sys_poll(struct frame *frame);
long sys_poll(struct frame *frame)
{
	struct frame now = *frame;
	long held = held_count(frame->arg[0], frame->arg[1]);

	thread_self()->stats.turns++;
	if (held <= 0)
		return wait_pass(frame);
	now.arg[2] = 0;
	TRY(wait_pass(&now));
	return held_add(frame->arg[0], frame->arg[1]);
}

long sys_ppoll(struct frame *frame);
long sys_ppoll(struct frame *frame)
{
	int64_t none[2] = { 0 };	/* comes back, so it is no constant */
	struct frame now = *frame;
	long held = held_count(frame->arg[0], frame->arg[1]), result;

	thread_self()->stats.turns++;
	if (frame->arg[3] && frame->arg[4] != 8)
		return -EINVAL;
	TRY(call_mask_begin(&now.arg[3]));
	if (held > 0)
		now.arg[2] = (uint64_t)none;
	result = frame->arg[3] ? pass_by_gate(&now) : wait_pass(&now);
	call_mask_end();
	return result >= 0 && held > 0 ? held_add(frame->arg[0], frame->arg[1]) : result;
}

/* Puts the held ones among the readable; how many are there that are asked for. `set` is the program's. */
static long select_held(uint64_t set, uint64_t count, uint64_t *found)
{
	long held = 0;

	memset(found, 0, 128);
	for (int fd = stream_held_first(); set && fd >= 0; fd = stream_held_next(fd)) {
		uint64_t word;

		if ((uint64_t)fd >= count || fd >= 1024)
			continue;
		TRY(copy_guarded(&word, (void *)(set + (uint64_t)fd / 64 * 8), sizeof word));
		if (word & 1UL << fd % 64) {
			found[fd / 64] |= 1UL << fd % 64;
			held++;
		}
	}
	return held;
}

static long select_add(uint64_t set, uint64_t count, const uint64_t *found, long result)
{
	for (uint64_t i = 0; i * 64 < count && i < 16; i++) {
		uint64_t word;

		TRY(copy_guarded(&word, (void *)(set + i * 8), sizeof word));
		for (uint64_t added = found[i] & ~word; added; added &= added - 1)
			result++;
		word |= found[i];
		TRY(copy_guarded((void *)(set + i * 8), &word, sizeof word));
	}
	return result;
}

static long select_any(struct frame *frame, bool by_gate)
{
	uint64_t found[16], zero[2] = { 0 };
	struct frame now = *frame;
	long held = select_held(frame->arg[1], frame->arg[0], found), result;

	thread_self()->stats.turns++;
	if (held > 0)
		now.arg[4] = (uint64_t)zero;
	result = by_gate ? pass_by_gate(&now) : wait_pass(&now);
	return result >= 0 && held > 0 ? select_add(frame->arg[1], frame->arg[0], found, result) : result;
}

long sys_select(struct frame *frame);
long sys_select(struct frame *frame)
{
	return select_any(frame, false);
}

long sys_pselect6(struct frame *frame);
long sys_pselect6(struct frame *frame)
{
	struct frame now = *frame;
	uint64_t argument[2];		/* pointer to the mask, its size */
	long result;

	if (!frame->arg[5])
		return select_any(frame, false);
	TRY(copy_guarded(argument, (void *)frame->arg[5], sizeof argument));
	if (argument[0] && argument[1] != 8)
		return -EINVAL;
	TRY(call_mask_begin(&argument[0]));
	now.arg[5] = (uint64_t)argument;
	result = select_any(&now, true);
	call_mask_end();
	return result;
}

long sys_signalfd4(struct frame *frame);
long sys_signalfd4(struct frame *frame)
{
	enclave.has_signalfd = true;
	return pass_by_gate(frame);
}

long sys_signalfd(struct frame *frame);
long sys_signalfd(struct frame *frame)
{
	return sys_signalfd4(frame);
}
