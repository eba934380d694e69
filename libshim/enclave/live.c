/*
 * live.c - counts that the runtime host can read while the process runs.
 *
 * Owns: the memory file (wire/live.h). Its pages are put in the place of those in struct thread that hold the counts, so
 * counting is the same instruction whether somebody looks or not. Must never: read back what is in it. Called by: start.c,
 * thread.c, clone.c; dispatch.c after each call, where it was asked for.
 *
 *   start, fork ── memfd, mapped whole, sent to the host, closed ── a slot for each struct thread moved to its place
 */
#include <linux/fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/time.h>
#include "../wire/live.h"
#include "control.h"
#include "live.h"
#include "ring.h"

enum { CALIBRATION_NS = 200000, FILE_SIZE = LIVE_SLOTS_AT + LIVE_SLOT_COUNT * LIVE_SLOT_SIZE };

_Static_assert(sizeof(((struct thread *)0)->stats_pages) == LIVE_STATS_SIZE, "slots");
_Static_assert(offsetof(struct thread, stats) - offsetof(struct thread, stats_pages) == LIVE_STATS_AT, "slots");

static uint8_t *area;			/* NULL: no file */
static uint64_t ns_per_cycle;		/* times 2^32 */

static uint64_t cycles(void)
{
	return __builtin_ia32_rdtsc();
}

static uint64_t now_ns(void)
{
	int64_t time[2] = { 0, 0 };

	gate2(__NR_clock_gettime, CLOCK_MONOTONIC, time);
	return (uint64_t)time[0] * 1000000000 + (uint64_t)time[1];
}

/* A fifth of a millisecond is exact to a thousandth: reading the clock takes a tenth of a microsecond. */
static void calibrate(void)
{
	uint64_t ns = now_ns(), start = cycles(), ns_end, end;

	do {
		ns_end = now_ns();
		end = cycles();
	} while (ns_end - ns < CALIBRATION_NS && ns_end >= ns);
	ns_per_cycle = end > start ? ((ns_end - ns) << 32) / (end - start) : 1ul << 32;
}

static void file_make(void)
{
	long fd = gate2(__NR_memfd_create, "scone-live", MFD_CLOEXEC), address;
	struct wire_live *head;

	if (fd < 0)
		return;
	address = gate2(__NR_ftruncate, fd, FILE_SIZE);
	if (address >= 0)
		address = gate6(__NR_mmap, 0, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (address > 0) {
		area = (uint8_t *)address;
		head = (struct wire_live *)area;
		head->magic = LIVE_MAGIC;
		head->pid = (int32_t)gate0(__NR_getpid);
		head->has_latency = enclave.flags & FLAG_LATENCY ? 1 : 0;
		control_live((int)fd);
	}
	gate1(__NR_close, fd);
}

void live_attach(struct thread *thread)
{
	uint32_t index;
	uint8_t *slot;

	if (!area)
		return;
	index = __atomic_fetch_add(&((struct wire_live *)area)->slots_used, 1, __ATOMIC_RELAXED);
	if (index >= LIVE_SLOT_COUNT)
		return;
	slot = area + LIVE_SLOTS_AT + (size_t)index * LIVE_SLOT_SIZE;
	memcpy(slot, thread->stats_pages, LIVE_STATS_SIZE);
	if (gate5(__NR_mremap, slot, LIVE_STATS_SIZE, LIVE_STATS_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		  thread->stats_pages) < 0)
		die("the host refuses to move a page of counts");
	thread->latency = enclave.flags & FLAG_LATENCY ? (struct wire_latency *)(slot + LIVE_STATS_SIZE) : NULL;
}

void live_start(struct thread *thread)
{
	if (!(enclave.flags & FLAG_LIVE))
		return;
	if (enclave.flags & FLAG_LATENCY)
		calibrate();
	file_make();
	live_attach(thread);
}

void live_after_fork(struct thread *thread)
{
	if (!area)
		return;
	for (struct thread *each = thread_all(); each; each = each->next_all) {
		each->latency = NULL;
		if (gate6(__NR_mmap, (long)each->stats_pages, LIVE_STATS_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) < 0)
			die("the host refuses a page of counts");
	}
	gate2(__NR_munmap, area, FILE_SIZE);
	area = NULL;
	file_make();
	live_attach(thread);
}

uint64_t live_begin(void)
{
	return enclave.flags & FLAG_LATENCY ? cycles() : 0;
}

static void latency_count(struct wire_latency *latency, uint64_t spent)
{
	uint64_t ns = (uint64_t)((unsigned __int128)spent * ns_per_cycle >> 32);
	uint32_t bucket = ns >> LIVE_BUCKET_LOW ? 64 - LIVE_BUCKET_LOW - (uint32_t)__builtin_clzl(ns) : 0;

	latency->ns_sum += ns;
	latency->buckets[bucket < LIVE_BUCKET_COUNT ? bucket : LIVE_BUCKET_COUNT - 1]++;
}

void live_lane_free(const struct lane *lane)
{
	if (lane && area)
		ring_observe(lane, (struct wire_live_lane *)(area + LIVE_LANES_AT));
}

void live_end(struct thread *thread, uint32_t nr, uint64_t start)
{
	if (start && thread->latency)
		latency_count(&thread->latency[nr], cycles() - start);
	if (thread->lane && area && !thread->gate_only)
		ring_observe(thread->lane, (struct wire_live_lane *)(area + LIVE_LANES_AT));
}
