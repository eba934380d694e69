/*
 * ring_post.c - write-behind and event-loop turns.
 *
 * Owns: the post queue's indices, what is known of each descriptor's posts, which read-ahead buffers hold data.
 * Must never: take a length, a buffer or an event index from the host unchecked. Used by: ring.h's callers.
 */
#include "epoll.h"
#include "ring_inner.h"

enum {
	EXPECT_CYCLES = 500000,	/* a crossing within this after a post came soon enough: nobody was woken for it */
	EXPECT_COUNT  = 4,	/* so many times in a row, and the next posts rely on it */
	SOL_SOCKET_ = 1, SO_LINGER_ = 13,
	ERRNO_MAX     = 133,	/* EHWPOISON */
};

void lane_kick(struct lane *lane)
{
	uint32_t *request = &lane->wire->request;
	uint32_t u_word = fetch32(request);

	if ((u_word & WORD_ASLEEP) && replace32(request, u_word, u_word & ~WORD_ASLEEP))
		gate3(__NR_futex, request, FUTEX_WAKE, 1);
}

/* What the host says that sending met, as an errno that there is: for the program's next write. */
static void error_keep(struct fd_posts *posts, int32_t u_result)
{
	posts->error = u_result >= -ERRNO_MAX ? (uint16_t)-u_result : EIO;
	ring.has_errors = true;
}

/* Under the lane's post_mutex. */
static void reclaim_one(struct lane *lane, uint32_t index)
{
	struct fd_posts *posts = &ring.fd_posts[lane->post_fd[index]];
	int32_t u_result = (int32_t)fetch32(&lane->wire->post[index].result);

	lane->byte_tail = lane->post_end[index];
	if (u_result == POST_BACKLOG)
		posts->backlog = 1;
	if (u_result < 0)
		error_keep(posts, u_result);
	__atomic_fetch_sub(&posts->bytes, lane->post_size[index], __ATOMIC_RELAXED);
	__atomic_fetch_sub(&posts->queued, 1, __ATOMIC_RELEASE);
}

void lane_reclaim(struct lane *lane)
{
	uint32_t u_tail = fetch32(&lane->wire->post_tail);

	if (u_tail == __atomic_load_n(&lane->post_tail, __ATOMIC_ACQUIRE))
		return;
	mutex_lock(&lane->post_mutex);
	if (u_tail - lane->post_tail <= lane->post_head - lane->post_tail)
		for (; lane->post_tail != u_tail; lane->post_tail++)
			reclaim_one(lane, lane->post_tail % POST_COUNT);
	mutex_unlock(&lane->post_mutex);
}

/* Room for `size` bytes in one piece: the offset, or -1. */
static int64_t bytes_take(struct lane *lane, uint32_t size)
{
	uint32_t start = lane->byte_head, left = POST_BYTES - start % POST_BYTES;

	if (left < size)
		start += left;
	if (start + size - lane->byte_tail > POST_BYTES)
		return -1;
	lane->byte_head = start + size;
	return start;
}

/*
 * Whether there is a backlog slot for each post, should the kernel take none of them: so no descriptor's posts wait for
 * another's peer. Looked at after lane_reclaim(): what left the queue is among the slots.
 */
static bool slots_suffice(const struct lane *lane)
{
	uint32_t taken = lane->post_head - lane->post_tail;

	for (uint64_t u_used = fetch64(&lane->wire->backlog_used); u_used; u_used &= u_used - 1)
		taken++;
	return taken < BACKLOG_COUNT;
}

/* Posts on one descriptor stay in one lane while any is queued. Whether they may go to this one. */
static bool fd_claim(struct lane *lane, struct fd_posts *posts)
{
	uint16_t mine = (uint16_t)(lane->index + 1), other = __atomic_load_n(&posts->lane, __ATOMIC_ACQUIRE);

	if (other == mine)
		return true;
	if (other && (lane_reclaim(&ring_lanes[other - 1]), posts->queued || posts->backlog))
		return false;
	__atomic_store_n(&posts->lane, mine, __ATOMIC_RELEASE);
	return true;
}

/* Whether the lane's backlog holds bytes of `fd`; collects the failures of all descriptors. */
static bool backlog_check(struct lane *lane, int fd)
{
	bool found = false;

	for (uint32_t i = 0; i < BACKLOG_COUNT; i++) {
		struct wire_backlog *slot = &lane->wire->backlog[i];
		uint32_t u_state = fetch32(&slot->state);
		int32_t u_fd = (int32_t)fetch32(&slot->fd), u_result = (int32_t)fetch32(&slot->result);

		if (u_state == BACKLOG_BUSY && u_fd == fd)
			found = true;
		if (u_state != BACKLOG_FAILED)
			continue;
		if ((uint32_t)u_fd < FD_MARK_COUNT && u_result < 0)
			error_keep(&ring.fd_posts[u_fd], u_result);
		put32(&slot->state, BACKLOG_FREE);
	}
	return found;
}

