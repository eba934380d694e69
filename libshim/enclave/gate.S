/*
 * gate.S - the only code of the enclave that executes a `syscall` instruction.
 *
 * Owns: gate_start..gate_end, the range that Syscall User Dispatch lets pass. Must never: be reached but by a call
 * from the enclave; a jump of the program into it is outside the threat model (the program is trusted).
 *
 *   C code ── gate6() ──────────────► kernel ──► C code
 *   C code ── gate_interruptible(), gate_frame() ─► kernel ──► C code      a signal before or in the kernel: -GATE_RESTART / -EINTR
 *   signal.c ── gate_enter_handler ─► (mask set) ──► handler of the program, on the program's stack
 *   handler returns ── gate_restorer ─► rt_sigreturn ──► the program where it was interrupted
 *   doors.S ── gate_unmask ─► (mask set, the deferred signal comes here) ──► the program
 */
#include "asm.h"
#include "frame.h"
#include "thread.h"

	.section .text.gate, "ax", @progbits
	.balign 4096
	.globl gate_start
	.hidden gate_start
gate_start:

.macro ARGUMENTS			/* C ABI of gate6 -> kernel ABI */
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
.endm

FUNCTION gate6
	ARGUMENTS
	syscall
	ret

/* long gate_frame(const struct frame *frame): the frame's call, as gate_interruptible() */
FUNCTION gate_frame
	mov	FRAME_RAX(%rdi), %eax
	mov	FRAME_RSI(%rdi), %rsi
	mov	FRAME_RDX(%rdi), %rdx
	mov	FRAME_R10(%rdi), %r10
	mov	FRAME_R8(%rdi), %r8
	mov	FRAME_R9(%rdi), %r9
	mov	FRAME_RDI(%rdi), %rdi
	jmp	gate_call_check

FUNCTION gate_interruptible
	ARGUMENTS
LABEL gate_call_check
	cmpl	$0, %gs:THREAD_PENDING
	jne	gate_call_abort
LABEL gate_call_insn
	syscall
LABEL gate_call_after
	pop	%r11				/* a jump, for the kernel has used up what foresees returns: 6 to 17 ns */
	jmp	*%r11
LABEL gate_call_abort
	mov	$-GATE_RESTART, %rax
	ret

/*
 * long gate_clone(const long call[6], struct thread *child)
 * call = nr and five arguments. The parent gets the result. A child with memory of its own (child == NULL) returns 0
 * here too. A child in the same memory starts on the shim stack of `child` and leaves by thread_begin(child).
 */
FUNCTION gate_clone
	push	%r12
	mov	%rsi, %r12
	mov	0(%rdi), %rax
	mov	16(%rdi), %rsi
	mov	24(%rdi), %rdx
	mov	32(%rdi), %r10
	mov	40(%rdi), %r8
	mov	8(%rdi), %rdi
	syscall
	test	%rax, %rax
	jnz	1f
	test	%r12, %r12
	jnz	2f
1:	pop	%r12
	ret
2:	mov	%r12, %rdi
	xor	%ebp, %ebp
	and	$-16, %rsp
	call	thread_begin
	ud2

/*
 * long gate_clone_helper(unsigned long flags, void (*entry)(void *), void *argument, void *stack_top)
 * The child starts at entry(argument) on stack_top and never comes back.
 */
FUNCTION gate_clone_helper
	push	%r12
	push	%r13
	mov	%rsi, %r12
	mov	%rdx, %r13
	mov	%rcx, %rsi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	mov	$56, %eax
	syscall
	test	%rax, %rax
	jz	3f
	pop	%r13
	pop	%r12
	ret
3:	xor	%ebp, %ebp
	and	$-16, %rsp
	mov	%r13, %rdi
	call	*%r12
	ud2

/*
 * void gate_thread_exit(struct thread *thread, struct thread **free_list, long status)
 * Pushes `thread` (offset of next_free in %rcx) on the free list and ends the OS thread without touching its stack
 * again. All signals are blocked.
 */
FUNCTION gate_thread_exit
	mov	%rdx, %r8
	mov	(%rsi), %rax
4:	mov	%rax, (%rdi,%rcx)
	lock cmpxchg %rdi, (%rsi)
	jne	4b
	mov	%r8, %rdi
	mov	$60, %eax
	syscall
	ud2

/* Signal handler tail: %rbx signal, %r12 siginfo, %r13 ucontext, %rsp the handler's stack. */
FUNCTION gate_enter_handler
	mov	$14, %eax			/* rt_sigprocmask(SIG_SETMASK, &next_mask, NULL, 8) */
	mov	$2, %edi
	mov	%gs:THREAD_SELF, %rsi
	add	$THREAD_MASK, %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
LABEL gate_enter_handler_after
	mov	%rbx, %rdi
	mov	%r12, %rsi
	mov	%r13, %rdx
	xor	%eax, %eax
	jmp	*%gs:THREAD_HANDLER
LABEL gate_enter_handler_end
	nop

/* What a handler returns to; unwinders know these nine bytes. */
	.balign 16
	nop
LABEL gate_restorer
	mov	$15, %rax
	syscall
	ud2

/* rt_sigreturn of the frame whose ucontext is at %rdi. */
FUNCTION gate_sigreturn
	mov	%rdi, %rsp
	mov	$15, %rax
	syscall
	ud2

/*
 * The way out when a signal waits: %rsp and the frame are the program's already, %rax.. are free. The deferred signal
 * is delivered at gate_unmask_after; signal.c then replaces the context by the program's (thread->frame).
 */
FUNCTION gate_unmask
	mov	$14, %eax
	mov	$2, %edi
	mov	%gs:THREAD_SELF, %rsi
	add	$THREAD_MASK, %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
LABEL gate_unmask_after
	mov	$14, %eax			/* it did not come (ignored meanwhile): the mask of before */
	mov	%gs:THREAD_SELF, %rsi
	add	$THREAD_RESTORE, %rsi
	mov	$2, %edi
	xor	%edx, %edx
	mov	$8, %r10d
LABEL gate_unmask_last
	syscall
	jmp	door_leave_frame
LABEL gate_unmask_end
	nop

	.globl gate_end
	.hidden gate_end
gate_end:
	.section .note.GNU-stack, "", @progbits
