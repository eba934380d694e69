/*
 * fake_gate.S - the gate for ring tests: an ordinary process, no doors. Owns: the five gate symbols that the ring uses.
 * Must never: be linked into the shim. Used by: the tests beside it.
 */
#include "thread.h"
	.text
.macro FUNCTION name
	.globl \name
	.type \name, @function
\name:
.endm
.macro ARGUMENTS
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
FUNCTION gate_interruptible
	ARGUMENTS
FUNCTION gate_call_check
	cmpl	$0, %gs:THREAD_PENDING
	jne	gate_call_abort
FUNCTION gate_call_insn
	syscall
	ret
FUNCTION gate_call_abort
	mov	$-512, %rax
	ret
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
	.section .note.GNU-stack, "", @progbits
