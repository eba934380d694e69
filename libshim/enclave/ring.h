/*
 * ring.h - the asynchronous exit: calls executed by the helper, reached through shared memory.
 *
 * Owns: the contract of ring.c (round trips), ring_post.c (write-behind, event-loop turns), ring_life.c (helper, lanes).
 * Must never: be used by a vfork child (thread->gate_only), or while ring_stop() holds by the thread that called it.
 * All results are the host's word: the caller checks them. Used by: pass.c, fd_ops, clone.c, exec.c, dispatch.c.
 */
#ifndef SCONE_RING_ENCLAVE_H
#define SCONE_RING_ENCLAVE_H

#include "enclave.h"

struct wire_live_lane;	/* wire/live.h */

/* How a signal of the program acts on a call that is under way. */
enum ring_class {
	RING_WAIT = 0,		/* it doesn't: the call can't block for long; it is never cancelled */
	RING_EINTR,		/* it ends it with -EINTR (poll, epoll_wait, nanosleep) */
	RING_RESTART,		/* it ends it with -GATE_RESTART (read, accept, ...) */
};

/* Read-ahead for one event of a turn. */
struct ring_ahead {
	uint32_t event;		/* index of the event in the turn's reply */
	int32_t  result;	/* bytes read, 0 end of file, or -errno (then no buffer) */
	uint32_t buffer;	/* for ring_ahead_release() */
	uint32_t size;		/* result when > 0 */
	const void *bytes;	/* untrusted memory: copy_in() once */
};

enum ring_post_state {
	RING_SENT = 0,		/* the kernel has all that was posted */
	RING_QUEUED,		/* the helper has not come to it */
	RING_BACKLOG,		/* waits for the peer to take it: the program's next write would block */
};

struct ring_stats {
	uint64_t crossings, spun, slept, posts, posts_refused, ahead, cancels, helpers;
	uint64_t by_uring;	/* posts and reads ahead, as the host says */
};

/* Whether the thread may use the ring now: it has a lane, the helper runs. Makes both when there are none. False when
 * the host has no process or thread to give, or the ring is held: take the gate. */
NODISCARD bool ring_attach(struct thread *thread);

/* `size` bytes of shared memory (16-byte aligned) for a call's data, NULL when they do not fit: split or take the gate.
 * Valid until lane_data_release(). The thread is attached. */
void *lane_data(struct thread *thread, size_t size);

/* Gives back all that lane_data() gave since the last release. */
void lane_data_release(struct thread *thread);

/*
 * One round trip: the thread's posts, then syscall `nr`. The host's raw result; -GATE_RESTART (nothing happened, or the
 * kernel would restart) or -EINTR when a signal of the program came and the class lets it; -GATE_RESTART as well when
 * another thread holds the ring, so that the call is made again by the gate; -ENOMEM when a helper that ended meanwhile
 * can't be made anew. Pointers among the arguments point to lane_data().
 */
long ring_call(struct thread *thread, long nr, const long args[6], enum ring_class class);

struct ring_batch {
	long nr;
	long args[6];
	long result;		/* untrusted */
	bool stop_on_error;	/* the calls after it get -ECANCELED when it fails */
};

/* Up to 64 calls, in order, one crossing. None of them blocks for long. 0, or -ENOMEM as above. */
long ring_batch(struct thread *thread, struct ring_batch *calls, size_t count);

/*
 * An event-loop turn: the posts, then epoll_wait/epoll_pwait/epoll_pwait2 or poll/ppoll by `nr` and `args`, then reads
 * of the ready descriptors that ring_mark() marked. As ring_call(), and fills ahead[0 .. *ahead_count), at most 64, in
 * order of events. epoll events carry the descriptor in the low 32 bits of their data.
 */
long ring_turn(struct thread *thread, long nr, const long args[6], enum ring_class class,
	       struct ring_ahead ahead[64], size_t *ahead_count);

/* Gives a read-ahead buffer of the lane of `owner` (the thread that made the turn) back; any thread may. */
void ring_ahead_release(struct lane *lane, uint32_t buffer);

/* Turns read on behalf of `fd`, once: until a turn has brought bytes, an end or an error, or not at all. False:
 * there is no ring, or it has no place for this number. */
