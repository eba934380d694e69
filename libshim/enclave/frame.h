/*
 * frame.h - the program's register context while its thread is in the shim.
 *
 * Owns: struct frame, built by doors.S on the shim's stack (or copied from a signal context by trap.c) and its field
 * offsets for assembly. Must never: shrink; M:N threads will park a program thread as one of these.
 * Used by: doors.S, dispatch.c and every sys_<name>.
 */
#ifndef SCONE_FRAME_H
#define SCONE_FRAME_H

/*
 * What a call gives, negative, that is to be made again: a signal came before the kernel was entered. No number that a
 * kernel gives: from -4095 on there are errnos, and F_GETOWN's groups down to -2^22.
 */
#define GATE_RESTART 0x40000000

#define FRAME_RAX    0
#define FRAME_RDI    8
#define FRAME_RSI    16
#define FRAME_RDX    24
#define FRAME_R10    32
#define FRAME_R8     40
#define FRAME_R9     48
#define FRAME_RBX    56
#define FRAME_RBP    64
#define FRAME_R12    72
#define FRAME_R13    80
#define FRAME_R14    88
#define FRAME_R15    96
#define FRAME_RSP    104
#define FRAME_RIP    112
#define FRAME_RETRY  120
#define FRAME_DOOR   128
#define FRAME_FLAGS  136
#define FRAME_SIZE   144

#define DOOR_SYMBOL  0
#define DOOR_SITE    1
#define DOOR_TRAP    2
#define DOOR_OTHER   3

#ifndef __ASSEMBLER__
#include <stdint.h>

struct frame {
	uint64_t nr;		/* rax: call number on entry, result on exit */
	uint64_t arg[6];	/* rdi rsi rdx r10 r8 r9 */
	uint64_t rbx, rbp, r12, r13, r14, r15;
	uint64_t rsp;		/* of the program, at the call */
	uint64_t rip;		/* where the program goes on */
	uint64_t retry;		/* where it goes to make the same call again (rax = number) */
	uint64_t door;		/* DOOR_* */
	uint64_t flags;			/* of the program; only the direction flag matters to the shim */
};

_Static_assert(sizeof(struct frame) == FRAME_SIZE, "doors.S builds it");
_Static_assert(__builtin_offsetof(struct frame, rbx) == FRAME_RBX, "doors.S");
_Static_assert(__builtin_offsetof(struct frame, rsp) == FRAME_RSP, "doors.S");
_Static_assert(__builtin_offsetof(struct frame, rip) == FRAME_RIP, "doors.S");
_Static_assert(__builtin_offsetof(struct frame, retry) == FRAME_RETRY, "doors.S");
_Static_assert(__builtin_offsetof(struct frame, door) == FRAME_DOOR, "doors.S");
_Static_assert(__builtin_offsetof(struct frame, flags) == FRAME_FLAGS, "doors.S");
#endif
#endif
