/*
 * ring.h - the memory that a wrapped process and its helper share.
 *
 * Owns: the layout, with every offset asserted; docs/ring.md tells how it works. Must never: hold a function, or
 * anything secret in the clear. Everything here is in the host's hand: the enclave reads each word once.
 * Used by: the ring files of enclave/, and host/.
 */
#ifndef SCONE_WIRE_RING_H
#define SCONE_WIRE_RING_H

#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC        0x474e4952u	/* "RING" */
#define LANE_SIZE         (4ul << 20)	/* also the alignment of the ring: a stack pointer tells its lane */
#define LANE_COUNT_MAX    256
#define POST_COUNT        64u		/* a power of two */
#define POST_BYTES        (128u << 10)	/* a power of two */
#define BATCH_COUNT_MAX   64u
#define AHEAD_COUNT       64u		/* read-ahead buffers of a lane: one bit each of a u64 */
#define AHEAD_SIZE        (16u << 10)
#define BACKLOG_COUNT     64u		/* one bit each of a u64; no fewer than posts, so that none of them ever waits for a slot */
#define BACKLOG_BYTES     (16u << 10)	/* what may be queued on one descriptor */
#define FD_MARK_COUNT     65536u
#define URING_COUNT_MAX   32u		/* calls that the twin gives io_uring at once; a power of two */

#define SIGNAL_CANCEL     16		/* ends a twin's blocking call */
#define SIGNAL_CONTROL    30		/* wakes the control thread: new lane, sweep, program gone */

/* Signals of the helper alone. Not real-time ones: those fail when RLIMIT_SIGPENDING is used up. */
/* A futex word: sequence number times two, plus one while its reader sleeps on it. */
#define WORD_ASLEEP       1u

/* Result of a call that was cancelled before the kernel saw it (the kernel's ERESTARTSYS). */
#define RING_NOT_BEGUN    (-512L)

enum request_kind {
	REQUEST_CALL = 0,	/* wire_lane.nr, args[] */
	REQUEST_BATCH,		/* wire_lane.batch[0 .. count) */
	REQUEST_TURN_EPOLL,	/* a call that fills epoll_events at args[1], then read-ahead */
	REQUEST_TURN_POLL,	/* a call on args[1] pollfds at args[0], then read-ahead */
	REQUEST_FLUSH,		/* nothing but the posts before it */
	REQUEST_ADOPT,		/* what waits in lane args[0] for descriptor args[1] goes on by args[2], -1: is dropped; then
				 * what args[3] says (enum backlog_after). The result counts the slots */
	REQUEST_DISSOLVE,	/* connect(2) of descriptor args[1] with AF_UNSPEC; then nothing waits for it in lane args[0] */
};

enum batch_flags {
	BATCH_STOP_ON_ERROR = 1u << 0,	/* the entries after a failed one get -ECANCELED */
};

enum fd_mark {
	MARK_NONE = 0,
	MARK_READ,		/* set by the enclave: the helper may read ahead */
	MARK_READING,		/* set by the twin that does; what it read is held by the enclave, which unmarks */
};

enum twin_state {
	TWIN_NONE = 0,
	TWIN_WANTED,		/* set by the enclave */
	TWIN_STARTING,		/* set by the helper, and what follows */
	TWIN_SERVING,
	TWIN_FAILED,		/* no thread to be had */
};

enum uring_state {
	URING_UNTRIED = 0,	/* set by the twin when it begins, and what follows */
	URING_READY,
	URING_REFUSED,		/* the kernel has none for us: plain calls */
};

enum post_result {
	POST_PENDING = 1,	/* set by the enclave; a result is 0 or -errno, or: */
	POST_BACKLOG,		/* its rest waits in backlog[] for the descriptor to be writable */
};

struct wire_batch_entry {
	int64_t  nr;
	uint64_t args[6];
	int64_t  result;
	uint32_t flags;
	uint32_t padding;
};
_Static_assert(sizeof(struct wire_batch_entry) == 72, "wire");

struct wire_post {
	int32_t  fd;
	uint32_t flags;		/* of sendto(2), or POST_WRITE */
	uint32_t size;		/* bytes */
	uint32_t padding;
	uint32_t start;		/* offset of the first byte in post_bytes[], not wrapped */
	int32_t  result;	/* enum post_result, 0 or -errno */
	uint64_t padding2;
};
_Static_assert(sizeof(struct wire_post) == 32, "wire");

#define POST_WRITE 0x80000000u	/* write(2) instead of sendto(2): a pipe or a file */

struct wire_ahead {
	uint32_t event;		/* index of the event it was read for */
	uint32_t buffer;	/* index of the buffer it was read into */
	int32_t  result;	/* bytes, or -errno */
	uint32_t padding;
};
_Static_assert(sizeof(struct wire_ahead) == 16, "wire");

enum backlog_state {
	BACKLOG_FREE = 0,	/* set by the helper when all was sent, by the enclave when it knows of a failure */
	BACKLOG_BUSY,		/* set by the twin */
	BACKLOG_FAILED,		/* set by the helper: result is an -errno */
};

enum backlog_after {
	AFTER_CLOSE = 1u << 0,	/* fd is the helper's to close when all was sent, or can't be */
	AFTER_SHUT  = 1u << 1,	/* then nothing more is sent: shutdown(2) for writing */
};

struct wire_backlog {
	uint32_t state;		/* enum backlog_state */
	uint32_t lock;		/* between twin and control thread: 1 taken */
	int32_t  fd;
	uint32_t flags;
	uint32_t start;		/* first byte not yet sent, in its backlog_bytes[] */
	uint32_t end;
	int32_t  result;
	uint32_t after;		/* enum backlog_after */
};
_Static_assert(sizeof(struct wire_backlog) == 32, "wire");

