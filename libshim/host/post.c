/*
 * post.c - write-behind and read-ahead on the helper's side.
 *
 * Owns: post_tail, backlog[], backlog_used, ahead[] of a lane. Must never: block, or let bytes of one descriptor overtake each other.
 * Used by: twin.c (posts, read-ahead), helper.c (backlog).
 */
#include <linux/eventpoll.h>
#include <linux/poll.h>
#include "host.h"

enum { MESSAGE_DONTWAIT = 0x40, MESSAGE_NOSIGNAL = 0x4000, WRITE_NOWAIT = 8, MESSAGE_SHUT_WRITE = 1 };

static HOST long send_now(int32_t fd, uint32_t flags, const uint8_t *bytes, uint32_t size)
{
	uint64_t vector[2] = { (uint64_t)bytes, size };
	long result;

	if (!(flags & POST_WRITE))
		return host_syscall(__NR_sendto, fd, (long)bytes, size, (long)(flags | MESSAGE_DONTWAIT | MESSAGE_NOSIGNAL),
				    0, 0);
	result = host_syscall(__NR_pwritev2, fd, (long)vector, 1, -1, -1, WRITE_NOWAIT);
	if (result == -EOPNOTSUPP)
		result = host_syscall(__NR_write, fd, (long)bytes, size, 0, 0, 0);
	return result;
}

static HOST void slot_lock(struct wire_backlog *slot)
{
	while (swap32(&slot->lock, 1))
		host_syscall(__NR_sched_yield, 0, 0, 0, 0, 0, 0);
}

INLINE uint8_t *slot_bytes(struct wire_lane *lane, uint32_t index)
{
	return (uint8_t *)lane + LANE_BACKLOG + index * BACKLOG_BYTES;
}

static HOST void slot_free(struct wire_lane *lane, uint32_t index)
{
	store32(&lane->backlog[index].state, BACKLOG_FREE);
	__atomic_fetch_and(&lane->backlog_used, ~(1ul << index), __ATOMIC_SEQ_CST);
}

/*
 * All was sent, or can't be. A slot is nobody's before the number of its descriptor is, and is free only after that: then the
 * enclave may end the helper at any moment.
 */
static HOST void slot_end(struct wire_lane *lane, uint32_t index, long result)
{
	struct wire_backlog *slot = &lane->backlog[index];
	uint32_t after = slot->after;
	int32_t fd = slot->fd;

	if (after & AFTER_SHUT)
		host_syscall(__NR_shutdown, fd, MESSAGE_SHUT_WRITE, 0, 0, 0, 0);
	slot->after = 0;
	if (result < 0 && !(after & AFTER_CLOSE)) {
		slot->result = (int32_t)result;
		store32(&slot->state, BACKLOG_FAILED);
		return;
	}
	if (after & AFTER_CLOSE) {
		store32((uint32_t *)&slot->fd, ~0u);
		host_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
	}
	slot_free(lane, index);
}

HOST bool backlog_serve(struct wire_lane *lane, uint32_t index)
{
	struct wire_backlog *slot = &lane->backlog[index];
	long result = 0;
	bool done;

	slot_lock(slot);
	while (slot->state == BACKLOG_BUSY && slot->start < slot->end && result >= 0) {
		result = send_now(slot->fd, slot->flags, slot_bytes(lane, index) + slot->start, slot->end - slot->start);
		if (result > 0)
			slot->start += (uint32_t)result;
	}
	done = result != -EAGAIN;
	if (done && slot->state == BACKLOG_BUSY)	/* else it was given up while this waited for the lock */
		slot_end(lane, index, result);
	store32(&slot->lock, 0);
	return done;
}

HOST uint64_t backlog_slots(struct wire_lane *lane)
{
	uint64_t used = load64(&lane->backlog_used);

	for (uint64_t left = used; left; left &= left - 1) {
		uint32_t index = (uint32_t)__builtin_ctzl(left);
		struct wire_backlog *slot = &lane->backlog[index];

		if (load32(&slot->state) != BACKLOG_FREE)
			continue;
		slot_lock(slot);	/* the enclave has taken note of its failure */
		if (slot->state == BACKLOG_FREE)
			slot_free(lane, index);
		store32(&slot->lock, 0);
	}
	return used;
}

HOST long backlog_adopt(struct wire_lane *lane, int32_t from, int32_t to, uint32_t after)
{
	long found = 0;

	for (uint64_t left = backlog_slots(lane); left; left &= left - 1) {
		uint32_t index = (uint32_t)__builtin_ctzl(left);
		struct wire_backlog *slot = &lane->backlog[index];

		slot_lock(slot);
		if (slot->state == BACKLOG_FAILED && slot->fd == from && to != from)
			slot_free(lane, index);		/* nobody can be told any more */
		if (slot->state == BACKLOG_BUSY && slot->fd == from) {
			found++;
			slot->fd = to;
			slot->after |= after;
			if (to < 0)
				slot_free(lane, index);
		}
		store32(&slot->lock, 0);
	}
	return found;
}

