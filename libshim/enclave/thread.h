/*
 * thread.h - what the shim keeps for one OS thread of the program.
 *
 * Owns: struct thread; the GS base of every thread of the program points at its own. Must never: be reachable by the
 * host, or hold anything of a *program* thread that could not move to another OS thread (that is struct frame).
 * Used by: doors.S (offsets), signal.c, clone.c, ring.c.
 */
#ifndef SCONE_THREAD_H
#define SCONE_THREAD_H

#define THREAD_SELF      0
#define THREAD_STACK     8	/* top of the shim's stack */
#define THREAD_SAVED_RSP 16
#define THREAD_PENDING   24	/* u32: a signal waits for the way out */
#define THREAD_IN_SHIM   28	/* u32 */
#define THREAD_FRAME     32	/* frame being served, or NULL */
#define THREAD_SAVED_RCX 40

#define SHIM_STACK_SIZE  (128 * 1024)

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <stdbool.h>
#include "frame.h"

struct lane;	/* ring.h */

struct thread {
	struct thread *self;
	uint64_t stack_top;
	uint64_t saved_rsp;
	volatile uint32_t signal_pending;
	volatile uint32_t in_shim;
	struct frame *frame;
	uint64_t saved_rcx;
	/* ---- above: known to assembly ---- */

	uint64_t deferred_mask;		/* the program's signal mask while one is deferred */
	uint64_t signal_mask;		/* the program's view of its mask: SIGSYS may be in it, the kernel's copy never has it */
	uint8_t  deferred_info[128];	/* siginfo of the deferred signal */
	int32_t  deferred_signal;	/* 0: none */
	bool     restart_after_signal;
	bool     gate_only;		/* vfork child: descriptor table of its own, memory of its parent */
	bool     suspended_mask;	/* saved_mask_for_suspend holds the mask to restore after sigsuspend/ppoll */
	uint64_t suspend_mask;

	/* the program's own idea of its alternate signal stack */
	uint64_t altstack_pointer;
	uint64_t altstack_size;
	int32_t  altstack_flags;
	int32_t  tid;

	struct lane *lane;		/* its way to the helper; NULL until the first asynchronous call */
	uint32_t lane_generation;	/* of the helper it belongs to */
	uint32_t reserved;
	struct thread *next;		/* free list, or list of all */
	void    *map;			/* the mapping that holds this struct and the stack */
	uint64_t map_size;
};

_Static_assert(__builtin_offsetof(struct thread, frame) == THREAD_FRAME, "doors.S");
_Static_assert(__builtin_offsetof(struct thread, signal_pending) == THREAD_PENDING, "doors.S");
_Static_assert(__builtin_offsetof(struct thread, saved_rcx) == THREAD_SAVED_RCX, "doors.S");

/* The calling thread's own. Valid everywhere in the enclave once start.c has run. */
static inline struct thread *thread_self(void)
{
	struct thread *thread;

	__asm__("mov %%gs:0, %0" : "=r"(thread));
	return thread;
}
#endif
#endif
