/*
 * ring_life.c - the helper's life as the enclave sees it: making, ending, fork, exit; and who has which lane.
 *
 * Owns: struct ring, the lanes. Must never: leave a helper behind that has descriptors which the program has not, or
 * run on without a helper that was lost. Used by: ring.c; clone.c, exec.c, dispatch.c by ring.h.
 */
#include <asm/signal.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include "alive.h"
#include "control.h"
#include "ring_inner.h"

/* host/helper.c; only its address is used here. */
extern void helper_start(void *control) __attribute__((visibility("hidden")));
extern const char __start_host_text[] __attribute__((visibility("hidden")));
extern const char __stop_host_text[] __attribute__((visibility("hidden")));

struct ring ring;
struct lane ring_lanes[LANE_COUNT_MAX];

enum {
	ATTACH_REFUSALS = 1000,
	URING_MIN       = 16,		/* docs/decisions.md */
	EXIT_TRIES      = 1000,		/* looks for posts, 20 us apart, before the helper is left alone with them */
};

static void pause_ns(int64_t nanoseconds)
{
	struct kernel_timespec time = { 0, nanoseconds };

	gate2(__NR_nanosleep, &time, 0);
}

/* Maps the ring, aligned to LANE_SIZE, as large as the limits of the process let it be. */
static long ring_map(void)
{
	static const uint32_t counts[] = { LANE_COUNT_MAX, 32, 4 };
	long at = -ENOMEM;

	ring.fd_posts = pages_map(FD_MARK_COUNT * sizeof(struct fd_posts));
	if (!ring.fd_posts)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof counts / sizeof *counts && at < 0; i++) {
		ring.lane_count = counts[i];
		ring.map_size = (counts[i] + 2) * LANE_SIZE;
		at = gate6(__NR_mmap, 0, (long)ring.map_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (at < 0) {
		gate2(__NR_munmap, ring.fd_posts, FD_MARK_COUNT * sizeof(struct fd_posts));
		return at;
	}
	gate3(__NR_madvise, at, ring.map_size, MADV_DONTDUMP);
	ring.map = (void *)at;
	ring.control = (struct wire_control *)(((uintptr_t)at + LANE_SIZE - 1) & ~(LANE_SIZE - 1));
	gate3(__NR_sched_getaffinity, 0, sizeof ring.cpus, ring.cpus);
	ring.control->magic = RING_MAGIC;
	ring.control->lane_count = ring.lane_count;
	ring.control->ring_size = (ring.lane_count + 1ul) * LANE_SIZE;
	ring.control->text_start = (uint64_t)__start_host_text;
	ring.control->text_end = (uint64_t)__stop_host_text;
	copy_out(ring.control->name, "scone-helper", 13);
	return 0;
}

/* Whether the child `pid` of this process is there; one that has ended is reaped. */
static bool child_alive(int32_t pid)
{
	return gate4(__NR_wait4, pid, 0, WNOHANG | __WCLONE, 0) == 0;
}

void ring_check_helper(void)
{
	if (__atomic_load_n(&ring.state, __ATOMIC_SEQ_CST) != RING_ON || thread_self()->is_guest)
		return;
	if (child_alive(ring.helper_pid)) {
		gate2(__NR_kill, ring.helper_pid, SIGCONT);	/* stopped with its group, while we go on */
		return;
	}
	if (__atomic_load_n(&ring.state, __ATOMIC_SEQ_CST) == RING_ON)
		die("the helper is gone: something killed it");
}

/* Under ring.mutex. */
static long helper_make(void)
{
	unsigned long all = ~0ul, mask;
	int32_t helper, status = 0;
	long starter;

	alive_watch();
	if (!ring.map)
		TRY(ring_map());
	ring.control->program_pid = (int32_t)gate0(__NR_getpid);
	put32(&ring.control->helper_pid, 0);
	put32(&ring.control->draining, 0);
	put32(&ring.control->uring_min,
	      enclave.flags & FLAG_NO_URING ? 0 : enclave.uring_min ? enclave.uring_min : URING_MIN);
	for (uint32_t i = 0; i < ring.lanes_used; i++) {
		put32(&ring_lanes[i].wire->twin_state, TWIN_NONE);
		for (uint32_t slot = 0; slot < BACKLOG_COUNT; slot++)	/* it may have ended between the last byte and this */
			put32(&ring_lanes[i].wire->backlog[slot].lock, 0);
	}
	gate4(__NR_rt_sigprocmask, 2, &all, &mask, 8);
	starter = gate_clone_helper(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM, helper_start, ring.control,
				    (uint8_t *)ring.control + STARTER_STACK_TOP);
	gate4(__NR_rt_sigprocmask, 2, &mask, 0, 8);
	if (starter < 0)
		return starter;
	while (gate4(__NR_wait4, starter, &status, __WCLONE, 0) == -EINTR)
		;
	if (status)
		return -EAGAIN;
	for (int tries = 0; fetch32(&ring.control->helper_pid) == 0 && tries < 100; tries++) {
		struct kernel_timespec time = { 0, 10000000 };

		gate4(__NR_futex, &ring.control->helper_pid, FUTEX_WAIT, 0, &time);
	}
	helper = (int32_t)fetch32(&ring.control->helper_pid);
	if (helper <= 0 || !child_alive(helper))
		return -EAGAIN;
	ring.helper_pid = helper;
	ring.generation++;
	enclave.is_ringing = true;
	__atomic_store_n(&ring.state, RING_ON, __ATOMIC_SEQ_CST);
	control_helper(helper);
	return 0;
}

/* A helper, if there is none: 0, or -errno of the host, or -EBUSY when the ring is held. */
static long ring_start(void)
{
	long result = 0;

	mutex_lock(&ring.mutex);
	if (ring.state == RING_HELD)
		result = -EBUSY;
	else if (ring.state == RING_OFF)
		result = helper_make();
	mutex_unlock(&ring.mutex);
	return result;
}

/* The twin that serves the lane now, if it is the helper's: what is done to it must not hit another thread. */
static long twin_check(struct lane *lane)
{
	int32_t u_tid = (int32_t)fetch32(&lane->wire->twin_tid);

	if (gate3(__NR_tgkill, ring.helper_pid, u_tid, 0) < 0)
		return -EAGAIN;
	lane->twin_tid = u_tid;
	lane->generation = ring.generation;
	lane->pace = (struct pace){ 0 };
	return 0;
}

long lane_ready(struct lane *lane)
{
	long result = ring_start();

	if (result == -EBUSY)
		return 0;
	TRY(result);
	mutex_lock(&ring.mutex);
	if (ring.state == RING_ON && lane->generation != ring.generation) {
		put32(&lane->wire->twin_state, TWIN_WANTED);
		gate3(__NR_tgkill, ring.helper_pid, ring.helper_pid, SIGNAL_CONTROL);
		if (!ring_wait_word(&lane->wire->twin_state, TWIN_WANTED, 50) ||
		    !ring_wait_word(&lane->wire->twin_state, TWIN_STARTING, 50) ||
		    fetch32(&lane->wire->twin_state) != TWIN_SERVING)
			result = -EAGAIN;
		else
			result = twin_check(lane);
	}
	mutex_unlock(&ring.mutex);
	return result;
}

static struct lane *lane_take(void)
{
	struct lane *lane = NULL;

	mutex_lock(&ring.mutex);
	for (uint32_t i = 0; i < ring.lane_count && !lane; i++)
		if (!ring_lanes[i].taken)
			lane = &ring_lanes[i];
	if (lane) {
		lane->taken = 1;
		lane->index = (uint32_t)(lane - ring_lanes);
		lane->wire = (struct wire_lane *)((uint8_t *)ring.control + (lane->index + 1) * LANE_SIZE);
		put32(&lane->wire->cancel, 1);
		if (lane->index >= ring.lanes_used)
			ring.lanes_used = lane->index + 1;
		put32(&ring.control->lanes_used, ring.lanes_used);
	}
	mutex_unlock(&ring.mutex);
	return lane;
}

/* Says, once a process, that its calls leave by another exit than was asked for. */
static void refusal_tell(long error)
{
	char bytes[200];
	struct text text = { bytes, 0, sizeof bytes };

	if (error == -EBUSY || __atomic_exchange_n(&ring.is_told, 1, __ATOMIC_RELAXED))
		return;
	text_add(&text, "no helper can be made (errno ");
	text_add_number(&text, -error);
	text_add(&text, "), so calls leave by the gate; allow more processes (ulimit -u) or memory (ulimit -v)");
	control_event(CTL_EVENT_NOTICE, ~0u, text.bytes);
}

bool ring_attach(struct thread *thread)
{
	uint32_t state = __atomic_load_n(&ring.state, __ATOMIC_ACQUIRE);
	long result;

	if (likely(thread->lane && state == RING_ON && thread->lane->generation == ring.generation))
		return true;
	if (state == RING_HELD || thread->gate_only || thread->is_guest)
		return false;
	if (ring.refused) {
		ring.refused--;
		return false;
	}
	result = ring_start();
	if (result == 0) {
		if (!thread->lane)
			thread->lane = lane_take();
		result = thread->lane ? lane_ready(thread->lane) : -EBUSY;	/* all lanes are taken: no lack of a helper */
		if (thread->lane && result == 0)
			return true;
	}
	refusal_tell(result);
	ring.refused = ATTACH_REFUSALS;
	return false;
}

void ring_thread_exit(struct thread *thread)
{
	if (!thread->lane)
		return;
	lane_kick(thread->lane);
	thread->lane->data_used = 0;
	__atomic_store_n(&thread->lane->taken, 0, __ATOMIC_RELEASE);
	thread->lane = NULL;
}

int ring_helper_pid(void)
{
	return __atomic_load_n(&ring.state, __ATOMIC_ACQUIRE) == RING_ON ? ring.helper_pid : 0;
}

/* The ring is held: waits until no request is under way and all posts are with the kernel or in the backlog. */
static long ring_quiesce(const struct thread *thread)
{
	for (uint32_t i = 0; i < ring.lanes_used; i++) {
		struct lane *lane = &ring_lanes[i];

		for (unsigned tries = 0; __atomic_load_n(&lane->busy, __ATOMIC_SEQ_CST) != LANE_IDLE; tries++) {
			lane_cancel(lane);
			pause_ns(tries < 100 ? 20000 : 1000000);
			if (tries >= 100 && !child_alive(ring.helper_pid))
				die("the helper is gone: something killed it");
			if (thread->signal_pending)
				return -GATE_RESTART;
		}
		while (lane_reclaim(lane), lane->post_head != lane->post_tail) {
			lane_kick(lane);
			pause_ns(20000);
			if (!child_alive(ring.helper_pid))
				die("the helper is gone: something killed it");
			if (thread->signal_pending)
				return -GATE_RESTART;
		}
	}
	return 0;
}

static bool backlog_left(void)
{
	for (uint32_t i = 0; i < ring.lanes_used; i++)
		for (uint32_t slot = 0; slot < BACKLOG_COUNT; slot++)
			if (fetch32(&ring_lanes[i].wire->backlog[slot].state) == BACKLOG_BUSY)
				return true;
	return false;
}

/* Whether posts of any lane are still queued; wakes the twins that have them. */
static bool posts_left(void)
{
	bool left = false;

	for (uint32_t i = 0; i < ring.lanes_used; i++) {
		lane_reclaim(&ring_lanes[i]);
		if (ring_lanes[i].post_head == ring_lanes[i].post_tail)
			continue;
		lane_kick(&ring_lanes[i]);
		left = true;
	}
	return left;
}

static void helper_kill(void)
{
	control_helper(0);
	gate2(__NR_kill, ring.helper_pid, SIGKILL);
	while (gate4(__NR_wait4, ring.helper_pid, 0, __WCLONE, 0) == -EINTR)
		;
	ring.helper_pid = 0;
}

static void ring_let_go(uint32_t state)
{
	__atomic_store_n(&ring.state, state, __ATOMIC_SEQ_CST);
	gate3(__NR_futex, &ring.state, FUTEX_WAKE_PRIVATE, 0x7fffffff);
}

/* Holds the ring, after whoever else does: its state before, or -GATE_RESTART. */
static long ring_hold(const struct thread *thread)
{
	static const struct kernel_timespec wait = { 0, 100000000 };

	for (;;) {
		uint32_t before;

		mutex_lock(&ring.mutex);
		before = __atomic_exchange_n(&ring.state, RING_HELD, __ATOMIC_SEQ_CST);
		mutex_unlock(&ring.mutex);
		if (before != RING_HELD)
			return before;
		if (thread->signal_pending)
			return -GATE_RESTART;
		gate_interruptible(__NR_futex, (long)&ring.state, FUTEX_WAIT_PRIVATE, RING_HELD, (long)&wait, 0, 0);
	}
}

/* Without the mutex: a peer may be another thread of this process, which must get past ring_attach(). */
long ring_stop(struct thread *thread)
{
	long before = thread->is_guest ? RING_OFF : ring_hold(thread), result;

	if (before != RING_ON)
		return before < 0 ? before : 0;
	result = ring_quiesce(thread);
	while (!result && backlog_left() && child_alive(ring.helper_pid)) {
		pause_ns(1000000);
		result = thread->signal_pending ? -GATE_RESTART : 0;
	}
	if (result)
		ring_let_go(RING_ON);
	else
		helper_kill();
	return result;
}

void ring_resume(void)
{
	ring_let_go(RING_OFF);
}

/* Errors of posts that the program has not been told. */
static bool errors_left(void)
{
	for (uint32_t fd = 0; ring.has_errors && fd < FD_MARK_COUNT; fd++)
		if (ring.fd_posts[fd].error)
			return true;
	ring.has_errors = false;
	return false;
}

static bool slots_used(void)
{
	for (uint32_t i = 0; i < ring.lanes_used; i++)
		for (uint32_t slot = 0; slot < BACKLOG_COUNT; slot++)
			if (fetch32(&ring_lanes[i].wire->backlog[slot].state) != BACKLOG_FREE)
				return true;
	return false;
}

bool ring_rest(void)
{
	bool may_end;

	mutex_lock(&ring.mutex);
	may_end = ring.state == RING_ON && !posts_left() && !slots_used() && !errors_left();
	if (may_end) {
		__atomic_store_n(&ring.state, RING_HELD, __ATOMIC_SEQ_CST);
		helper_kill();
		ring_let_go(RING_OFF);
		enclave.is_ringing = false;
	}
	mutex_unlock(&ring.mutex);
	return may_end;
}

void ring_exit(struct thread *thread)
{
	if (thread->is_guest)
		return;
	mutex_lock(&ring.mutex);
	if (__atomic_exchange_n(&ring.state, RING_HELD, __ATOMIC_SEQ_CST) != RING_ON) {
		mutex_unlock(&ring.mutex);
		return;
	}
	for (unsigned tries = 0; posts_left() && tries < EXIT_TRIES && child_alive(ring.helper_pid); tries++)
		pause_ns(20000);
	if (!child_alive(ring.helper_pid))
		die("the helper is gone: something killed it");
	if (!posts_left() && !backlog_left())
		helper_kill();
}

void ring_after_fork(struct thread *thread)
{
	if (!ring.map) {
		ring = (struct ring){ 0 };
		return;
	}
	ring_adopted_close();
	gate2(__NR_munmap, ring.map, ring.map_size);
	gate2(__NR_munmap, ring.fd_posts, FD_MARK_COUNT * sizeof(struct fd_posts));
	memset(ring_lanes, 0, ring.lanes_used * sizeof *ring_lanes);
	memset(&ring, 0, sizeof ring);
	thread->lane = NULL;
}

static void stats_add(struct ring_stats *sum, const struct ring_stats *more)
{
	sum->crossings += more->crossings;
	sum->spun += more->spun;
	sum->slept += more->slept;
	sum->posts += more->posts;
	sum->posts_refused += more->posts_refused;
	sum->ahead += more->ahead;
	sum->cancels += more->cancels;
}

void ring_observe(const struct lane *lane, struct wire_live_lane *lanes)
{
	struct wire_live_lane *to = &lanes[lane->index];

	to->crossings = lane->stats.crossings;
	to->spun = lane->stats.spun;
	to->slept = lane->stats.slept;
	to->by_uring = fetch32(&lane->wire->uring_calls);
	to->queued = lane->post_head - lane->post_tail;
	to->in_use = __atomic_load_n(&lane->taken, __ATOMIC_RELAXED);
}

void ring_stats(struct ring_stats *stats)
{
	*stats = (struct ring_stats){ .helpers = ring.generation };
	for (uint32_t i = 0; i < ring.lanes_used; i++)
		stats_add(stats, &ring_lanes[i].stats);
	for (uint32_t i = 0; i < ring.lanes_used; i++)
		stats->by_uring += fetch32(&ring_lanes[i].wire->uring_calls);
}
