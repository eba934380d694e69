/*
 * stream_write.c - stream sockets in asynchronous mode: writes that return before the kernel has the bytes.
 *
 * Owns: when a write may do so, and what every other way to put bytes into the stream has to wait for. Must never: let a
 * byte overtake another, or an error get lost. Called by: transfer.c, splice.c, accept.c, fd.c, clone.c.
 */
#include <linux/poll.h>
#include "../wire/ring.h"
#include "signal.h"
#include "stream.h"

enum { POST_MAX = BACKLOG_BYTES, MSG_DONTWAIT_ = 0x40, MSG_NOSIGNAL_ = 0x4000, MSG_MORE_ = 0x8000, BACKLOG_TRIES = 20000,
       POSTS_JUDGED = 64, POSTS_PAUSED = 4096, SOL_SOCKET_ = 1, SO_SNDTIMEO_ = 21, SIGPIPE_ = 13, SECOND_NS = 1000000000 };

void stream_forced(struct thread *thread)
{
	thread->posts_forced++;
}

/* Whether writing behind saves anything: only where turns cross anyway, and carry most of what is posted. */
static bool posting_pays(struct thread *thread)
{
	if (enclave.is_exit_dear)
		return true;
	if (!thread->turns.by_ring)
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

	for (int i = 0; i < BACKLOG_TRIES; i++) {
		struct pollfd polled = { .fd = fd, .events = POLLOUT };

		if (gate3(__NR_poll, &polled, 1, 0) == 0)
			return false;
		gate2(__NR_nanosleep, &step, 0);
		if (!ring_post_bytes(fd))
			return true;
		ring_check_helper();
	}
	return false;
}

static long parts_gather(uint8_t *to, const struct io_part *parts, uint64_t count)
{
	uint64_t done = 0;

	for (uint64_t i = 0; i < count; done += parts[i++].size)
		TRY(copy_guarded(to + done, (const void *)parts[i].base, parts[i].size));
	return 0;
}

static int64_t clock_ns(void)
{
	int64_t time[2] = { 0, 0 };

	gate2(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, time);
	return time[0] * SECOND_NS + time[1];
}

/* The socket's send timeout in ns; 0: none. */
static int64_t send_limit(int fd)
{
	int64_t time[2] = { 0, 0 };	/* seconds, microseconds */
	uint32_t size = sizeof time;

	if (gate5(__NR_getsockopt, fd, SOL_SOCKET_, SO_SNDTIMEO_, time, &size) < 0 || time[0] > INT32_MAX)
		return 0;
	return time[0] * SECOND_NS + time[1] * 1000;
}

/* As a blocking write waits for room: until what was posted is with the kernel. */
static long posts_wait(struct thread *thread, int fd, bool may_time_out)
{
	int64_t limit = may_time_out ? send_limit(fd) : 0, begin = limit ? clock_ns() : 0;
	long state = ring_post_state(fd);

	while (state > 0) {
		if (thread->signal_pending)
			return signal_restarts(thread) && !limit ? -GATE_RESTART : -EINTR;
		if (limit && clock_ns() - begin > limit)
			return -EAGAIN;
		state = ring_settle_step(thread, fd, (int)state);
	}
	return stream_error(__NR_sendto, state);
}

/* Until the helper has come to all that was posted: RING_SENT or RING_BACKLOG, or -errno. */
static long posts_begin(struct thread *thread, int fd)
{
	long state = ring_post_state(fd);

	if (state == RING_QUEUED && thread->has_posted) {
		stream_flush(thread);
		state = ring_post_state(fd);
	}
	while (state == RING_QUEUED) {
		if (thread->signal_pending)
			return -GATE_RESTART;
		state = ring_settle_step(thread, fd, (int)state);
	}
	return stream_error(__NR_sendto, state);
}

static long broken(long result, uint32_t flags)
{
	if (result == -EPIPE && !(flags & MSG_NOSIGNAL_))
		gate3(__NR_tgkill, gate0(__NR_getpid), gate0(__NR_gettid), SIGPIPE_);
	return result;
}

long stream_settle(int fd, uint32_t flags)
{
	struct thread *thread = thread_self();
	long state = posts_begin(thread, fd);

	while (state > 0) {
		if (descriptor_of(fd)->is_shut)
			return broken(-EPIPE, flags);
		if (!(flags & MSG_DONTWAIT_) && !descriptor_is_nonblocking(fd))
			return broken(posts_wait(thread, fd, true), flags);
		if (state == RING_BACKLOG && !backlog_clears(fd))
			return -EAGAIN;
		state = posts_begin(thread, fd);
	}
	return broken(state, flags);
}

bool stream_post(int fd, const struct io_part *parts, uint64_t count, uint32_t flags, bool is_plain, long *result)
{
	struct thread *thread = thread_self();
	struct descriptor *descriptor = descriptor_of(fd);
	uint8_t bytes[POST_MAX];
	uint64_t size = 0;
	bool may_post;
	long state;

	if (!descriptor || descriptor_kind(fd) != KIND_STREAM)
		return false;
	may_post = is_plain && descriptor->is_connected && !descriptor->is_shared &&
		   !(flags & ~(uint32_t)(MSG_DONTWAIT_ | MSG_NOSIGNAL_ | MSG_MORE_)) && posting_pays(thread) &&
		   ring_attach(thread);
	state = ring_post_state(fd);
	if (!may_post && state == RING_SENT)
		return false;
	*result = state < 0 ? broken(stream_error(__NR_sendto, state), flags) : 0;
	if (!*result && (!may_post || state == RING_BACKLOG))
		*result = stream_settle(fd, flags);
	if (*result || !may_post)
		return *result;
	for (uint64_t i = 0; i < count && size <= POST_MAX; i++)
		size = parts[i].size > POST_MAX ? POST_MAX + 1 : size + parts[i].size;
	if (!size || size > POST_MAX || parts_gather(bytes, parts, count) < 0 ||
	    ring_post(thread, fd, bytes, size, flags) < 0) {
		*result = stream_settle(fd, flags);
		return *result;
	}
	thread->has_posted = true;
	thread->posts++;
	thread->stats.ring_writes_behind++;
	thread->stats.bytes_out += size;
	*result = (long)size;
	return true;
}

long stream_unsent(int fd, bool *is_left)
{
	struct thread *thread = thread_self();
	long state = posts_begin(thread, fd);

	*is_left = state == RING_BACKLOG && ring_attach(thread);
	if (state == RING_BACKLOG && !*is_left)
		return posts_wait(thread, fd, false) < 0 && thread->signal_pending ? -GATE_RESTART : 0;
	return state == -GATE_RESTART ? state : 0;
}

long stream_shut(int fd, bool *follows)
{
	struct descriptor *descriptor = descriptor_of(fd);
	bool is_left;

	TRY(stream_unsent(fd, &is_left));
	descriptor->is_connected = false;	/* the next write asks the kernel */
	*follows = descriptor->is_shut = is_left && ring_shut(thread_self(), fd);
	return 0;
}

long stream_share(int fd)
{
	struct thread *thread = thread_self();
	struct descriptor *descriptor = descriptor_of(fd);

	if (!descriptor || enclave.mode == MODE_SYNC || descriptor_kind(fd) != KIND_STREAM)
		return 0;
	descriptor->is_shared = true;
	stream_refuse(fd);
	return posts_wait(thread, fd, false) < 0 && thread->signal_pending ? -GATE_RESTART : 0;
}
