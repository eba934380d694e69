/*
 * stream.h - stream sockets in asynchronous mode: write-behind and read-ahead.
 *
 * Owns: what the program sees of a socket whose data the ring moves. Must never: show the program another order of bytes
 * or another readiness than the kernel would. Used by: read.c, write.c, epoll.c, poll.c, descriptor.c, clone.c.
 */
#ifndef SCONE_STREAM_H
#define SCONE_STREAM_H

#include "descriptor.h"
#include "ring.h"

/* An error that the helper met in the program's stead, if call `nr` can meet it. Else -EIO, counted and reported. */
long stream_error(uint32_t nr, long u_result);

/* The helper read ahead for `fd`: keep it until the program reads. */
void stream_hold(int fd, const struct ring_ahead *ahead, struct lane *lane);

/* Whether a read of `fd` would be served without asking the host. */
bool stream_is_held(int fd);

/* First held descriptor, and the one after `fd`; -1 ends. */
int stream_held_first(void);
int stream_held_next(int fd);

/* Bytes held for `fd`. */
uint32_t stream_held_size(int fd);

/* Whether a read of what is held must ask the kernel for more: a whole buffer was read ahead, or the program was told. */
bool stream_held_is_part(int fd);

/* The program is told how much there is, held and with the kernel. */
void stream_tell(int fd);

/* Whether the ring may have, or get, a part in what the calling thread does with a stream now. */
static inline bool stream_meets_ring(void)
{
	return enclave.mode == MODE_ASYNC && !thread_self()->gate_only &&
	       (enclave.is_ringing || enclave.is_exit_dear || thread_all()->next_all);
}

enum stream_take { TAKE_PEEK = 1, TAKE_NOTHING = 2 };	/* they stay; they are not copied */

enum stream_source { STREAM_HOST = 0, STREAM_HELD, STREAM_WATCHED, STREAM_CLAIMED };

/*
 * Copies held bytes into the program's vectors. True: *result is what the read returns. False: ask the host.
 * `how`: bits of enum stream_take.
 */
bool stream_take(int fd, const struct io_part *parts, uint64_t count, uint32_t how, long *result);

/*
 * Before a read of `fd` by an exit: STREAM_HELD when there is something to take first; else the helper reads nothing ahead
 * until stream_read_end(), which also learns from the result (0 when nothing was consumed) whether it may from then on.
 */
enum stream_source stream_read_begin(int fd);
void stream_read_end(int fd, enum stream_source source, long result);

/* Whether reads of `fd` need stream_read_begin() at all. */
static inline bool stream_is_watched(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	return descriptor && (descriptor->ahead.is_held || descriptor->ahead_state == AHEAD_WATCHED ||
			      descriptor->ahead_state == AHEAD_MARKED);
}

/* An event loop watches `fd`: the helper may read ahead of its program, once that has read. Only of TCP sockets. */
void stream_watch(int fd);

/* The helper never reads ahead for `fd` any more. What is held stays. */
void stream_refuse(int fd);

/* Before `fd` gets another number, or another owner: nothing goes behind or is read ahead any more, and the kernel has all
 * that did. 0, or -GATE_RESTART. */
NODISCARD long stream_share(int fd);

/* `to` is another number for `from`, which is shared: what is held can be read from either. */
void stream_duplicated(int from, int to);

/* The number is closed or replaced. */
void stream_forget(int fd, struct descriptor *descriptor);

/* Makes what is held the enclave's own memory, so that a fork copies it. */
void stream_privatize(void);

/* What the thread has posted must be sent before its next turn. */
void stream_forced(struct thread *thread);

/* What was posted by the thread is with the kernel: before calls that others could see the effect of. */
void stream_flush(struct thread *thread);

/*
 * Write-behind; `flags` are those of send(2), `is_plain`: nothing but bytes. True: *result is what the write returns, and
 * SIGPIPE was raised. False: make the call by an exit; what was posted before is with the kernel already.
 */
bool stream_post(int fd, const struct io_part *parts, uint64_t count, uint32_t flags, bool is_plain, long *result);

/*
 * Before anything else puts bytes into `fd`: 0 when the kernel has all that was posted on it. Waits as the call would for
 * room; else what the call returns (SIGPIPE was raised). `flags` are those of send(2). Any descriptor may be asked about.
 */
NODISCARD long stream_settle(int fd, uint32_t flags);

/* Before the connection of `fd` is dissolved: *is_left when something waits to be sent, for ring_dissolve(); else the gate
 * may. 0, or -GATE_RESTART. */
NODISCARD long stream_unsent(int fd, bool *is_left);

/* The connection of `fd` is no more: what was read ahead of it is forgotten, by all its numbers. */
void stream_dissolved(int fd);

/* Before a shutdown for writing: *follows when one will be made as soon as the backlog is sent. 0, or -GATE_RESTART. */
NODISCARD long stream_shut(int fd, bool *follows);
#endif
