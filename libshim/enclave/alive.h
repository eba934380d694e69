/*
 * alive.h - whether the runtime host is still there.
 *
 * Owns: each process's way to learn of its end, wherever its threads wait. Must never: ask the runtime. Used by: start.c,
 * clone.c, signal.c, pass.c.
 */
#ifndef SCONE_ALIVE_H
#define SCONE_ALIVE_H

#include "enclave.h"

/* At the start of an image. */
void alive_start(void);

/* In a fork child that has a descriptor table of its own. */
void alive_after_fork(void);

/* Before a call that may block, where enclave.is_unwatched: SIGSYS (SI_SIGIO) from now on when the runtime ends. Dies when
 * it has ended already. */
void alive_watch(void);

/* Dies if the runtime is gone. */
void alive_check(void);
#endif
