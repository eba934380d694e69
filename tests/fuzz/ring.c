/*
 * ring.c - fuzz target: a program that calls, posts, waits and is interrupted, on a ring whose other side is the input.
 *
 * Owns: the helper's words: before each fetch the input may change any of them; indices out of range, completions that
 * nobody asked for, replayed, dropped or out of order. When the input is used up the helper is honest, so that
 * everything ends. Must never: help the enclave. The real files under it: ring.c, ring_post.c.
 * Run by: tools/fuzz and tests/fuzz/test_fuzz.py, with AddressSanitizer and UndefinedBehaviorSanitizer.
 */
#include <setjmp.h>
#include "ring_inner.h"
#include "target.h"

enum { OPERATIONS = 24, FDS = 4, TURN_EVENTS = 8, STEPS_MAX = 4096 };

struct enclave enclave = { .control_fd = -1 };
struct ring ring;
struct lane ring_lanes[LANE_COUNT_MAX];

static struct thread this_thread;
static struct { const uint8_t *bytes; size_t size, at; } input;
static jmp_buf stopped;
static unsigned steps;

static bool is_honest(void)
{
	return input.at >= input.size || ++steps > STEPS_MAX;
}

static uint8_t next(void)
{
	return input.at < input.size ? input.bytes[input.at++] : 0;
}

static uint32_t next32(void)
{
	uint32_t low = next(), high = next();

	return low | high << 8 | (low & 1 ? 0xffff0000u : 0);
}

/* ---- the helper ---- */

static void helper_serve(struct lane *lane)
{
	struct wire_lane *wire = lane->wire;

	wire->result = 0;
	wire->ahead_count = 0;
	for (uint32_t i = 0; i < POST_COUNT; i++)
		wire->post[i].result = 0;
	for (uint32_t i = 0; i < BACKLOG_COUNT; i++)
		wire->backlog[i].state = BACKLOG_FREE;
	wire->post_tail = lane->post_head;
	wire->cancels_seen++;
	wire->done = lane->sequence;
}

static void helper_lie(struct lane *lane)
{
	struct wire_lane *wire = lane->wire;
	uint32_t *words = (uint32_t *)wire;

	switch (next() % 10) {
	case 0:
		wire->done = lane->sequence + next() - 128;
		break;
	case 1:
		wire->post_tail = lane->post_tail + next32();
		break;
	case 2:
		wire->post[next() % POST_COUNT].result = (int32_t)next32();
		break;
	case 3:
		wire->backlog[next() % BACKLOG_COUNT] = (struct wire_backlog){ .state = next() % 4, .fd = (int32_t)next32(),
									       .result = (int32_t)next32() };
		break;
	case 4:
		wire->ahead_count = next() % 80;
		break;
	case 5:
		wire->ahead[next() % 8] = (struct wire_ahead){ next() % 12, next() % 80, (int32_t)next32(), 0 };
		break;
	case 6:
		wire->result = (int64_t)(int32_t)next32();
		break;
	case 7:
		wire->cancels_seen += next();
		break;
	case 8:
		words[next32() % (sizeof *wire / 4)] = next32();
		break;
	default:
		wire->done = lane->sequence;
	}
}

void host_before(void *shared, size_t size)
{
	struct lane *lane = &ring_lanes[0];

	(void)shared, (void)size;
	if (is_honest())
		helper_serve(lane);
	else if (next() & 1)
		helper_lie(lane);
}

void host_after(void *shared, size_t size)
{
	host_before(shared, size);
}

long gate6(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	host_before(NULL, 0);
	return nr == __NR_futex && next() & 1 ? -ETIMEDOUT : 0;
}

long gate_interruptible(long nr, long a, long b, long c, long d, long e, long f)
{
	if (!is_honest() && next() % 8 == 0)
		this_thread.signal_pending = 1;
	return this_thread.signal_pending ? -GATE_RESTART : gate6(nr, a, b, c, d, e, f);
}

/* ---- the rest of the enclave ---- */

_Noreturn void die(const char *reason)
{
	(void)reason;
	longjmp(stopped, 1);	/* a clean stop is an answer to a lie */
}

void mutex_lock(struct mutex *mutex)
{
	if (mutex->state++)
		target_failed("a mutex is taken twice", mutex->state);
}

void mutex_unlock(struct mutex *mutex)
{
	if (--mutex->state)
		target_failed("a mutex is given back twice", mutex->state);
}

void epoll_leave(int fd)
{
	(void)fd;
}

void ring_check_helper(void)
{
}