/* Whether bytes of `fd` wait in its backlog, as far as the host says. */
static bool has_backlog(int fd, struct fd_posts *posts)
{
	struct lane *lane;

	if (likely(!posts->backlog))
		return false;
	lane = &ring_lanes[posts->lane - 1];
	mutex_lock(&lane->post_mutex);
	posts->backlog = backlog_check(lane, fd);
	mutex_unlock(&lane->post_mutex);
	return posts->backlog;
}

long ring_post(struct thread *thread, int fd, const void *bytes, size_t size, uint32_t flags)
{
	struct lane *lane = thread->lane;
	struct wire_post *post = &lane->wire->post[lane->post_head % POST_COUNT];
	struct fd_posts *posts = &ring.fd_posts[fd];
	int64_t start = -1;

	if ((uint32_t)fd >= FD_MARK_COUNT)
		return -EAGAIN;
	lane_reclaim(lane);
	if (size && size <= BACKLOG_BYTES - posts->bytes && !has_backlog(fd, posts) &&
	    lane->post_head - lane->post_tail < POST_COUNT && slots_suffice(lane) && fd_claim(lane, posts))
		start = bytes_take(lane, (uint32_t)size);
	if (start < 0) {
		lane->stats.posts_refused++;
		return -EAGAIN;
	}
	copy_out((uint8_t *)lane->wire + LANE_POST_BYTES + start % POST_BYTES, bytes, size);
	*post = (struct wire_post){ .fd = fd, .flags = flags, .size = (uint32_t)size, .start = (uint32_t)start,
				    .result = POST_PENDING };
	lane->post_fd[lane->post_head % POST_COUNT] = fd;
	lane->post_end[lane->post_head % POST_COUNT] = lane->byte_head;
	lane->post_size[lane->post_head % POST_COUNT] = (uint16_t)size;
	__atomic_fetch_add(&posts->bytes, (uint32_t)size, __ATOMIC_RELAXED);
	__atomic_fetch_add(&posts->queued, 1, __ATOMIC_SEQ_CST);
	if (!lane->first_post)
		lane->first_post = ring_cycles();
	__atomic_store_n(&lane->post_head, lane->post_head + 1, __ATOMIC_RELEASE);
	exchange32(&lane->wire->post_head, lane->post_head);
	lane->stats.posts++;
	if (lane->expect_crossing < EXPECT_COUNT)
		lane_kick(lane);
	else if (!fetch32(&ring.control->sweeping))
		gate3(__NR_tgkill, ring.helper_pid, ring.helper_pid, SIGNAL_CONTROL);
	return (long)size;
}

void lane_crossed(struct lane *lane)
{
	if (!lane->first_post)
		return;
	lane->expect_crossing = ring_cycles() - lane->first_post < EXPECT_CYCLES ? lane->expect_crossing + 1 : 0;
	lane->first_post = 0;
}

int ring_post_state(int fd)
{
	struct fd_posts *posts;
	bool is_waiting;

	if (!ring.fd_posts || (uint32_t)fd >= FD_MARK_COUNT || !ring.fd_posts[fd].lane)
		return RING_SENT;
	posts = &ring.fd_posts[fd];
	if (likely(!__atomic_load_n(&posts->queued, __ATOMIC_ACQUIRE) && !posts->backlog && !posts->error))
		return RING_SENT;	/* each write asks, also where nothing has been posted for long */
	lane_reclaim(&ring_lanes[posts->lane - 1]);
	is_waiting = has_backlog(fd, posts);
	if (posts->error)
		return -(int)__atomic_exchange_n(&posts->error, 0, __ATOMIC_SEQ_CST);
	if (is_waiting)
		return RING_BACKLOG;
	return __atomic_load_n(&posts->queued, __ATOMIC_ACQUIRE) ? RING_QUEUED : RING_SENT;
}

/* The ring is held, or there is no helper. Whether the twin still has posts of the thread's lane. */
static bool posts_nap(struct thread *thread)
{
	static const struct kernel_timespec step = { 0, 200000 };
	struct lane *lane = thread->lane;

	if (!lane)
		return false;
	lane_reclaim(lane);
	if (lane->post_head == lane->post_tail)
		return false;
	lane_kick(lane);
	ring_check_helper();
	gate2(__NR_nanosleep, &step, 0);
	return true;
}

