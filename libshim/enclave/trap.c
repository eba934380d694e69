/*
 * trap.c - the last door: syscalls that nothing else caught arrive as SIGSYS (Syscall User Dispatch).
 *
 * Owns: turning such a signal into a frame. Must never: execute the call inside the signal handler; the context is made
 * to go on in door_trap, on the shim's stack with the program's signal mask. Called by: signal.c.
 */
#include "signal.h"
#include "control.h"

enum { INFO_ADDRESS_AT = 16, INFO_ARCH_AT = 28, ARCH_I386 = 0x40000003 };

extern const char door_trap[];

/* One event for each page of program code that traps, so that a missing site table is seen but doesn't flood. */
static void report_once(uint64_t address)
{
	static uint64_t pages[64];
	static uint32_t count;
	char bytes[64];
	struct text text = { bytes, 0, sizeof bytes };

	for (uint32_t i = 0; i < count && i < 64; i++)
		if (pages[i] == address / PAGE_SIZE)
			return;
	if (count >= 64)
		return;
	pages[count++] = address / PAGE_SIZE;
	text_add_hex(&text, address);
	control_event(CTL_EVENT_TRAP, ~0u, text.bytes);
}

void trap_arrived(struct thread *thread, const uint8_t *info, struct ucontext *context)
{
	struct sigcontext *at = &context->uc_mcontext;
	struct frame *frame = (struct frame *)(thread->stack_top - FRAME_SIZE);
	uint32_t arch;

	memcpy(&arch, info + INFO_ARCH_AT, sizeof arch);
	if (arch == ARCH_I386) {
		thread->stats.denied++;
		control_event(CTL_EVENT_DENIED, ~0u, "a 32-bit system call (int 0x80)");
		at->rax = (uint64_t)-ENOSYS;
		return;
	}
	if (at->rax == __NR_rt_sigreturn) {		/* a restorer of the program's own */
		at->rip = (uint64_t)gate_restorer;
		return;
	}
	*frame = (struct frame) {
		.nr = at->rax, .arg = { at->rdi, at->rsi, at->rdx, at->r10, at->r8, at->r9 },
		.rbx = at->rbx, .rbp = at->rbp, .r12 = at->r12, .r13 = at->r13, .r14 = at->r14, .r15 = at->r15,
		.rsp = at->rsp, .rip = at->rip, .retry = at->rip - 2, .door = DOOR_TRAP,
		.flags = at->eflags,
	};
	if (enclave.flags & (FLAG_STATS | FLAG_LOG | FLAG_LIVE))
		report_once(at->rip);
	thread->frame = frame;
	at->rip = (uint64_t)door_trap;
	at->rsp = (uint64_t)frame;
}
