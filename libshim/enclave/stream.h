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

/* The helper read ahead for `fd`: keep it until the program reads. */
void stream_hold(int fd, const struct ring_ahead *ahead, struct lane *lane);

/* Whether a read of `fd` would be served without asking the host. */
bool stream_is_held(int fd);

/* First held descriptor, and the one after `fd`; -1 ends. */
int stream_held_first(void);
int stream_held_next(int fd);

/* Bytes held for `fd`. */
uint32_t stream_held_size(int fd);

/* Whether a whole buffer was read ahead: the kernel may have more. */
bool stream_held_is_full(int fd);

/*
 * Copies held bytes into the program's vectors. True: *result is what the read returns. False: ask the host.
 * `is_peek` leaves them.
 */
bool stream_take(int fd, const struct io_part *parts, uint64_t count, bool is_peek, long *result);

/* May the helper read ahead for `fd` from now on? Only TCP sockets with their connection are. */
void stream_mark(int fd);

/* The number is closed or replaced. */
void stream_forget(int fd, struct descriptor *descriptor);

/* Makes what is held the enclave's own memory, so that a fork copies it. */
void stream_privatize(void);

/* What the thread has posted must be sent before its next turn. */
void stream_forced(struct thread *thread);

/* What was posted by the thread is with the kernel: before calls that others could see the effect of. */
void stream_flush(struct thread *thread);

/*
 * Write-behind of `size` bytes. True: *result is what the write returns. False: make the call by an exit; what was
 * posted before is with the kernel already.
 */
bool stream_post(int fd, const struct io_part *parts, uint64_t count, uint32_t flags, long *result);
#endif