long ring_flush(struct thread *thread)
{
	do {
		long result = ring_attach(thread) ? lane_cross(thread, REQUEST_FLUSH, 0, RING_WAIT) : -GATE_RESTART;

		if (result != -GATE_RESTART)
			return result;
	} while (posts_nap(thread));
	return 0;
}

long ring_settle_step(struct thread *thread, int fd, int state)
{
	static const struct kernel_timespec step = { 0, 200000 };
	struct lane *lane = &ring_lanes[ring.fd_posts[fd].lane - 1];

	if (state == RING_QUEUED && lane == thread->lane) {
		long result = lane_cross(thread, REQUEST_FLUSH, 0, RING_WAIT);

		if (result < 0 && result != -GATE_RESTART)
			return result;
		state = ring_post_state(fd);
		if (state != RING_QUEUED)
			return state;
	}
	lane_kick(lane);
	ring_check_helper();
	gate_interruptible(__NR_nanosleep, (long)&step, 0, 0, 0, 0, 0);
	return ring_post_state(fd);
}

long ring_settle(struct thread *thread, int fd, enum ring_class class)
{
	long state = ring_post_state(fd);

	while (state > 0) {
		if (class != RING_WAIT && thread->signal_pending)
			return -GATE_RESTART;
		state = ring_settle_step(thread, fd, (int)state);
	}
	return state;
}

/* Whether what waits for `fd` now waits without it. Else the caller waits. */
static bool backlog_hand_over(struct thread *thread, int fd, struct lane *lane)
{
	struct wire_lane *wire = thread->lane->wire;
	int32_t linger[2] = { 0, 0 };		/* on, seconds */
	uint32_t size = sizeof linger;
	long to = -1, u_found;

	gate5(__NR_getsockopt, fd, SOL_SOCKET_, SO_LINGER_, linger, &size);
	if (linger[0] && linger[1])
		return false;
	if (!linger[0]) {
		to = ring_adopt(fd);
		if (to < 0)
			return false;
		epoll_leave(fd);
	}
	wire->args[0] = lane->index;
	wire->args[1] = (uint64_t)fd;
	wire->args[2] = (uint64_t)to;
	wire->args[3] = to >= 0 ? AFTER_CLOSE : 0;
	u_found = lane_cross(thread, REQUEST_ADOPT, 0, RING_WAIT);
	if (to >= 0 && u_found <= 0)		/* all was sent meanwhile */
		gate1(__NR_close, to);
	ring.fd_posts[fd].backlog = 0;
	ring.fd_posts[fd].error = 0;
	return true;
}

long ring_leave(struct thread *thread, int fd)
{
	long state = ring_post_state(fd);

	while (unlikely(state > 0)) {
		struct lane *lane = &ring_lanes[ring.fd_posts[fd].lane - 1];
		bool is_attached = ring_attach(thread);

		if (!is_attached && __atomic_load_n(&ring.state, __ATOMIC_SEQ_CST) == RING_OFF)
			return 0;		/* the helper that had the posts was ended after they were sent */
		if (is_attached && state == RING_BACKLOG && !ring.fd_posts[fd].queued && backlog_hand_over(thread, fd, lane))
			return 0;
		if (thread->signal_pending)
			return -GATE_RESTART;
		state = ring_settle_step(thread, fd, (int)state);
	}
	return 0;	/* an error that the posts met, nobody can be told any more */
}

bool ring_shut(struct thread *thread, int fd)
{
	struct wire_lane *wire = thread->lane->wire;

	wire->args[0] = ring.fd_posts[fd].lane - 1u;
	wire->args[1] = wire->args[2] = (uint64_t)fd;
	wire->args[3] = AFTER_SHUT;
	return lane_cross(thread, REQUEST_ADOPT, 0, RING_WAIT) > 0;
}

long ring_dissolve(struct thread *thread, int fd)
{
	struct wire_lane *wire = thread->lane->wire;
	long u_result;

	/* What another thread posted, its twin must not send to the next peer. Whether it is sent or fails doesn't matter. */
	for (long state = RING_QUEUED; state && ring.fd_posts[fd].queued; state = ring_settle_step(thread, fd, RING_QUEUED))
		if (thread->signal_pending)
			return -GATE_RESTART;
	wire->args[0] = ring.fd_posts[fd].lane - 1u;
	wire->args[1] = (uint64_t)fd;
	u_result = lane_cross(thread, REQUEST_DISSOLVE, 0, RING_WAIT);
	if (!u_result)
		ring.fd_posts[fd].backlog = 0;
	return u_result;
}

