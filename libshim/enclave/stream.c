/*
 * stream.c - stream sockets in asynchronous mode: what was read ahead of the program.
 *
 * Owns: the list of descriptors with data read ahead, and who may read what the kernel has next. Must never: let a byte
 * overtake another, or an error get lost. Called by: transfer.c, splice.c, epoll.c, poll.c, descriptor.c, clone.c.
 *
 *   AHEAD_UNKNOWN ── epoll_ctl ── AHEAD_WATCHED ── first read ── AHEAD_MARKED ── dup, rare options ── AHEAD_REFUSED
 */
#include "../wire/ring.h"
#include "check.h"
#include "stream.h"
#include "untrusted.h"

enum { CLAIM_TRIES = 20000, CLAIM_STEP_NS = 50000 };

static struct mutex held_mutex, twins_mutex;
static int held_first = -1;

long stream_error(uint32_t nr, long u_result)
{
	return u_result < 0 ? check_error(nr, &call_shapes[nr], u_result) : u_result;
}

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

/* Under the descriptor's mutex: whether the bytes that were found are kept. */
static bool held_set(int fd, struct descriptor *descriptor, const struct ring_ahead *found, struct lane *lane)
{
	if (descriptor->ahead_state != AHEAD_MARKED && descriptor->ahead_state != AHEAD_REFUSED)
		return false;		/* closed meanwhile */
	if (found->result == -EAGAIN || found->result == -EINTR)
		return false;		/* nothing was there: the program's own read will see */
	if (descriptor->ahead.is_held)
		die("the helper read ahead of what it had read already");
	descriptor->ahead = (struct ahead) {
		.bytes = found->result > 0 ? found->bytes : NULL, .size = found->result > 0 ? found->size : 0,
		.result = (int32_t)stream_error(__NR_recvfrom, found->result), .buffer = found->buffer, .lane = lane,
	};
	ring_mark(fd, false);		/* no more until the program has read this */
	held_link(fd, descriptor);
	return true;
}

