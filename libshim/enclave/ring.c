/*
 * ring.c - one round trip: issue a request, wait for its completion, cancel it when a signal of the program comes.
 *
 * Owns: the enclave's side of the request, done and cancel words. Must never: believe an index or a sequence number of
 * the host: the done word is the last one or the awaited one, or the program stops. Used by: ring.h's callers.
 *
 *   lane_enter ── lane_issue ── lane_await (spin, then sleep; signal: lane_cancel) ── lane_leave
 */
#include "ring_inner.h"

enum { WAIT_NS = 100000000, LOOKS_A_STEP = 8, SEEN_TRIES = 100 };

static const struct kernel_timespec wait_time = { 0, WAIT_NS };

void *lane_data(struct thread *thread, size_t size)
{
	struct lane *lane = thread->lane;
	size_t at = lane->data_used;

	if (size > LANE_DATA_SIZE - at)
		return NULL;
	lane->data_used = at + ((size + 15) & ~15ul);
	return (uint8_t *)lane->wire + LANE_DATA + at;
}

void lane_data_release(struct thread *thread)
{
	enum { KEEP = 256 * 1024 };
	struct lane *lane = thread->lane;

	if (unlikely(lane->data_used > KEEP))
		gate3(__NR_madvise, (uint8_t *)lane->wire + LANE_DATA + KEEP, LANE_DATA_SIZE - KEEP, 9 /* MADV_REMOVE */);
	lane->data_used = 0;
}