uint32_t ring_post_bytes(int fd)
{
	struct fd_posts *posts = ring.fd_posts && (uint32_t)fd < FD_MARK_COUNT ? &ring.fd_posts[fd] : NULL;
	struct lane *lane;
	uint32_t bytes;

	if (!posts || !posts->lane)
		return 0;
	lane = &ring_lanes[posts->lane - 1];
	lane_reclaim(lane);
	bytes = __atomic_load_n(&posts->bytes, __ATOMIC_RELAXED);
	for (uint32_t i = 0; posts->backlog && i < BACKLOG_COUNT; i++) {
		const struct wire_backlog *slot = &lane->wire->backlog[i];
		uint32_t u_size = fetch32(&slot->end) - fetch32(&slot->start);

		if (fetch32(&slot->state) == BACKLOG_BUSY && (int32_t)fetch32(&slot->fd) == fd && u_size <= BACKLOG_BYTES)
			bytes += u_size;
	}
	return bytes;
}

long ring_leave_range(struct thread *thread, uint32_t first, uint32_t last)
{
	if (!ring.fd_posts)
		return 0;
	for (uint32_t fd = first; fd <= last && fd < FD_MARK_COUNT; fd++)
		if (ring.fd_posts[fd].lane)
			TRY(ring_leave(thread, (int)fd));
	return 0;
}

bool ring_mark(int fd, bool read_ahead)
{
	if (!ring.control || (uint32_t)fd >= FD_MARK_COUNT)
		return false;
	ring.control->fd_marks[fd] = read_ahead ? MARK_READ : MARK_NONE;
	return true;
}

bool ring_unmark(int fd)
{
	uint8_t *mark;

	if (!ring.control || (uint32_t)fd >= FD_MARK_COUNT)
		return true;
	mark = &ring.control->fd_marks[fd];
	return replace8(mark, MARK_READ, MARK_NONE) || !replace8(mark, MARK_READING, MARK_READING);
}

void ring_ahead_release(struct lane *lane, uint32_t buffer)
{
	__atomic_fetch_and(&lane->ahead_busy, ~(1ul << buffer), __ATOMIC_SEQ_CST);
}

/* The host's list of what it read, checked: each buffer was offered, none comes twice. */
static size_t ahead_take(struct lane *lane, struct ring_ahead *ahead, uint64_t offered, uint32_t event_count)
{
	uint32_t u_count = fetch32(&lane->wire->ahead_count);

	if (u_count > AHEAD_COUNT)
		die("the helper read ahead more than there is room for");
	for (uint32_t i = 0; i < u_count; i++) {
		struct wire_ahead u_ahead;

		copy_in(&u_ahead, &lane->wire->ahead[i], sizeof u_ahead);
		if (u_ahead.event >= event_count || u_ahead.result > (int32_t)AHEAD_SIZE || u_ahead.result < -4095 ||
		    u_ahead.buffer >= AHEAD_COUNT)
			die("the helper read ahead what it was not asked to");
		ahead[i] = (struct ring_ahead){ .event = u_ahead.event, .result = u_ahead.result };
		if (u_ahead.result <= 0)
			continue;
		if (!(offered & 1ul << u_ahead.buffer))
			die("the helper read ahead into a buffer that is in use");
		offered &= ~(1ul << u_ahead.buffer);
		__atomic_fetch_or(&lane->ahead_busy, 1ul << u_ahead.buffer, __ATOMIC_SEQ_CST);
		ahead[i].buffer = u_ahead.buffer;
		ahead[i].size = (uint32_t)u_ahead.result;
		ahead[i].bytes = (uint8_t *)lane->wire + LANE_AHEAD + u_ahead.buffer * AHEAD_SIZE;
		lane->stats.ahead++;
	}
	return u_count;
}

long ring_turn(struct thread *thread, long nr, const long args[6], enum ring_class class,
	       struct ring_ahead ahead[64], size_t *ahead_count)
{
	bool is_poll = nr == __NR_poll || nr == __NR_ppoll;
	uint64_t offered = ~__atomic_load_n(&thread->lane->ahead_busy, __ATOMIC_SEQ_CST);
	struct wire_lane *wire = thread->lane->wire;
	uint64_t event_count = (uint64_t)args[is_poll ? 1 : 2];
	long u_result;

	wire->nr = nr;
	for (int i = 0; i < 6; i++)
		wire->args[i] = (uint64_t)args[i];
	put64(&wire->ahead_free, offered);
	put32(&wire->ahead_count, 0);
	*ahead_count = 0;
	u_result = lane_cross(thread, is_poll ? REQUEST_TURN_POLL : REQUEST_TURN_EPOLL, 0, class);
	if (!is_poll && u_result >= 0 && (uint64_t)u_result < event_count)
		event_count = (uint64_t)u_result;
	if (u_result > 0)
		*ahead_count = ahead_take(thread->lane, ahead, offered, (uint32_t)event_count);
	return u_result;
}