void stream_hold(int fd, const struct ring_ahead *found, struct lane *lane)
{
	struct descriptor *descriptor = descriptor_of(fd);
	bool is_kept = false;

	if (descriptor) {
		mutex_lock(&descriptor->mutex);
		is_kept = held_set(fd, descriptor, found, lane);
		mutex_unlock(&descriptor->mutex);
	}
	if (!is_kept && found->result > 0)
		ring_ahead_release(lane, found->buffer);
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

bool stream_held_is_part(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	return descriptor && descriptor->ahead.is_held &&
	       (descriptor->ahead.size == AHEAD_SIZE || descriptor->ahead.is_told);
}

void stream_tell(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (descriptor && descriptor->ahead.is_held)
		descriptor->ahead.is_told = true;
}

static long parts_fill(const struct ahead *ahead, const struct io_part *parts, uint64_t count, bool discards)
{
	uint32_t left = ahead->size - ahead->used, done = 0;

	for (uint64_t i = 0; i < count && done < left; i++) {
		uint32_t part = parts[i].size < left - done ? (uint32_t)parts[i].size : left - done;

		if (!discards)
			TRY(copy_guarded((void *)parts[i].base, ahead->bytes + ahead->used + done, part));
		done += part;
	}
	return done;
}

/* Under the descriptor's mutex. */
static bool held_take(int fd, struct descriptor *descriptor, const struct io_part *parts, uint64_t count, uint32_t how,
		      long *result)
{
	struct ahead *ahead = &descriptor->ahead;

	if (!ahead->bytes) {		/* end of file, or an error: the kernel says the same again, or nothing */
		*result = ahead->result;
		if (!(how & TAKE_PEEK))
			held_unlink(fd, descriptor);
		return true;
	}
	*result = parts_fill(ahead, parts, count, how & TAKE_NOTHING);
	if (*result < 0 || how & TAKE_PEEK)
		return true;
	ahead->used += (uint32_t)*result;
	if (ahead->used < ahead->size)
		return true;
	held_unlink(fd, descriptor);
	ring_mark(fd, descriptor->ahead_state == AHEAD_MARKED && !descriptor->readers);
	return true;
}

/* Other numbers of the same connection lose what one of them gave. Under twins_mutex. */
static void twins_follow(int fd, const struct descriptor *descriptor)
{
	for (int at = descriptor->twin - 1; at >= 0 && at != fd;) {
		struct descriptor *other = descriptor_of(at);

		if (descriptor->ahead.is_held)
			other->ahead.used = descriptor->ahead.used;
		else if (other->ahead.is_held)
			held_unlink(at, other);
		at = other->twin - 1;
	}
}

/* Under twins_mutex. */
static void twin_leave(int fd, struct descriptor *descriptor)
{
	struct descriptor *before = descriptor;

	while (before->twin != fd + 1)
		before = descriptor_of(before->twin - 1);
	before->twin = descriptor->twin;
	if (descriptor_of(before->twin - 1) == before)
		before->twin = 0;
	descriptor->twin = 0;
}

bool stream_take(int fd, const struct io_part *parts, uint64_t count, uint32_t how, long *result)
{
	struct descriptor *descriptor = descriptor_of(fd);
	bool is_taken = false, is_shared;

	if (!descriptor || !descriptor->ahead.is_held)
		return false;
	is_shared = descriptor->is_shared;
	if (unlikely(is_shared))
		mutex_lock(&twins_mutex);
	mutex_lock(&descriptor->mutex);
	if (descriptor->ahead.is_held) {
		is_taken = held_take(fd, descriptor, parts, count, how, result);
		thread_self()->stats.ring_reads_ahead++;
	}
	mutex_unlock(&descriptor->mutex);
	if (unlikely(is_shared)) {
		twins_follow(fd, descriptor);
		mutex_unlock(&twins_mutex);
	}
	return is_taken;
}

/*
 * Threads may read a descriptor, or close its number, while another's turn is under way: what the helper takes meanwhile
 * comes first, and is never of the next connection with that number. Returns with the descriptor's mutex; then either
 * something is held, or the helper takes nothing until it is marked again.
 */
static void mark_claim(int fd, struct descriptor *descriptor)
{
	static const struct { int64_t seconds, nanoseconds; } step = { 0, CLAIM_STEP_NS };

	for (int i = 0; i < CLAIM_TRIES; i++) {
		mutex_lock(&descriptor->mutex);
		if (descriptor->ahead.is_held || ring_unmark(fd))
			return;
		mutex_unlock(&descriptor->mutex);
		gate2(__NR_nanosleep, &step, 0);
	}
	die("the helper reads ahead and does not tell what");
}

/* It takes nothing while a thread waits in the kernel for the next bytes. */
static enum stream_source read_claim(int fd, struct descriptor *descriptor)
{
	bool is_held;

	mark_claim(fd, descriptor);
	is_held = descriptor->ahead.is_held;
	descriptor->readers = (uint16_t)(descriptor->readers + !is_held);
	mutex_unlock(&descriptor->mutex);
	return is_held ? STREAM_HELD : STREAM_CLAIMED;
}

enum stream_source stream_read_begin(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (!descriptor)
		return STREAM_HOST;
	if (descriptor->ahead.is_held)
		return STREAM_HELD;
	if (likely(descriptor->ahead_state != AHEAD_WATCHED && descriptor->ahead_state != AHEAD_MARKED))
		return STREAM_HOST;
	if (thread_all()->next_all)
		return read_claim(fd, descriptor);
	return descriptor->ahead_state == AHEAD_WATCHED ? STREAM_WATCHED : STREAM_HOST;
}

void stream_read_end(int fd, enum stream_source source, long result)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (source < STREAM_WATCHED)
		return;
	mutex_lock(&descriptor->mutex);
	if (source == STREAM_CLAIMED && descriptor->readers)
		descriptor->readers--;
	if (descriptor->ahead_state == AHEAD_WATCHED && result > 0 && ring_mark(fd, false))
		descriptor->ahead_state = AHEAD_MARKED;
	if (descriptor->ahead_state == AHEAD_MARKED && !descriptor->readers && !descriptor->ahead.is_held)
		ring_mark(fd, true);
	mutex_unlock(&descriptor->mutex);
}

