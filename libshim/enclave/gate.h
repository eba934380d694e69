/*
 * gate.h - the only code of the enclave that executes a `syscall` instruction (gate.S).
 *
 * Owns: the address range gate_start..gate_end, the one that Syscall User Dispatch lets pass.
 * Must never: grow a second way out. Used by: everything in enclave/ that must reach the kernel itself.
 */
#ifndef SCONE_GATE_H
#define SCONE_GATE_H

#include <stdint.h>
#include "frame.h"

extern const char gate_start[], gate_end[];
/* Places that signal.c must know: what a signal finds there says what to do with it. */
extern const char gate_call_check[], gate_call_insn[], gate_call_after[], gate_call_abort[];
extern const char gate_enter_handler_after[], gate_enter_handler_end[];
extern const char gate_unmask_after[], gate_unmask_last[], gate_unmask_end[];
extern const char gate_restorer[];

/*
 * Execute syscall `nr` on this thread, always. Signals of the program that arrive meanwhile are deferred.
 * Returns the kernel's raw result (untrusted). Arguments are passed as they are.
 */
long gate6(long nr, long a, long b, long c, long d, long e, long f);

/* The same, but gives -GATE_RESTART without entering the kernel when a signal is already waiting, and is ended by one
 * with -EINTR, or -GATE_RESTART where the kernel would have restarted the call. For every call that can block. */
long gate_interruptible(long nr, long a, long b, long c, long d, long e, long f);

struct frame;

/* gate_interruptible() with the program's call as it stands in the frame. */
long gate_frame(const struct frame *frame);

struct thread;

/*
 * clone or clone3: call = number and five arguments. The result in the parent, and in a child with memory of its own
 * (child == NULL). A child in the same memory starts on the shim stack of `child`, in thread_begin(child).
 */
long gate_clone(const long call[6], struct thread *child);

/* clone() a process that starts at entry(argument) on stack_top, and must not return from there. Its pid, or -errno. */
long gate_clone_helper(unsigned long flags, void (*entry)(void *), void *argument, void *stack_top);

/* Pushes `thread` on the free list and ends the OS thread without its stack. All signals must be blocked. */
_Noreturn void gate_thread_exit(struct thread *thread, struct thread **free_list, long status, uint64_t next_offset);

/* rt_sigreturn of the kernel's frame whose ucontext is at `context`. */
_Noreturn void gate_sigreturn(void *context);

#define gate0(nr)                gate6(nr, 0, 0, 0, 0, 0, 0)
#define gate1(nr, a)             gate6(nr, (long)(a), 0, 0, 0, 0, 0)
#define gate2(nr, a, b)          gate6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define gate3(nr, a, b, c)       gate6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define gate4(nr, a, b, c, d)    gate6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define gate5(nr, a, b, c, d, e) gate6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif
