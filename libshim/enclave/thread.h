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
#define THREAD_PENDING   24	/* u32: a signal waits for the way out */
#define THREAD_FRAME     32	/* frame being served, or the last one served */
#define THREAD_HANDLER   40	/* handler of the program about to be entered */
#define THREAD_MASK      48	/* the mask that the next unmasking in the gate sets */
#define THREAD_RESTORE   56	/* the mask that the deferred signal's handler will restore */

#define SHIM_STACK_SIZE  (128 * 1024)
#define SIGNAL_STACK_SIZE (64 * 1024)	/* kernel signal frames land here; AVX-512 and AMX state included */

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <stdbool.h>
#include "frame.h"
#include "turns.h"
#include "../wire/control.h"

struct lane;	/* ring.h */
struct action;	/* signal.c */
struct wire_latency;	/* wire/live.h */

struct thread {
	struct thread *self;
	uint64_t stack_top;
	bool     gate_only;		/* descriptor table of its own: what is known of numbers is not of its */
	bool     is_guest;		/* another process in this memory (vfork child): the ring is not its own */
	bool     has_call_mask;		/* a call with a mask of its own (ppoll, sigsuspend ...) is being made */
	bool     has_posted;		/* something was written behind since the last crossing */
	uint8_t  padding[4];
	volatile uint32_t signal_pending;
	uint32_t tid;			/* 0: not asked for yet */
	struct frame *frame;
	uint64_t handler;
	uint64_t next_mask;
	uint64_t deferred_restore;
	/* ---- above: known to assembly, and one cache line of what each call looks at ---- */

	uint64_t signal_frame;		/* where the entered handler's relocated frame lies: its stack pointer */
	uint64_t deferred_base;		/* mask in force when the deferred signal came */
	uint8_t  deferred_info[128];	/* siginfo of the deferred signal */
	int32_t  deferred_signal;
	uint8_t  padding_2[4];
	uint64_t call_mask;
	uint64_t hidden_mask;		/* signals the program blocks but the kernel must not: SIGSYS, SIGSEGV, SIGBUS */

	/* the program's own idea of its alternate signal stack */
	uint64_t altstack_pointer;
	uint64_t altstack_size;
	int32_t  altstack_flags;
	uint32_t reserved_3;

	struct action *actions;		/* a table of its own (vfork child), or NULL: the process's */
	struct lane *lane;		/* its way to the helper; NULL until the first asynchronous call */
	uint32_t posts, posts_forced;	/* of late: written behind; of these, sent before a turn because something needed it */
	uint32_t posts_paused;		/* writes that shall not go behind, for too many were forced */
	struct turns turns;		/* its event loop's */
	struct thread *next_free;
	struct thread *next_all;
	uint64_t map;			/* the mapping that holds this struct and its stacks */
	uint64_t map_size;
	void    *memory_files;		/* of a vfork child, which has no descriptors here: what it opened for its exec (memory_file.c) */
	uint64_t who[40];	/* of a vfork child: whom volumes ask about permissions */
	uint64_t clock_cycles;	/* when volumes last asked for the time, and what it was */
	int64_t  clock_seconds, clock_nanoseconds;
	uint64_t fault;		/* where volumes_fault() last let the program go on */
	uint32_t volumes_of;	/* the thread that made this process, which shares its memory, and held volumes' files for it; 0: none */
	uint32_t reserved_4;
	uint64_t volumes_serial;	/* by which it did */
	void    *scratch;		/* what an exec under way has mapped: a vfork child's stays behind in its parent */
	uint64_t scratch_size;
	struct wire_latency *latency;	/* of each call, when calls are timed; else NULL */
	/* Whole pages: live.c puts pages in their place that the runtime host can read. The counts begin in the middle of one,
	 * so that they don't lie at the same offset as the words above, which would cost each call some nanoseconds. */
	union {
		struct { uint8_t before_stats[2048]; struct wire_stats stats; };
		uint8_t stats_pages[8192];
	} __attribute__((aligned(4096)));
	uint8_t vectors[4096] __attribute__((aligned(64)));	/* the program's registers while a volume's cipher runs */
};

_Static_assert(__builtin_offsetof(struct thread, frame) == THREAD_FRAME, "doors.S");
_Static_assert(__builtin_offsetof(struct thread, signal_pending) == THREAD_PENDING, "doors.S");
_Static_assert(__builtin_offsetof(struct thread, handler) == THREAD_HANDLER, "gate.S");
_Static_assert(__builtin_offsetof(struct thread, next_mask) == THREAD_MASK, "gate.S");
_Static_assert(__builtin_offsetof(struct thread, deferred_restore) == THREAD_RESTORE, "gate.S");

/* The calling thread's own. Valid everywhere in the enclave once start.c has run. */
static inline struct thread *thread_self(void)
{
	struct thread *thread;

	__asm__("mov %%gs:0, %0" : "=r"(thread));
	return thread;
}

/*
 * A thread with its stacks, from the free list or mapped anew; NULL when there is no memory. Never touched by the
 * host. Freed by gate_thread_exit() or thread_release().
 */
struct thread *thread_new(void);

/* Gives back a thread that no OS thread runs on any more. */
void thread_release(struct thread *thread);

/* Unmaps what an exec left. */
void thread_scratch_free(struct thread *thread);

/* Head of the list of all threads that ever were, linked by next_all. */
struct thread *thread_all(void);

/* Only the first of these, from which thread_self() works. */
void thread_base_set(struct thread *thread);

/* Makes `thread` the calling thread's own: GS base, Syscall User Dispatch, signal stack. Dies when the kernel refuses. */
void thread_enter(struct thread *thread);
#endif
#endif
