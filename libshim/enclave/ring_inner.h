/*
 * ring_inner.h - what the ring's three files share.
 *
 * Owns: struct lane, the enclave's own idea of a lane (every index that matters is here, the shared copy is only told);
 * struct ring. Must never: be included elsewhere. Used by: ring*.c.
 */
#ifndef SCONE_RING_INNER_H
#define SCONE_RING_INNER_H

#include <linux/futex.h>
#include "../wire/live.h"
#include "../wire/ring.h"
#include "ring.h"
#include "untrusted.h"

/* lane.busy */
/* LANE_CANCELLING: somebody is about to tell the twin; LANE_CANCELLED: it is told. */
enum { LANE_IDLE = 0, LANE_BUSY, LANE_INTERRUPTIBLE, LANE_CANCELLING, LANE_CANCELLED };

enum { CPU_WORDS = 16 };		/* of an affinity mask: 1024 cores */

/* See ring_pace.c. Times in cycles. */
struct pace {
	bool     spins;
	bool     together;		/* the twin is kept on core twin_cpu; else off it, or anywhere */
	uint32_t twin_cpu;
	uint32_t cpu;			/* ours at the newest request */
	uint32_t near, far;
	uint32_t trouble;		/* what spinning has met of late */
	uint64_t switches;		/* times this thread had lost its core when it was last asked */
	uint64_t last_done, since, retry, backoff;
};

struct lane {
	struct wire_lane *wire;
	uint32_t index;
	uint32_t busy;			/* against ring_stop() and cancellation by it */
	uint32_t sequence;		/* request word of the newest request */
	uint32_t cancels_seen;
	uint32_t generation;		/* of the helper whose twin serves it */
	uint32_t taken;
	int32_t  twin_tid;		/* a thread of the helper: the host can't name another */
	size_t   data_used;
	uint64_t ahead_busy;		/* buffers that hold data not yet consumed */

	struct mutex post_mutex;	/* from here: any thread may reclaim */
	uint32_t post_head, post_tail;
	uint32_t byte_head, byte_tail;
	int32_t  post_fd[POST_COUNT];
	uint32_t post_end[POST_COUNT];	/* byte_tail once it is reclaimed */
	uint16_t post_size[POST_COUNT];
	uint64_t first_post;		/* cycles at the first post since the last crossing */
	uint32_t expect_crossing;	/* posts were soon followed by crossings: so many times in a row */

	struct pace pace;
	struct ring_stats stats;
};

enum ring_state { RING_OFF = 0, RING_ON, RING_HELD };

/* What is known of the posts on one descriptor. */
struct fd_posts {
	uint16_t lane;			/* index plus one of the lane with posts on it, 0: none */
	uint16_t queued;
	uint8_t  backlog;
	uint8_t  padding;
	uint16_t error;
	uint32_t bytes;			/* queued: no more than a backlog slot holds */
};

struct ring {
	struct mutex mutex;		/* starting, stopping, lane list */
	uint32_t state;			/* enum ring_state; futex word for those who wait for ring_resume() */
	uint32_t generation;
	int32_t  helper_pid;
	uint32_t lane_count, lanes_used;
	uint32_t refused;		/* calls of ring_attach() to refuse before trying again */
	bool     has_errors;		/* some may be among fd_posts */
	uint32_t is_told;		/* that there is no helper */
	uint64_t map_size;
	void    *map;
	struct wire_control *control;
	struct fd_posts *fd_posts;	/* FD_MARK_COUNT of them */
	uint64_t cpus[CPU_WORDS];	/* the affinity the helper began with */
};

extern struct ring ring;
extern struct lane ring_lanes[LANE_COUNT_MAX];

struct kernel_timespec { int64_t seconds, nanoseconds; };

static inline uint64_t ring_cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* Before a request is issued: for how long (times 256 cycles) the twin may look for the next before it sleeps. */
uint8_t pace_issue(struct lane *lane);

/* Before the sleeping twin is woken. */
void pace_wake(struct lane *lane);

/* For how many cycles to spin for the reply to a call of `class`; `woken`: the twin slept. */
uint64_t pace_budget(const struct lane *lane, bool woken, enum ring_class class);

/* Whether a step of spinning took long, and others have had the core so often that spinning shall stop. */
bool pace_taken(struct lane *lane, uint64_t before, uint64_t now);

/* After a request. */
void pace_done(struct lane *lane, bool spun);

/* Begins a request on the thread's lane, issues what `kind` and `count` say (call, args or batch are in place), and
 * waits. 0 done; else as ring_call(). */
long lane_cross(struct thread *thread, uint8_t kind, uint16_t count, enum ring_class class);

/* Waits until word `word` of the host differs from `value`; dies when the helper does. At most about `tries` x 100 ms;
 * false when that was not enough. */
bool ring_wait_word(void *word, uint32_t value, unsigned tries);

/* Interrupts the lane's request if it may be. */
void lane_cancel(struct lane *lane);

/* Takes note of the posts that the host says it is through with. */
void lane_reclaim(struct lane *lane);

/* Takes note that a crossing follows the posts. */
void lane_crossed(struct lane *lane);

/* Wakes the lane's twin if it sleeps. */
void lane_kick(struct lane *lane);

/* A twin of the present helper for the lane: 0 or -errno. */
NODISCARD long lane_ready(struct lane *lane);

/* A duplicate of `fd` for the helper to send on after the program's close; -1: the caller waits. It is known until
 * closed: not by whom. */
NODISCARD int ring_adopt(int fd);

/* In a fork child: closes the numbers that only the parent's helper has a use for. */
void ring_adopted_close(void);
#endif
