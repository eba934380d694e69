/*
 * stream.c - stream sockets in asynchronous mode: write-behind and read-ahead.
 *
 * Owns: the list of descriptors with data read ahead, and when a write may return before the kernel has it. Must never:
 * let a byte overtake another, or an error get lost. Called by: read.c, write.c, epoll.c, poll.c, descriptor.c, clone.c.
 */
#include <linux/poll.h>
#include "../wire/ring.h"
#include "check.h"
#include "stream.h"
#include "untrusted.h"

enum { POST_MAX = 16384, MSG_DONTWAIT_ = 0x40, MSG_NOSIGNAL_ = 0x4000, MSG_MORE_ = 0x8000, BACKLOG_TRIES = 64,
       POSTS_JUDGED = 64, POSTS_PAUSED = 4096 };

static struct mutex held_mutex;
static int held_first = -1;

/* An error that the helper met in the program's stead, if call `nr` can meet it. */
static long error_check(uint32_t nr, long u_result)
{
	if (u_result == -GATE_RESTART)
		return check_refuse(nr, "error", u_result);
	return u_result < 0 ? check_result(nr, &call_shapes[nr], NULL, u_result) : u_result;
}

/* ---- read-ahead ---- */

static void held_link(int fd, struct descriptor *descriptor)
{
	mutex_lock(&held_mutex);
	descriptor->ahead.is_held = true;
	descriptor->next_held = held_first;
	held_first = fd;
	mutex_unlock(&held_mutex);
}

/* Under the descriptor's mutex. */
static void held_unlink(int fd, struct descriptor *descriptor)
{
	struct ahead *ahead = &descriptor->ahead;
	int *at = &held_first;

	mutex_lock(&held_mutex);
	while (*at >= 0 && *at != fd)
		at = &descriptor_of(*at)->next_held;
	if (*at == fd)
		*at = descriptor->next_held;
	ahead->is_held = false;
	mutex_unlock(&held_mutex);
	if (ahead->lane && ahead->bytes)
		ring_ahead_release(ahead->lane, ahead->buffer);
	else if (ahead->bytes)
		gate2(__NR_munmap, ahead->bytes, ahead->size);
	ahead->bytes = NULL;
}

void stream_hold(int fd, const struct ring_ahead *found, struct lane *lane)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (!descriptor || !descriptor->is_marked) {	/* closed meanwhile */
		if (found->result > 0)
			ring_ahead_release(lane, found->buffer);
		return;
	}
	if (found->result == -EAGAIN || found->result == -EINTR)
		return;		/* nothing was there: the program's own read will see */
	if (descriptor->ahead.is_held)
		die("the helper read ahead of what it had read already");
	descriptor->ahead = (struct ahead) {
		.bytes = found->result > 0 ? found->bytes : NULL, .size = found->result > 0 ? found->size : 0,
		.result = (int32_t)error_check(__NR_recvfrom, found->result), .buffer = found->buffer, .lane = lane,
	};
	ring_mark(fd, false);		/* no more until the program has read this */
	held_link(fd, descriptor);
}

bool stream_is_held(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	return descriptor && descriptor->ahead.is_held;
}

int stream_held_first(void)
{
	return held_first;
}

int stream_held_next(int fd)
{
	return descriptor_of(fd)->next_held;
}

uint32_t stream_held_size(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	return descriptor && descriptor->ahead.is_held ? descriptor->ahead.size - descriptor->ahead.used : 0;
}

bool stream_held_is_full(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	return descriptor && descriptor->ahead.is_held && descriptor->ahead.size == AHEAD_SIZE;
}

static long parts_fill(const struct ahead *ahead, const struct io_part *parts, uint64_t count)
{
	uint32_t left = ahead->size - ahead->used, done = 0;

	for (uint64_t i = 0; i < count && done < left; i++) {
		uint32_t part = parts[i].size < left - done ? (uint32_t)parts[i].size : left - done;

		TRY(copy_guarded((void *)parts[i].base, ahead->bytes + ahead->used + done, part));
		done += part;
	}
	return done;
}

/* Under the descriptor's mutex. */
static bool held_take(int fd, struct descriptor *descriptor, const struct io_part *parts, uint64_t count, bool is_peek,
		      long *result)
{
	struct ahead *ahead = &descriptor->ahead;

	if (!ahead->bytes) {		/* end of file, or an error: the kernel says the same again, or nothing */
		*result = ahead->result;
		if (!is_peek)
			held_unlink(fd, descriptor);
		return true;
	}
	*result = parts_fill(ahead, parts, count);
	if (*result < 0 || is_peek)
		return true;
	ahead->used += (uint32_t)*result;
	if (ahead->used < ahead->size)
		return true;
	held_unlink(fd, descriptor);
	ring_mark(fd, descriptor->is_marked);
	return true;
}

bool stream_take(int fd, const struct io_part *parts, uint64_t count, bool is_peek, long *result)
{
	struct descriptor *descriptor = descriptor_of(fd);
	bool is_taken = false;

	if (!descriptor || !descriptor->ahead.is_held)
		return false;
	mutex_lock(&descriptor->mutex);
	if (descriptor->ahead.is_held) {
		is_taken = held_take(fd, descriptor, parts, count, is_peek, result);
		thread_self()->stats.ring_reads_ahead++;
	}
	mutex_unlock(&descriptor->mutex);
	return is_taken;
}