bool ring_attach(struct thread *thread)
{
	return thread->lane != NULL;
}

int ring_adopt(int fd)
{
	(void)fd;
	return -1;
}

long lane_ready(struct lane *lane)
{
	(void)lane;
	return -ENOMEM;
}

/* ---- the program ---- */

static void judge(const struct lane *lane)
{
	uint32_t queued = 0;

	if (lane->post_head - lane->post_tail > POST_COUNT)
		target_failed("posts", lane->post_head - lane->post_tail);
	if (lane->byte_head - lane->byte_tail > POST_BYTES)
		target_failed("bytes", lane->byte_head - lane->byte_tail);
	for (int fd = 0; fd < FDS; fd++)
		queued += ring.fd_posts[fd].queued;
	if (queued != lane->post_head - lane->post_tail)
		target_failed("queued", queued);
}

static void turn(struct lane *lane, enum ring_class class, bool is_poll)
{
	long args[6] = { 0, 0, TURN_EVENTS, -1, 0, 0 };
	struct ring_ahead ahead[64];
	uint64_t before = lane->ahead_busy, seen = 0;
	size_t count = 0;

	if (is_poll)
		args[1] = TURN_EVENTS;
	ring_turn(&this_thread, is_poll ? __NR_poll : __NR_epoll_wait, args, class, ahead, &count);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *area = (const uint8_t *)lane->wire + LANE_AHEAD;

		if (ahead[i].event >= TURN_EVENTS || ahead[i].result < -4095 || ahead[i].result > (int32_t)AHEAD_SIZE)
			target_failed("ahead", ahead[i].result);
		if (ahead[i].result <= 0)
			continue;
		if (ahead[i].buffer >= AHEAD_COUNT || (before | seen) & 1ul << ahead[i].buffer)
			target_failed("a buffer twice", ahead[i].buffer);
		if (ahead[i].bytes != area + ahead[i].buffer * AHEAD_SIZE || ahead[i].size > AHEAD_SIZE)
			target_failed("bytes ahead", ahead[i].size);
		seen |= 1ul << ahead[i].buffer;
	}
	if (lane->ahead_busy != (before | seen))
		target_failed("buffers", (long)lane->ahead_busy);
}

static void operate(struct lane *lane)
{
	static const uint8_t bytes[POST_BYTES];
	const long args[6] = { 0 };
	struct ring_batch batch[3] = { { .nr = 39 }, { .nr = 39 }, { .nr = 39 } };
	enum ring_class class = next() % 3;
	int fd = next() % FDS, state;

	switch (next() % 8) {
	case 0:
		ring_call(&this_thread, 39, args, class);
		break;
	case 1:
	case 2:
		ring_post(&this_thread, fd, bytes, next() * 300u, 0);
		break;
	case 3:
		state = ring_post_state(fd);
		if (state > RING_BACKLOG || state < -4095)
			target_failed("a state", state);
		break;
	case 4:
		ring_settle(&this_thread, fd, class);
		break;
	case 5:
		turn(lane, class, class == RING_RESTART);
		break;
	case 6:
		ring_batch(&this_thread, batch, 3);
		break;
	default:
		ring_ahead_release(lane, (uint32_t)__builtin_ctzl(lane->ahead_busy | 1ul << 63));
		this_thread.signal_pending = next() & 1;
	}
}

static void start(void)
{
	uint8_t *map = aligned_alloc(4096, 2 * LANE_SIZE);

	ring.control = (struct wire_control *)map;
	ring.fd_posts = calloc(FD_MARK_COUNT, sizeof *ring.fd_posts);
	ring_lanes[0].wire = (struct wire_lane *)(map + LANE_SIZE);
	this_thread.self = &this_thread;
	target_gs_set(&this_thread);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct lane *lane = &ring_lanes[0];
	struct wire_lane *wire;

	if (!lane->wire)
		start();
	wire = lane->wire;
	*lane = (struct lane){ .wire = wire };
	__builtin_memset(wire, 0, sizeof *wire);
	__builtin_memset(ring.fd_posts, 0, FDS * sizeof *ring.fd_posts);
	ring.state = RING_ON;
	wire->cancel = 1;
	this_thread.lane = lane;
	this_thread.signal_pending = 0;
	input.bytes = bytes;
	input.size = size;
	input.at = steps = 0;
	if (setjmp(stopped))
		return 0;
	for (int i = 0; i < OPERATIONS && input.at < input.size; i++) {
		operate(lane);
		judge(lane);
	}
	return 0;
}
