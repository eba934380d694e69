/*
 * live.h - the counts that the runtime host reads while a process runs.
 *
 * Owns: the layout of the memory file that a process hands to the host with CTL_LIVE (docs/internals.md, section 6). Must
 * never: hold a function, or anything that the shim reads back. Used by: enclave/live.c; scone_preload/runtime/live.py
 * mirrors it, and a test compares the two.
 */
#ifndef SCONE_WIRE_LIVE_H
#define SCONE_WIRE_LIVE_H

#include "control.h"

enum {
	LIVE_MAGIC        = 0x4556494c,	/* "LIVE" */
	LIVE_SLOT_COUNT   = 1024,	/* threads beyond are counted, but not live */
	LIVE_LANE_COUNT   = 256,
	LIVE_LANES_AT     = 0x1000,
	LIVE_SLOTS_AT     = 0x5000,
	LIVE_STATS_AT     = 0x800,	/* in a slot: struct wire_stats */
	LIVE_STATS_SIZE   = 0x2000,	/* the whole pages that it is in: they lie in the thread's own struct */
	LIVE_SLOT_SIZE    = 0x1b000,	/* those, then a struct wire_latency for each call */
	LIVE_BUCKET_COUNT = 24,
	LIVE_BUCKET_LOW   = 8,		/* bucket i counts calls of less than 2^(8 + i) ns; the last one all longer ones */
};

struct wire_live {
	uint32_t magic;		/* LIVE_MAGIC */
	int32_t  pid;
	uint32_t slots_used;
	uint32_t has_latency;	/* 1: calls are timed */
};

/* One lane of the ring. */
struct wire_live_lane {
	uint64_t crossings;
	uint64_t spun;
	uint64_t slept;
	uint64_t by_uring;	/* as the host says */
	uint32_t in_use;	/* 1: a thread has it */
	uint32_t queued;	/* posts that wait */
	uint64_t padding[3];
};

struct wire_latency {
	uint64_t ns_sum;
	uint64_t buckets[LIVE_BUCKET_COUNT];	/* each call is in one of them */
};

_Static_assert(sizeof(struct wire_live) == 16, "wire layout");
_Static_assert(sizeof(struct wire_live_lane) == 64, "wire layout");
_Static_assert(sizeof(struct wire_latency) == 200, "wire layout");
_Static_assert(LIVE_LANES_AT + LIVE_LANE_COUNT * sizeof(struct wire_live_lane) <= LIVE_SLOTS_AT, "wire layout");
_Static_assert(LIVE_STATS_AT + sizeof(struct wire_stats) <= LIVE_STATS_SIZE, "wire layout");
_Static_assert(LIVE_STATS_SIZE + CTL_CALL_COUNT * sizeof(struct wire_latency) <= LIVE_SLOT_SIZE, "wire layout");

#endif