void stream_mark(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (!descriptor || descriptor->is_marked || descriptor_kind(fd) != KIND_STREAM)
		return;
	descriptor->is_marked = true;
	ring_mark(fd, true);
}

void stream_forget(int fd, struct descriptor *descriptor)
{
	if (!descriptor->is_marked)
		return;
	mutex_lock(&descriptor->mutex);
	ring_mark(fd, false);
	if (descriptor->ahead.is_held)
		held_unlink(fd, descriptor);
	descriptor->is_marked = false;
	mutex_unlock(&descriptor->mutex);
}

void stream_privatize(void)
{
	for (int fd = held_first; fd >= 0; fd = descriptor_of(fd)->next_held) {
		struct ahead *ahead = &descriptor_of(fd)->ahead;
		uint8_t *copy;

		if (!ahead->lane || !ahead->bytes)
			continue;
		copy = pages_map(ahead->size);
		if (!copy)
			die("no memory for what was read ahead of a fork");
		copy_in(copy, ahead->bytes, ahead->size);
		ring_ahead_release(ahead->lane, ahead->buffer);
		ahead->bytes = copy;
		ahead->lane = NULL;
	}
}

/* ---- write-behind ---- */

void stream_forced(struct thread *thread)
{
	thread->posts_forced++;
}

/* Whether writing behind saves anything: only where turns cross anyway, and carry most of what is posted. */
static bool posting_pays(struct thread *thread)
{
	if (enclave.is_exit_dear)
		return true;
	if (!thread->turns_by_ring)
		return false;
	if (thread->posts_paused) {
		thread->posts_paused--;
		return false;
	}
	if (thread->posts < POSTS_JUDGED)
		return true;
	if (thread->posts_forced * 3 > thread->posts)
		thread->posts_paused = POSTS_PAUSED;
	thread->posts = thread->posts_forced = 0;
	return !thread->posts_paused;
}

void stream_flush(struct thread *thread)
{
	if (!thread->has_posted)
		return;
	stream_forced(thread);
	thread->has_posted = false;
	if (ring_flush(thread) < 0)
		die("no helper can be had for what was written already");
}

/*
 * The kernel took less than was posted. When it would take more now, the helper is about to send the rest; else a
 * write would block, and the kernel reports when it wouldn't (so edge-triggered waits work).
 */
static bool backlog_clears(int fd)
{
	static const struct { int64_t seconds, nanoseconds; } step = { 0, 50000 };

	for (int i = 0; i < BACKLOG_TRIES && ring_post_state(fd) == RING_BACKLOG; i++) {
		struct pollfd polled = { .fd = fd, .events = POLLOUT };

		if (gate3(__NR_poll, &polled, 1, 0) == 0)
			return false;
		gate2(__NR_nanosleep, &step, 0);
	}
	return ring_post_state(fd) != RING_BACKLOG;
}

static long parts_gather(uint8_t *to, const struct io_part *parts, uint64_t count)
{
	uint64_t done = 0;

	for (uint64_t i = 0; i < count; done += parts[i++].size)
		TRY(copy_guarded(to + done, (const void *)parts[i].base, parts[i].size));
	return 0;
}

/* Before a write: what earlier ones met. True: *result ends the write. */
static bool earlier_ones(struct thread *thread, int fd, bool is_nonblocking, long *result)
{
	int state = ring_post_state(fd);

	if (state == RING_BACKLOG && is_nonblocking && !backlog_clears(fd)) {
		*result = -EAGAIN;
		return true;
	}
	if (state == RING_BACKLOG) {
		*result = ring_settle(thread, fd, RING_RESTART);
		return *result < 0;
	}
	*result = error_check(__NR_sendto, state);
	return state < 0;
}

bool stream_post(int fd, const struct io_part *parts, uint64_t count, uint32_t flags, long *result)
{
	struct thread *thread = thread_self();
	struct descriptor *descriptor = descriptor_of(fd);
	uint8_t bytes[POST_MAX];
	uint64_t size = 0;

	if (!descriptor || descriptor_kind(fd) != KIND_STREAM || flags & ~(uint32_t)(MSG_DONTWAIT_ | MSG_NOSIGNAL_ | MSG_MORE_) ||
	    (!posting_pays(thread) && ring_post_state(fd) == RING_SENT) || !ring_attach(thread))
		return false;
	if (earlier_ones(thread, fd, flags & MSG_DONTWAIT_ || descriptor_is_nonblocking(fd), result))
		return true;
	for (uint64_t i = 0; i < count && size <= POST_MAX; i++)
		size = parts[i].size > POST_MAX ? POST_MAX + 1 : size + parts[i].size;
	if (!descriptor->is_connected || !size || size > POST_MAX || parts_gather(bytes, parts, count) < 0 ||
	    ring_post(thread, fd, bytes, size, flags) < 0) {
		*result = ring_settle(thread, fd, RING_RESTART);
		return *result < 0;
	}
	thread->has_posted = true;
	thread->posts++;
	thread->stats.ring_writes_behind++;
	thread->stats.bytes_out += size;
	*result = (long)size;
	return true;
}
