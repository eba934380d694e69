/*
 * signal.h - the program's signals under the shim.
 *
 * Owns: which handler runs, when, and on which stack. Must never: run the program's code while its thread is in the
 * shim. Used by: dispatch.c, clone.c, start.c, trap.c.
 */
#ifndef SCONE_SIGNAL_H
#define SCONE_SIGNAL_H

#include <linux/signal.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include "enclave.h"

#define SIGNAL_BIT(signal)   (1UL << ((signal) - 1))
#define SIGNALS_HIDDEN       (SIGNAL_BIT(SIGSYS) | SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS))	/* never blocked in the kernel */
#define SIGNALS_ALL          (~0UL & ~SIGNALS_HIDDEN)

/* Installs the shim's own handlers. Called once, from start.c. */
void signal_start(void);

/* Blocks SIGSYS over an exec, so that it waits for the new image's handler; and lets it in again. */
void signal_hold_sys(bool is_held);

/* Sets the kernel's mask of this thread, giving the one before: for code of the shim that must not be interrupted. */
uint64_t signal_mask_set(uint64_t mask);

/* A call with a signal mask of its own: `pointer` becomes one to a copy that the kernel may get. (poll.c) */
NODISCARD long call_mask_begin(uint64_t *pointer);
void call_mask_end(void);

/* Gives a child that shares memory but not handlers (vfork) a table of its own, on its own shim stack. */
void signal_table_copy(struct thread *child);

/* Takes and gives the table's lock around a fork. */
void signal_fork_lock(void);
void signal_fork_unlock(void);

/* Would a handler of the deferred signal let an interrupted call be restarted (SA_RESTART)? */
bool signal_restarts(const struct thread *thread);

/* A syscall that came as SIGSYS: makes the context go on in door_trap. (trap.c) */
void trap_arrived(struct thread *thread, const uint8_t *info, struct ucontext *context);
#endif