bool ring_mark(int fd, bool read_ahead);

/* No turn that begins now reads on behalf of `fd`. False: one does so right now. */
NODISCARD bool ring_unmark(int fd);

/*
 * Write-behind: copies the bytes and returns `size`; the helper sends them in order, before the thread's next request
 * and soon also without one. `flags` as for send(2), or POST_WRITE for a pipe. -EAGAIN when the queue has no room, or
 * `fd` has a backlog, or BACKLOG_BYTES with this one: make the call by ring_call() after ring_settle(). What becomes of the bytes: ring_post_state().
 */
long ring_post(struct thread *thread, int fd, const void *bytes, size_t size, uint32_t flags);

/* One crossing that does nothing but the thread's posts: the kernel has them, or they wait in the backlog. 0 or -ENOMEM. */
NODISCARD long ring_flush(struct thread *thread);

/* enum ring_post_state of what was posted on `fd` by any thread, or the -errno that sending it met (once). */
int ring_post_state(int fd);

/* Looks, and waits a little, while what was posted on `fd` is in `state`: the state after it, or -errno. */
NODISCARD long ring_settle_step(struct thread *thread, int fd, int state);

/* How many bytes posted on `fd` the kernel has not got; the host says what waits in the backlog, within its bounds. */
uint32_t ring_post_bytes(int fd);

/* For a descriptor with a backlog: what waits is followed by its shutdown for writing. False: nothing waits any more. The
 * thread is attached. */
NODISCARD bool ring_shut(struct thread *thread, int fd);

/* For a descriptor with a backlog: its connection is dissolved, and what waits with it. The host's raw result of connect;
 * -ENOMEM as above, -GATE_RESTART. The thread is attached. */
NODISCARD long ring_dissolve(struct thread *thread, int fd);

/* Waits until the kernel has all that any thread posted on `fd`. 0, the -errno it met, or as a signal has it. */
long ring_settle(struct thread *thread, int fd, enum ring_class class);

/*
 * Before the number `fd` is closed or replaced: all that was posted on it is with the kernel, or goes on by a number of
 * the helper's own, or is dropped as SO_LINGER has it. Waits only where the kernel would (a linger time), or without a
 * free number. 0, or -GATE_RESTART.
 */
NODISCARD long ring_leave(struct thread *thread, int fd);

/* The same for first..last. */
NODISCARD long ring_leave_range(struct thread *thread, uint32_t first, uint32_t last);

/* The helper's process id, 0 when there is none: for who filters what wait(2) sees. */
int ring_helper_pid(void);

/* Stops the program when the helper is gone though nobody ended it. Safe in a signal handler. */
void ring_check_helper(void);

/* Sends what was posted, ends the helper, waits until it is gone, and lets no other be made until ring_resume(). Calls
 * of other threads that are under way are interrupted and made again later; new ones take the gate. 0; or -GATE_RESTART,
 * and all is as before, when a signal of the program came while peers took nothing, or while another thread held the ring. */
NODISCARD long ring_stop(struct thread *thread);
void ring_resume(void);

/* Ends a helper that nothing is left with: without it the program has its descriptors for itself, and the kernel serves those
 * faster. False when something is: posts, what waits for a peer, an error to be told. The caller is the only
 * thread that the process ever had, and nothing is held that was read ahead. The next ring_attach() makes another helper. */
bool ring_rest(void);

/* Around fork: a child's copy of what is known of the helper's numbers is whole. */
void ring_fork_lock(void);
void ring_fork_unlock(void);

/* In a fork child, before anything else here: forgets the parent's ring. */
void ring_after_fork(struct thread *thread);

/* Before exit_group: what was posted is sent, the helper ends, or goes on for what the peers do not take. */
void ring_exit(struct thread *thread);

/* At the end of a thread: its lane is free for others. */
void ring_thread_exit(struct thread *thread);

/* Writes what the lane has done, and whether a thread has it, to lanes[its index] (wire/live.h). */
void ring_observe(const struct lane *lane, struct wire_live_lane *lanes);

/* Sums of all lanes. */
void ring_stats(struct ring_stats *stats);

#endif
