/*
 * splice.c - calls that move data between descriptors without the program seeing it.
 *
 * Owns: their order among what was written behind and read ahead. Must never: put bytes into a pipe that the program did
 * not ask for. Called by: dispatch.c.
 */
#include <linux/fcntl.h>
#include <linux/poll.h>
#include "dispatch.h"
#include "descriptor.h"
#include "signal.h"
#include "stream.h"

enum { PIECE = 4096, SPLICE_NONBLOCK = 2, MSG_DONTWAIT_ = 0x40 };	/* PIECE: what a writable pipe takes at once */

/* 1 when the pipe takes a piece, 0 when it doesn't now; or as a signal has it. */
static long pipe_await(int pipe, bool waits)
{
	struct pollfd polled = { .fd = pipe, .events = POLLOUT };
	struct thread *thread = thread_self();
	long result;

	result = waits ? gate_interruptible(__NR_poll, (long)&polled, 1, -1, 0, 0, 0) : gate3(__NR_poll, &polled, 1, 0);
	if (result < 0 && thread->signal_pending)
		return signal_restarts(thread) ? -GATE_RESTART : -EINTR;
	return result < 0 ? 0 : result;
}

/* Moves what is held of `from` into a pipe: as splice(2). */
static long held_splice(int from, int pipe, uint64_t size, bool waits)
{
	uint8_t bytes[PIECE];
	uint64_t done = 0;
	long result;

	while (done < size && (!done || stream_held_size(from))) {
		struct io_part piece = { (uint64_t)bytes, size - done < PIECE ? size - done : PIECE };
		struct frame write = { .nr = __NR_write, .arg = { (uint64_t)pipe, (uint64_t)bytes, 0 } };

		result = pipe_await(pipe, waits && !done);
		if (result <= 0)
			return done ? (long)done : result ? result : -EAGAIN;
		if (!stream_take(from, &piece, 1, stream_held_size(from) ? TAKE_PEEK : 0, &result) || result <= 0)
			return done ? (long)done : result;
		write.arg[2] = (uint64_t)result;
		result = pass_by_gate(&write);
		if (result <= 0)
			return done ? (long)done : result;
		piece.size = (uint64_t)result;
		if (!stream_take(from, &piece, 1, TAKE_NOTHING, &result))
			die("what was read ahead went two ways");
		done += piece.size;
	}
	return (long)done;
}

/* From `from` into `to`, with `frame` when nothing is held. */
static long move(struct frame *frame, int from, int to, uint64_t size, uint32_t flags)
{
	enum stream_source source;
	long result;

	if (descriptor_kind(to) == KIND_STREAM) {
		result = stream_settle(to, 0);
		if (result)
			return result;
	}
	if (descriptor_kind(to) != KIND_PIPE)
		return sys_pass(frame);
	source = stream_read_begin(from);
	if (source == STREAM_HELD)
		return held_splice(from, to, size, !(flags & SPLICE_NONBLOCK) && !descriptor_is_nonblocking(to));
	result = sys_pass(frame);
	stream_read_end(from, source, result);
	return result;
}

long sys_sendfile(struct frame *frame);
long sys_sendfile(struct frame *frame)
{
	if (!stream_meets_ring() || !frame->arg[3])
		return sys_pass(frame);
	return move(frame, (int)frame->arg[1], (int)frame->arg[0], frame->arg[3], 0);
}

long sys_splice(struct frame *frame);
long sys_splice(struct frame *frame)
{
	if (!stream_meets_ring() || !frame->arg[4])
		return sys_pass(frame);
	return move(frame, (int)frame->arg[0], (int)frame->arg[2], frame->arg[4], (uint32_t)frame->arg[5]);
}