void stream_watch(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (descriptor && descriptor->ahead_state == AHEAD_UNKNOWN && descriptor_kind(fd) == KIND_STREAM)
		descriptor->ahead_state = AHEAD_WATCHED;
}

void stream_refuse(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);
	enum stream_source source;

	if (!descriptor || descriptor->ahead_state == AHEAD_REFUSED || descriptor_kind(fd) != KIND_STREAM)
		return;
	source = stream_read_begin(fd);
	descriptor->ahead_state = AHEAD_REFUSED;
	stream_read_end(fd, source, 0);
	if (source == STREAM_HOST)
		ring_mark(fd, false);
}

void stream_forget(int fd, struct descriptor *descriptor)
{
	if (descriptor->ahead_state == AHEAD_UNKNOWN)
		return;
	if (unlikely(descriptor->twin)) {
		mutex_lock(&twins_mutex);
		twin_leave(fd, descriptor);
		mutex_unlock(&twins_mutex);
	}
	mark_claim(fd, descriptor);
	ring_mark(fd, false);
	if (descriptor->ahead.is_held)
		held_unlink(fd, descriptor);
	descriptor->ahead_state = AHEAD_UNKNOWN;
	descriptor->readers = 0;
	mutex_unlock(&descriptor->mutex);
}

void stream_dissolved(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	mutex_lock(&twins_mutex);
	mutex_lock(&descriptor->mutex);
	if (descriptor->ahead.is_held)
		held_unlink(fd, descriptor);
	if (descriptor->ahead_state == AHEAD_MARKED) {
		ring_mark(fd, false);
		descriptor->ahead_state = AHEAD_WATCHED;	/* the next connection is read first, too */
	}
	descriptor->is_connected = descriptor->is_shut = false;
	mutex_unlock(&descriptor->mutex);
	twins_follow(fd, descriptor);
	mutex_unlock(&twins_mutex);
}

/* A copy of what is held that is the enclave's own. */
static const uint8_t *held_copy(const struct ahead *ahead)
{
	uint8_t *copy = pages_map(ahead->size);

	if (!copy)
		die("no memory for what was read ahead");
	copy_in(copy, ahead->bytes, ahead->size);
	return copy;
}

void stream_duplicated(int from, int to)
{
	struct descriptor *old = descriptor_of(from), *new = descriptor_of(to);

	if (!old || !new || old->ahead_state != AHEAD_REFUSED)
		return;
	new->ahead_state = AHEAD_REFUSED;
	new->is_shared = old->is_shared;
	mutex_lock(&twins_mutex);
	if (old->ahead.is_held) {
		new->ahead = old->ahead;
		new->ahead.bytes = old->ahead.bytes ? held_copy(&old->ahead) : NULL;
		new->ahead.lane = NULL;
		new->twin = old->twin ? old->twin : from + 1;
		old->twin = to + 1;
		held_link(to, new);
	}
	mutex_unlock(&twins_mutex);
}

void stream_privatize(void)
{
	for (int fd = held_first; fd >= 0; fd = descriptor_of(fd)->next_held) {
		struct ahead *ahead = &descriptor_of(fd)->ahead;
		const uint8_t *copy;

		if (!ahead->lane || !ahead->bytes)
			continue;
		copy = held_copy(ahead);
		ring_ahead_release(ahead->lane, ahead->buffer);
		ahead->bytes = copy;
		ahead->lane = NULL;
	}
}