/* One thread's lane. The first two cache lines are all that a simple round trip touches. */
struct wire_lane {
	/* written by the enclave */
	uint32_t request;	/* futex word: sequence of the newest request; asleep bit set by the twin */
	uint8_t  kind;		/* enum request_kind */
	uint8_t  spin;		/* times 256 cycles: how long the twin looks for the next request before it sleeps */
	uint16_t count;		/* of batch[] */
	int64_t  nr;
	uint64_t args[6];
	/* written by the helper: 64 */
	uint32_t done;		/* futex word: sequence of the newest completed request; asleep bit set by the enclave */
	uint32_t ahead_count;
	int64_t  result;
	uint64_t padding1[6];
	/* written by the enclave: 128 */
	uint32_t post_head;	/* posts ever made */
	uint32_t cancel;	/* request word (without the asleep bit) that shall not go on; 1: none */
	uint64_t ahead_free;	/* read-ahead buffers that the twin may fill */
	uint64_t padding2[6];
	/* written by the helper: 192 */
	uint32_t post_tail;	/* posts ever finished or moved to the backlog */
	uint32_t cancels_seen;	/* signals handled by the twin; futex word */
	int32_t  twin_tid;
	uint32_t twin_state;	/* enum twin_state; futex word */
	uint32_t post_seen;	/* post_head when the twin last looked; between it and post_tail some are stalled */
	uint32_t uring_state;	/* enum uring_state */
	uint32_t uring_calls;	/* posts and reads that left by io_uring */
	uint32_t padding3;
	uint64_t backlog_used;	/* bit n: slot n is not free, or was not until of late */
	uint64_t padding4[3];
	/* 256 */
	struct wire_backlog backlog[BACKLOG_COUNT];
	struct wire_ahead ahead[AHEAD_COUNT];
	struct wire_batch_entry batch[BATCH_COUNT_MAX];
	struct wire_post post[POST_COUNT];
};
_Static_assert(offsetof(struct wire_lane, args) == 16, "wire");
_Static_assert(offsetof(struct wire_lane, done) == 64, "wire");
_Static_assert(offsetof(struct wire_lane, post_head) == 128, "wire");
_Static_assert(offsetof(struct wire_lane, post_tail) == 192, "wire");
_Static_assert(offsetof(struct wire_lane, backlog_used) == 224, "wire");
_Static_assert(offsetof(struct wire_lane, backlog) == 256, "wire");
_Static_assert(offsetof(struct wire_lane, ahead) == 2304, "wire");
_Static_assert(offsetof(struct wire_lane, batch) == 3328, "wire");
_Static_assert(offsetof(struct wire_lane, post) == 7936, "wire");
_Static_assert(sizeof(struct wire_lane) == 9984, "wire");

/* Areas of a lane, as offsets in it. */
#define LANE_URING        0x04000u	/* the twin's io_uring: 12 KiB, and a page that is not touched */
#define LANE_STACK        0x08000u	/* the twin's stack, 32 KiB */
#define LANE_STACK_TOP    0x10000u
#define LANE_POST_BYTES   0x10000u	/* POST_BYTES */
#define LANE_BACKLOG      0x30000u	/* BACKLOG_COUNT times BACKLOG_BYTES */
#define LANE_AHEAD        0x130000u	/* AHEAD_COUNT times AHEAD_SIZE */
#define LANE_DATA         0x230000u	/* what calls copy in and out */
#define LANE_DATA_SIZE    (LANE_SIZE - LANE_DATA)
_Static_assert(sizeof(struct wire_lane) <= LANE_URING, "areas");
_Static_assert(BACKLOG_COUNT >= POST_COUNT, "slots");
_Static_assert(LANE_BACKLOG + BACKLOG_COUNT * BACKLOG_BYTES <= LANE_AHEAD, "areas");
_Static_assert(LANE_AHEAD + AHEAD_COUNT * AHEAD_SIZE <= LANE_DATA, "areas");

/* The first LANE_SIZE bytes of the ring; lane n follows at (n + 1) * LANE_SIZE. */
struct wire_control {
	uint32_t magic;
	uint32_t lane_count;
	uint64_t ring_size;
	uint64_t text_start;	/* the helper's code: with the ring, all that it keeps mapped */
	uint64_t text_end;
	int32_t  program_pid;
	int32_t  helper_pid;	/* set by the helper once it serves; futex word */
	uint32_t sweeping;	/* set by the helper while it looks after posts of itself */
	uint32_t padding0;
	char     name[16];	/* its comm */
	uint32_t draining;	/* set by the helper when the program is gone */
	uint32_t lanes_used;	/* lanes 0 .. lanes_used were ever used; set by the enclave */
	uint32_t starter;	/* 1 until the process that made the helper has ended; futex word */
	uint32_t uring_min;	/* fewest posts or reads that io_uring is used for, 0: never; set by the enclave */
	uint8_t  padding[4016];
	uint8_t  fd_marks[FD_MARK_COUNT];	/* enum fd_mark */
};
_Static_assert(offsetof(struct wire_control, program_pid) == 32, "wire");
_Static_assert(offsetof(struct wire_control, fd_marks) == 4096, "wire");
_Static_assert(sizeof(struct wire_control) == 69632, "wire");

#define CONTROL_STACK_TOP 0x20000u	/* 32 KiB each */
#define STARTER_STACK_TOP 0x28000u

#endif
