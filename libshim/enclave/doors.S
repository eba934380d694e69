/*
 * doors.S - the doors: where a syscall of the program enters the shim, and the one way back.
 *
 * Owns: the switch from the program's stack to the shim's and back. Must never: touch the program's stack or its vector
 * registers (the shim is built for general registers only), or be entered twice on one thread.
 *
 *   site     patched library ─ trampoline ─ lea R,%rcx ─ jmp door_site ─┐
 *   symbol   program ─ call read ─ door_symbol ──────────────────────── ┤ struct frame on the shim's stack
 *   trap     SIGSYS ─ trap.c copies the context ─ sigreturn to here ─── ┤
 *                                                                       ▼
 *                                                            dispatch(frame) in C
 *                                                                       │
 *            program ◄─ jmp *rip ◄─ door_leave ◄────────────────────────┘
 *                                       └─ a signal waits: signal_leave(), gate_unmask, handler, then the program
 */
#include "asm.h"
#include "frame.h"
#include "thread.h"

#define SIGFRAME_INFO 304		/* siginfo behind ucontext in the kernel's struct rt_sigframe */

.macro SAVE_FRAME
	mov	%rax, FRAME_RAX(%rsp)
	mov	%rdi, FRAME_RDI(%rsp)
	mov	%rsi, FRAME_RSI(%rsp)
	mov	%rdx, FRAME_RDX(%rsp)
	mov	%r10, FRAME_R10(%rsp)
	mov	%r8, FRAME_R8(%rsp)
	mov	%r9, FRAME_R9(%rsp)
	mov	%rbx, FRAME_RBX(%rsp)
	mov	%rbp, FRAME_RBP(%rsp)
	mov	%r12, FRAME_R12(%rsp)
	mov	%r13, FRAME_R13(%rsp)
	mov	%r14, FRAME_R14(%rsp)
	mov	%r15, FRAME_R15(%rsp)
	mov	%r11, FRAME_RSP(%rsp)
	pushfq
	popq	FRAME_FLAGS(%rsp)
	cld
.endm

.macro DIRECTION frame			/* the one flag that programs may keep across a call */
	testl	$0x400, FRAME_FLAGS(\frame)
	jz	.Lforward\@
	std
.Lforward\@:
.endm

	.section .text.hot, "ax", @progbits
/*
 * %rcx = R, the retry label in the trampoline; the address to return to lies at 13(%rcx). %r11 is free, as after any
 * syscall instruction.
 */
FUNCTION door_site
	mov	%rsp, %r11
	mov	%gs:THREAD_STACK, %rsp
	sub	$FRAME_SIZE, %rsp
	mov	%rsp, %gs:THREAD_FRAME
	SAVE_FRAME
	mov	13(%rcx), %r11
	mov	%r11, FRAME_RIP(%rsp)
	mov	%rcx, FRAME_RETRY(%rsp)
	movq	$DOOR_SITE, FRAME_DOOR(%rsp)
door_enter:
	mov	%rsp, %rdi
	call	dispatch
	cmp	$-GATE_RESTART, %rax
	je	door_again
	mov	%rax, FRAME_RAX(%rsp)
LABEL door_leave				/* from here to door_leave_end the frame is the whole truth */
	cmpl	$0, %gs:THREAD_PENDING
	jne	door_leave_signal
	DIRECTION %rsp
	mov	FRAME_RDI(%rsp), %rdi
	mov	FRAME_RSI(%rsp), %rsi
	mov	FRAME_RDX(%rsp), %rdx
	mov	FRAME_R10(%rsp), %r10
	mov	FRAME_R8(%rsp), %r8
	mov	FRAME_R9(%rsp), %r9
	mov	FRAME_RIP(%rsp), %rcx
	mov	FRAME_RSP(%rsp), %rsp
	jmp	*%rcx
LABEL door_leave_end

	.balign 16
door_again:					/* the frame has the number still */
	mov	FRAME_RETRY(%rsp), %rax
	mov	%rax, FRAME_RIP(%rsp)
	mov	FRAME_RAX(%rsp), %eax
	mov	%rax, FRAME_RAX(%rsp)
	jmp	door_leave

	.balign 16
door_leave_signal:
	mov	%rsp, %rdi
	call	signal_leave			/* re-queues the signal, sets next_mask */
	mov	FRAME_RSP(%rsp), %rsp
	jmp	gate_unmask

/* Everything from thread->frame: after gate_unmask, and for new threads. */
FUNCTION door_leave_frame
	mov	%gs:THREAD_FRAME, %r11
	DIRECTION %r11
	mov	FRAME_RAX(%r11), %rax
	mov	FRAME_RBX(%r11), %rbx
	mov	FRAME_RBP(%r11), %rbp
	mov	FRAME_R12(%r11), %r12
	mov	FRAME_R13(%r11), %r13
	mov	FRAME_R14(%r11), %r14
	mov	FRAME_R15(%r11), %r15
	mov	FRAME_RDI(%r11), %rdi
	mov	FRAME_RSI(%r11), %rsi
	mov	FRAME_RDX(%r11), %rdx
	mov	FRAME_R10(%r11), %r10
	mov	FRAME_R8(%r11), %r8
	mov	FRAME_R9(%r11), %r9
	mov	FRAME_RIP(%r11), %rcx
	mov	FRAME_RSP(%r11), %rsp
	jmp	*%rcx