static HOST long dissolve(int32_t fd)
{
	uint64_t nobody[2] = { 0 };	/* AF_UNSPEC */

	return host_syscall(__NR_connect, fd, (long)nobody, sizeof nobody, 0, 0, 0);
}

/* Under the slot's lock, so that none of it is sent in between: neither to the next peer, nor does it take the error. */
HOST long backlog_dissolve(struct wire_lane *lane, int32_t fd)
{
	long result = 1;

	for (uint64_t left = backlog_slots(lane); left; left &= left - 1) {
		uint32_t index = (uint32_t)__builtin_ctzl(left);
		struct wire_backlog *slot = &lane->backlog[index];

		slot_lock(slot);
		if (slot->state != BACKLOG_FREE && slot->fd == fd) {
			result = result > 0 ? dissolve(fd) : result;
			if (!result)
				slot_free(lane, index);
		}
		store32(&slot->lock, 0);
	}
	return result > 0 ? dissolve(fd) : result;
}

/* The busy slot of `fd`, or BACKLOG_COUNT. */
static HOST uint32_t slot_of(struct wire_lane *lane, int32_t fd)
{
	for (uint64_t left = load64(&lane->backlog_used); left; left &= left - 1) {
		uint32_t index = (uint32_t)__builtin_ctzl(left);

		if (load32(&lane->backlog[index].state) == BACKLOG_BUSY && lane->backlog[index].fd == fd)
			return index;
	}
	return BACKLOG_COUNT;
}

static HOST bool backlogged(struct wire_lane *lane, int32_t fd)
{
	return slot_of(lane, fd) != BACKLOG_COUNT;
}

/* Puts bytes behind what waits for the descriptor, or into a free slot; false when there is no room, which the enclave
 * sees to before it posts. */
static HOST bool backlog_add(struct wire_lane *lane, const struct wire_post *post, const uint8_t *bytes, uint32_t size)
{
	uint32_t index = slot_of(lane, post->fd);
	uint64_t free = ~backlog_slots(lane);
	struct wire_backlog *slot;
	bool added = false;

	if (index == BACKLOG_COUNT && !free)
		return false;
	if (index == BACKLOG_COUNT)
		index = (uint32_t)__builtin_ctzl(free);
	slot = &lane->backlog[index];
	slot_lock(slot);
	if (slot->state == BACKLOG_FREE) {	/* also when all of it was sent meanwhile */
		slot->start = slot->end = 0;
		slot->fd = post->fd;
		slot->after = 0;
	}
	if (slot->state != BACKLOG_FAILED && slot->fd == post->fd && size <= BACKLOG_BYTES - slot->end) {
		copy_bytes(slot_bytes(lane, index) + slot->end, bytes, size);
		slot->end += size;
		slot->flags = post->flags;	/* an earlier MSG_MORE is over */
		store32(&slot->state, BACKLOG_BUSY);
		__atomic_fetch_or(&lane->backlog_used, 1ul << index, __ATOMIC_SEQ_CST);
		added = true;
	}
	store32(&slot->lock, 0);
	return added;
}

/* One post: its result, or POST_PENDING when it has to stay in the queue. */
static HOST int32_t post_serve(struct wire_control *control, struct wire_lane *lane, struct wire_post *post)
{
	const uint8_t *bytes = (uint8_t *)lane + LANE_POST_BYTES + post->start % POST_BYTES;
	uint32_t sent = 0;
	long result;

	if (!backlogged(lane, post->fd)) {
		do {
			result = send_now(post->fd, post->flags, bytes + sent, post->size - sent);
			if (result > 0)
				sent += (uint32_t)result;
		} while (sent < post->size && (result > 0 || result == -EINTR));
		if (sent == post->size)
			return 0;
		if (result < 0 && result != -EAGAIN)
			return (int32_t)result;
	}
	if (backlog_add(lane, post, bytes + sent, post->size - sent)) {
		host_syscall(__NR_tgkill, control->helper_pid, control->helper_pid, SIGNAL_CONTROL, 0, 0, 0);
		return POST_BACKLOG;
	}
	post->start += sent;
	post->size -= sent;
	return POST_PENDING;
}

/*
 * Sends the posts from `tail` on at once, as far as each is the first on its descriptor: a short send must not be
 * overtaken. What is not sent is still pending. How many it looked at, at least 1.
 */
static HOST uint32_t posts_together(struct wire_control *control, struct wire_lane *lane, uint32_t tail, uint32_t head)
{
	struct uring_call calls[URING_COUNT_MAX];
	uint64_t seen = 0;
	uint32_t count = 0;

	for (; tail + count != head && count < URING_COUNT_MAX; count++) {
		const struct wire_post *post = &lane->post[(tail + count) % POST_COUNT];
		uint64_t bit = 1ul << (post->fd & 63);

		if ((seen & bit) || post->result != POST_PENDING || (post->flags & POST_WRITE) ||
		    backlogged(lane, post->fd))
			break;
		seen |= bit;
		calls[count] = (struct uring_call){
			.sends = true, .fd = post->fd, .size = post->size,
			.flags = post->flags | MESSAGE_DONTWAIT | MESSAGE_NOSIGNAL,
			.bytes = (uint8_t *)lane + LANE_POST_BYTES + post->start % POST_BYTES,
		};
	}
	uring_run(control, lane, calls, count);
	for (uint32_t i = 0; i < count; i++) {
		struct wire_post *post = &lane->post[(tail + i) % POST_COUNT];
		int32_t result = calls[i].result;

		if (result == (int32_t)post->size)
			post->result = 0;
		else if (result > 0)
			post->start += (uint32_t)result, post->size -= (uint32_t)result;
		else if (result && result != -EAGAIN && result != -EINTR && result != RING_NOT_BEGUN)
			post->result = result;
	}
	return count ? count : 1;
}