void lane_cancel(struct lane *lane)
{
	uint32_t interruptible = LANE_INTERRUPTIBLE;

	if (!__atomic_compare_exchange_n(&lane->busy, &interruptible, LANE_CANCELLING, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return;
	put32(&lane->wire->cancel, lane->sequence);
	gate3(__NR_tgkill, ring.helper_pid, lane->twin_tid, SIGNAL_CANCEL);
	__atomic_store_n(&lane->busy, LANE_CANCELLED, __ATOMIC_SEQ_CST);
}

bool ring_wait_word(void *word, uint32_t value, unsigned tries)
{
	while (fetch32(word) == value) {
		long result = gate6(__NR_futex, (long)word, FUTEX_WAIT, value, (long)&wait_time, 0, 0);

		if (result != -ETIMEDOUT)
			continue;
		ring_check_helper();
		if (tries-- == 0)
			return false;
	}
	return true;
}

/*
 * The lane is the caller's until lane_leave(), with a live twin. It can be cancelled only once its request is sure to be made:
 * a cancellation of none would stay behind and meet the next one. sequence is set before that: see lane_cancel(). What can leave
 * otherwise doesn't wait for a ring that is held: maybe until this very thread has read something.
 */
static long lane_enter(struct thread *thread, uint8_t kind, enum ring_class class)
{
	bool may_wait = kind == REQUEST_ADOPT || kind == REQUEST_DISSOLVE || kind == REQUEST_BATCH;
	struct lane *lane = thread->lane;

	for (;;) {
		__atomic_exchange_n(&lane->busy, LANE_BUSY, __ATOMIC_SEQ_CST);
		if (likely(__atomic_load_n(&ring.state, __ATOMIC_SEQ_CST) == RING_ON &&
			   lane->generation == ring.generation)) {
			lane->sequence += 2;
			if (class != RING_WAIT)
				__atomic_store_n(&lane->busy, LANE_INTERRUPTIBLE, __ATOMIC_RELEASE);
			return 0;
		}
		__atomic_store_n(&lane->busy, LANE_IDLE, __ATOMIC_SEQ_CST);
		if (class != RING_WAIT && thread->signal_pending)
			return -GATE_RESTART;
		if (__atomic_load_n(&ring.state, __ATOMIC_SEQ_CST) == RING_HELD && !may_wait)
			return -GATE_RESTART;
		if (__atomic_load_n(&ring.state, __ATOMIC_SEQ_CST) == RING_HELD)
			gate4(__NR_futex, &ring.state, FUTEX_WAIT_PRIVATE, RING_HELD, &wait_time);
		else
			TRY(lane_ready(lane));
	}
}

/* Whether the twin had to be woken. */
static bool lane_issue(struct lane *lane, uint8_t kind, uint16_t count)
{
	struct wire_lane *wire = lane->wire;

	wire->kind = kind;
	wire->count = count;
	wire->spin = pace_issue(lane);
	lane->stats.crossings++;
	lane_crossed(lane);
	if (!(exchange32(&wire->request, lane->sequence) & WORD_ASLEEP))
		return false;
	pace_wake(lane);
	gate3(__NR_futex, &wire->request, FUTEX_WAKE, 1);
	return true;
}

/* Whether the request is done. */
static bool lane_done(struct lane *lane, uint32_t u_done)
{
	u_done &= ~WORD_ASLEEP;
	if (u_done == lane->sequence)
		return true;
	if (u_done != lane->sequence - 2)
		die("the helper completed a request that nobody made");
	return false;
}

static bool lane_spin(struct thread *thread, struct lane *lane, enum ring_class class, uint64_t budget)
{
	uint64_t start = ring_cycles(), now = start, before;

	while (now - start < budget) {
		for (int i = 0; i < LOOKS_A_STEP; i++) {
			if (lane_done(lane, fetch32(&lane->wire->done)))
				return true;
			__asm__ volatile("pause");
		}
		if (class != RING_WAIT && thread->signal_pending)
			return false;
		before = now;
		now = ring_cycles();
		if (pace_taken(lane, before, now))
			return false;
	}
	return false;
}

static void lane_sleep(struct thread *thread, struct lane *lane, enum ring_class class)
{
	uint32_t before = lane->sequence - 2;
	uint32_t *done = &lane->wire->done;

	for (;;) {
		uint32_t u_done = fetch32(done);
		bool cancelled = __atomic_load_n(&lane->busy, __ATOMIC_SEQ_CST) >= LANE_CANCELLING;
		long result;

		if (lane_done(lane, u_done))
			return;
		if (class != RING_WAIT && thread->signal_pending && !cancelled) {
			lane_cancel(lane);
			continue;
		}
		if (u_done == before && !replace32(done, before, before | WORD_ASLEEP))
			continue;
		if (class == RING_WAIT || cancelled)
			result = gate4(__NR_futex, done, FUTEX_WAIT, before | WORD_ASLEEP, &wait_time);
		else
			result = gate_interruptible(__NR_futex, (long)done, FUTEX_WAIT, before | WORD_ASLEEP,
						    (long)&wait_time, 0, 0);
		if (result == -ETIMEDOUT || result == -EINTR)	/* signals may come so often that the time never ends */
			ring_check_helper();
	}
}

/* Whether the request was cancelled. Then the twin has had the signal, from whichever thread: it can't hit the next request. */
static bool lane_leave(struct lane *lane, enum ring_class class)
{
	uint32_t interruptible = LANE_INTERRUPTIBLE;

	if (class == RING_WAIT || __atomic_compare_exchange_n(&lane->busy, &interruptible, LANE_IDLE, false,
							      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&lane->busy, LANE_IDLE, __ATOMIC_RELEASE);
		return false;
	}
	while (__atomic_load_n(&lane->busy, __ATOMIC_SEQ_CST) != LANE_CANCELLED)
		gate0(__NR_sched_yield);
	ring_wait_word(&lane->wire->cancels_seen, lane->cancels_seen, SEEN_TRIES);
	lane->cancels_seen = fetch32(&lane->wire->cancels_seen);
	put32(&lane->wire->cancel, 1);
	lane->stats.cancels++;
	__atomic_store_n(&lane->busy, LANE_IDLE, __ATOMIC_SEQ_CST);
	return true;
}

long lane_cross(struct thread *thread, uint8_t kind, uint16_t count, enum ring_class class)
{
	struct lane *lane = thread->lane;

	for (;;) {
		long u_result;
		bool spun, woken;

		if (class != RING_WAIT && thread->signal_pending)
			return -GATE_RESTART;
		TRY(lane_enter(thread, kind, class));
		woken = lane_issue(lane, kind, count);
		spun = lane_spin(thread, lane, class, pace_budget(lane, woken, class));
		if (!spun)
			lane_sleep(thread, lane, class);
		lane->stats.spun += spun;
		lane->stats.slept += !spun;
		pace_done(lane, spun);
		u_result = (long)fetch64(&lane->wire->result);
		if (unlikely(u_result == -GATE_RESTART))
			die("the helper says what only the shim says");
		if (likely(!lane_leave(lane, class))) {
			if (u_result == RING_NOT_BEGUN)
				die("the helper says that nobody's signal came");
			return u_result;
		}
		if (u_result != -EINTR && u_result != RING_NOT_BEGUN)
			return u_result;
		if (thread->signal_pending)
			return u_result == -EINTR && class == RING_EINTR ? -EINTR : -GATE_RESTART;
	}
}

long ring_call(struct thread *thread, long nr, const long args[6], enum ring_class class)
{
	struct wire_lane *wire = thread->lane->wire;

	wire->nr = nr;
	for (int i = 0; i < 6; i++)
		wire->args[i] = (uint64_t)args[i];
	return lane_cross(thread, REQUEST_CALL, 0, class);
}

long ring_batch(struct thread *thread, struct ring_batch *calls, size_t count)
{
	struct wire_lane *wire = thread->lane->wire;

	if (count > BATCH_COUNT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		wire->batch[i].nr = calls[i].nr;
		for (int j = 0; j < 6; j++)
			wire->batch[i].args[j] = (uint64_t)calls[i].args[j];
		wire->batch[i].flags = calls[i].stop_on_error ? BATCH_STOP_ON_ERROR : 0;
	}
	TRY(lane_cross(thread, REQUEST_BATCH, (uint16_t)count, RING_WAIT));
	for (size_t i = 0; i < count; i++)
		calls[i].result = (long)fetch64(&wire->batch[i].result);
	return 0;
}
