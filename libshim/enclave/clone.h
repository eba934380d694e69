/*
 * clone.h - threads, children, exec and exit of the program.
 *
 * Owns: what must happen around them. Must never: let a child run program code before its doors are closed.
 * Used by: start.c, thread.c, exec.c.
 */
#ifndef SCONE_CLONE_H
#define SCONE_CLONE_H

#include "enclave.h"

/* Ends the calling OS thread; its struct goes to the free list. */
_Noreturn void thread_exit(struct thread *thread, long status);

/* Keep other threads out of the thread list around a fork. */
void thread_fork_lock(void);
void thread_fork_unlock(void);

/* In a child with descriptors of its own, before program code runs: closes what an exec of another thread holds open. */
void exec_forget_held(bool has_own_memory);

/* Sends what all threads have counted since this was called last. `is_end`: of the process, not before an exec. */
void stats_send(bool is_end);
#endif
