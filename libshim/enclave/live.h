/*
 * live.h - counts that the runtime host can read while the process runs (FLAG_LIVE).
 *
 * Owns: the contract of live.c. Must never: cost anything where nobody asked for it. Used by: start.c, thread.c, clone.c,
 * dispatch.c.
 */
#ifndef SCONE_ENCLAVE_LIVE_H
#define SCONE_ENCLAVE_LIVE_H

#include "enclave.h"

/* Makes this process's memory file, hands it to the runtime, and puts the calling thread's counts there. Without FLAG_LIVE,
 * or where the kernel refuses, counts stay private. */
void live_start(struct thread *thread);

/* Puts the counts of a thread that was just mapped into the file, once there is one. */
void live_attach(struct thread *thread);

/* In a fork child, before anything is counted or zeroed: takes all threads' counts out of the parent's file, and makes one
 * of its own. */
void live_after_fork(struct thread *thread);

/* When a call begins; 0 where calls are not timed. In cycles. */
uint64_t live_begin(void);

/* After the thread that had `lane` has given it back; NULL: it had none. */
void live_lane_free(const struct lane *lane);

/* After a call that began at `start`: how long it took, and what the thread's lane does. */
void live_end(struct thread *thread, uint32_t nr, uint64_t start);
#endif