LABEL door_leave_frame_end
	nop

/* A new thread leaves for the program: %rdi = its frame, which is thread->frame. */
FUNCTION door_leave_new
	mov	%rdi, %rsp
	cmpl	$0, %gs:THREAD_PENDING
	jne	door_leave_signal
	jmp	door_leave_frame
LABEL door_leave_new_end
	nop

/* trap.c has put the frame at the top of the shim's stack and %rsp to it, then returned from SIGSYS to here. */
FUNCTION door_trap
	cld
	jmp	door_enter

/* Entered from door_symbol below, which runs as the program. */
	.balign 16
door_symbol_enter:
	mov	%rsp, %r11
	mov	%gs:THREAD_STACK, %rsp
	sub	$FRAME_SIZE, %rsp
	mov	%rsp, %gs:THREAD_FRAME
	SAVE_FRAME
	lea	door_symbol_result(%rip), %r11
	mov	%r11, FRAME_RIP(%rsp)
	lea	door_symbol_enter(%rip), %r11
	mov	%r11, FRAME_RETRY(%rsp)
	movq	$DOOR_SYMBOL, FRAME_DOOR(%rsp)
	jmp	door_enter

/* Kernel signal handler of every signal that the program or the shim handles; on the shim's signal stack, all blocked. */
FUNCTION signal_entry
	mov	%rdi, %rbx
	mov	%rsi, %r12
	mov	%rdx, %r13
	sub	$8, %rsp
	call	signal_arrived
	add	$8, %rsp
	test	%rax, %rax			/* 0: go on where it was; else the handler's stack, frame on it */
	jnz	1f
	mov	%r13, %rdi
	jmp	gate_sigreturn
1:	mov	%rax, %rsp
	mov	%gs:THREAD_SELF, %rcx
	lea	8(%rsp), %r13			/* ucontext right above the return address */
	lea	(8+SIGFRAME_INFO)(%rsp), %r12
	jmp	gate_enter_handler

/* long copy_guarded(void *to, const void *from, size_t size): 0, or -EFAULT when either side is not there. */
FUNCTION copy_guarded
	mov	%rdx, %rcx
LABEL copy_guarded_insn
	cmp	$32, %rcx			/* an event, a word, a vector: the string move takes longer to begin */
	ja	2f
	cmp	$8, %rcx
	jb	4f
	mov	(%rsi), %rax
	mov	-8(%rsi,%rcx), %rdx
	cmp	$16, %rcx
	jbe	1f
	mov	8(%rsi), %r8
	mov	-16(%rsi,%rcx), %r9
	mov	%r8, 8(%rdi)
	mov	%r9, -16(%rdi,%rcx)
1:	mov	%rax, (%rdi)
	mov	%rdx, -8(%rdi,%rcx)
	xor	%eax, %eax
	ret
2:	cmp	$256, %rcx			/* a struct: so do they by words */
	ja	4f
	mov	-8(%rsi,%rcx), %rdx
	lea	-8(%rcx), %r9
	xor	%r8d, %r8d
3:	mov	(%rsi,%r8), %rax
	mov	%rax, (%rdi,%r8)
	add	$8, %r8
	cmp	%r9, %r8
	jb	3b
	mov	%rdx, (%rdi,%r9)
	xor	%eax, %eax
	ret
4:	rep movsb
LABEL copy_guarded_after
	xor	%eax, %eax
	ret
LABEL copy_guarded_fault
	mov	$-14, %rax
	ret

/* long return_by_jump(long result): who ends in it returns by a jump, as the gate does and for the same reason. */
FUNCTION return_by_jump
	mov	%rdi, %rax
	pop	%r11
	jmp	*%r11

/* void gs_set(uint64_t base): needs FSGSBASE. */
FUNCTION gs_set
	wrgsbase %rdi
	ret

/*
 * ---- below: code that runs as the program (a signal may interrupt it as any of the program's) ----
 * DOOR(symbol, …) puts the number into %eax and comes here when the process has one thread (cancellation points are
 * libc's own business otherwise).
 */
	.section scone_door, "ax", @progbits
FUNCTION door_symbol
	mov	%rcx, %r10
	jmp	door_symbol_enter

FUNCTION door_symbol_result
	cmp	$-4095, %rax
	jae	1f
	ret
1:	push	%rbx
	mov	%eax, %ebx
	call	*errno_location(%rip)
	neg	%ebx
	mov	%ebx, (%rax)
	mov	$-1, %rax
	pop	%rbx
	ret
	.section .note.GNU-stack, "", @progbits