HOST void posts_serve(struct wire_control *control, struct wire_lane *lane)
{
	uint32_t head = load32(&lane->post_head), tail = lane->post_tail, tried = tail;
	uint32_t fewest = load32(&control->uring_min);

	lane->post_seen = head;
	for (; tail != head; tail++) {
		struct wire_post *post = &lane->post[tail % POST_COUNT];

		if (tail == tried)
			tried += fewest && head - tail >= fewest ? posts_together(control, lane, tail, head) : 1;
		if (post->result == POST_PENDING)
			post->result = post_serve(control, lane, post);
		if (post->result == POST_PENDING)
			return;
		store32(&lane->post_tail, tail + 1);
	}
}

/* Reads that wait to be made together. */
struct ahead_batch {
	uint32_t count;
	struct wire_ahead reads[URING_COUNT_MAX];
	struct uring_call calls[URING_COUNT_MAX];
};

static HOST void ahead_finish(struct wire_control *control, struct wire_lane *lane, const struct wire_ahead *read,
			      const struct uring_call *call)
{
	long result = call->result;

	if (result == RING_NOT_BEGUN)
		result = host_syscall(__NR_recvfrom, call->fd, (long)call->bytes, call->size, call->flags, 0, 0);
	if (result < 0)
		lane->ahead_free |= 1ul << read->buffer;
	if (result == -ENOTCONN || result == -ENOTSOCK || result == -EAGAIN || result == -EINTR)
		change8(&control->fd_marks[call->fd], MARK_READING, MARK_READ);
	if (result == -ENOTCONN || result == -ENOTSOCK)		/* listens, or is no socket: nothing can be read ahead */
		return;
	lane->ahead[lane->ahead_count] = (struct wire_ahead){ read->event, read->buffer, (int32_t)result, 0 };
	lane->ahead_count++;
}

static HOST void ahead_run(struct wire_control *control, struct wire_lane *lane, struct ahead_batch *batch)
{
	uring_run(control, lane, batch->calls, batch->count);
	for (uint32_t i = 0; i < batch->count; i++)
		ahead_finish(control, lane, &batch->reads[i], &batch->calls[i]);
	batch->count = 0;
}

/* Whether there is room for one more. */
static HOST bool ahead_room(const struct wire_lane *lane, const struct ahead_batch *batch)
{
	return lane->ahead_count + batch->count < AHEAD_COUNT && lane->ahead_free;
}

static HOST void ahead_add(struct wire_control *control, struct wire_lane *lane, struct ahead_batch *batch,
			   uint32_t event, uint32_t fd)
{
	uint32_t buffer = (uint32_t)__builtin_ctzl(lane->ahead_free);

	if (fd >= FD_MARK_COUNT || !change8(&control->fd_marks[fd], MARK_READ, MARK_READING))
		return;		/* two lanes must not read one stream: neither would know whose bytes come first */
	lane->ahead_free &= lane->ahead_free - 1;
	batch->reads[batch->count] = (struct wire_ahead){ .event = event, .buffer = buffer };
	batch->calls[batch->count++] = (struct uring_call){
		.fd = (int32_t)fd, .size = AHEAD_SIZE, .flags = MESSAGE_DONTWAIT,
		.bytes = (uint8_t *)lane + LANE_AHEAD + buffer * AHEAD_SIZE,
	};
	if (batch->count == URING_COUNT_MAX)
		ahead_run(control, lane, batch);
}

HOST void ahead_serve(struct wire_control *control, struct wire_lane *lane, long count)
{
	struct ahead_batch batch;

	batch.count = 0;
	lane->ahead_count = 0;
	if (lane->kind == REQUEST_TURN_EPOLL) {
		const struct epoll_event *events = (const struct epoll_event *)lane->args[1];

		for (uint32_t i = 0; (long)i < count && ahead_room(lane, &batch); i++)
			if (events[i].events & EPOLLIN)
				ahead_add(control, lane, &batch, i, (uint32_t)events[i].data);
	}
	if (lane->kind == REQUEST_TURN_POLL && count > 0) {
		const struct pollfd *polled = (const struct pollfd *)lane->args[0];

		for (uint32_t i = 0; i < lane->args[1] && ahead_room(lane, &batch); i++)
			if (polled[i].revents & POLLIN)
				ahead_add(control, lane, &batch, i, (uint32_t)polled[i].fd);
	}
	ahead_run(control, lane, &batch);
}
