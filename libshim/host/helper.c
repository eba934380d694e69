/*
 * helper.c - the helper process: how it begins, the thread that looks after the others, how it ends.
 *
 * Owns: the way from a copy of the program to a process that has nothing but the ring and this code; the control
 * thread. Must never: outlive the program by more than what was accepted, open a descriptor in the shared table.
 * Used by: enclave/ring_life.c starts it by gate_clone_helper().
 *
 *   program ── fork-like clone ──► starter: clones, then exits (the program waits for it)
 *                                    └── CLONE_VM | CLONE_PARENT ──► helper: waits for the starter's end, unmaps
 *                                                                     everything, is the control thread ──► twins
 *
 * The starter is there for one reason: the kernel's rseq registration is inherited with the memory's copy, and kills a
 * process that is preempted after it unmapped it. A child that shares the memory has none.
 */
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include "host.h"

enum {
	SWEEP_NS       = 1000000,	/* between two looks for posts that nothing else sends */
	POLLED_MAX     = 512,		/* the others are looked at when the wait ends */
	SWEEP_IDLE_MAX = 16,		/* looks without finding one until it stops looking */
	ALIVE_NS       = 250000000,	/* between two looks for the program, should the signal of its end be lost */
};

struct timespec64 { int64_t seconds, nanoseconds; };

/* Everything else in the registers comes from the program: vectors too. */
INLINE void forget_registers(void)
{
	uint32_t state[176] __attribute__((aligned(64)));
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	for (int i = 0; i < 176; i++)
		*(volatile uint32_t *)&state[i] = 0;
	*(volatile uint32_t *)&state[6] = 0x1f80;		/* MXCSR */
	*(volatile uint32_t *)&state[0] = 0x37f;		/* FCW */
	if (c & 1u << 27)
		__asm__ volatile("xrstor64 %0" : : "m"(state), "a"(~0u), "d"(~0u));
	else
		__asm__ volatile("fxrstor64 %0" : : "m"(state));
}

static HOST void unmap(uint64_t from, uint64_t to)
{
	if (to > from)
		host_syscall(__NR_munmap, (long)from, (long)(to - from), 0, 0, 0, 0);
}

static HOST void unmap_program(struct wire_control *control)
{
	uint64_t ring = (uint64_t)control, ring_end = ring + control->ring_size;
	uint64_t text = control->text_start & ~4095ul, text_end = (control->text_end + 4095) & ~4095ul;
	uint64_t top = 0x7ffffffff000ul;

	unmap(0, ring < text ? ring : text);
	unmap(ring < text ? ring_end : text_end, ring < text ? text : ring);
	unmap(ring < text ? text_end : ring_end, top);
	unmap(1ul << 47, (1ul << 56) - 4096);
}

/* Looks after one lane; whether it found something to do. */
static HOST bool tend(struct wire_control *control, struct wire_lane *lane)
{
	uint32_t word;
	bool found = false;

	if (change32(&lane->twin_state, TWIN_WANTED, TWIN_STARTING) && twin_start(control, lane) < 0) {
		store32(&lane->twin_state, TWIN_FAILED);
		futex_wake(&lane->twin_state);
	}
	if (load32(&lane->twin_state) != TWIN_SERVING)
		return false;
	if (load32(&lane->post_head) != load32(&lane->post_tail)) {
		found = true;
		word = load32(&lane->request);
		if ((word & WORD_ASLEEP) && change32(&lane->request, word, word & ~WORD_ASLEEP))
			futex_wake(&lane->request);
	}
	return found;
}

static HOST uint32_t lane_total(struct wire_control *control)
{
	uint32_t used = load32(&control->lanes_used);

	return used < control->lane_count ? used : control->lane_count;
}

/* Serves what is in the backlog of all lanes, then waits: for a descriptor to be writable, a signal, the time. */
static HOST bool wait_and_drain(struct wire_control *control, int64_t wait_ns)
{
	struct pollfd polled[POLLED_MAX];
	struct timespec64 wait = { 0, wait_ns };
	uint64_t open_signals = ~(1ul << (SIGNAL_CONTROL - 1));
	uint32_t count = 0, lanes = lane_total(control);

	for (uint32_t i = 0; i < lanes; i++) {
		struct wire_lane *lane = control_lane(control, i);

		for (uint64_t left = backlog_slots(lane); left; left &= left - 1) {
			uint32_t slot = (uint32_t)__builtin_ctzl(left);

			if (control->draining && load32(&lane->backlog[slot].state) == BACKLOG_FAILED)
				store32(&lane->backlog[slot].state, BACKLOG_FREE);
			if (load32(&lane->backlog[slot].state) != BACKLOG_BUSY || backlog_serve(lane, slot) || count == POLLED_MAX)
				continue;
			polled[count].fd = lane->backlog[slot].fd;
			polled[count].events = POLLOUT;
			polled[count++].revents = 0;
		}
	}
	host_syscall(__NR_ppoll, (long)polled, count, (long)&wait, (long)&open_signals, 8, 0);
	return count > 0;
}

/* The smallest descriptor from `from` on that something waits to be sent to; ~0 when there is none. */
static HOST uint32_t next_needed(struct wire_control *control, uint32_t from)
{
	uint32_t found = ~0u;

	for (uint32_t i = 0; i < lane_total(control); i++) {
		struct wire_lane *lane = control_lane(control, i);

		for (uint64_t left = backlog_slots(lane); left; left &= left - 1) {
			uint32_t slot = (uint32_t)__builtin_ctzl(left), fd = (uint32_t)lane->backlog[slot].fd;

			if (lane->backlog[slot].state == BACKLOG_BUSY && fd >= from && fd < found)
				found = fd;
		}
		for (uint32_t at = lane->post_tail; at != lane->post_head; at++) {
			uint32_t fd = (uint32_t)lane->post[at % POST_COUNT].fd;

			if (lane->post[at % POST_COUNT].result == POST_PENDING && fd >= from && fd < found)
				found = fd;
		}
	}
	return found;
}

/* Closes all descriptors but those; whether there are any. */
static HOST bool close_others(struct wire_control *control)
{
	uint32_t from = 0, needed;

	while ((needed = next_needed(control, from)) != ~0u) {
		if (needed > from)
			host_syscall(__NR_close_range, from, needed - 1, 0, 0, 0, 0);
		from = needed + 1;
	}
	host_syscall(__NR_close_range, from, ~0u, 0, 0, 0, 0);
	return from != 0;
}

/* Ends the twins, also out of blocking calls: whether one is left. */
static HOST bool end_twins(struct wire_control *control)
{
	bool left = false;

	for (uint32_t i = 0; i < lane_total(control); i++) {
		struct wire_lane *lane = control_lane(control, i);
		uint32_t state = load32(&lane->twin_state), word = load32(&lane->request);

		if (state != TWIN_SERVING && state != TWIN_STARTING)
			continue;
		left = true;
		store32(&lane->cancel, word & ~WORD_ASLEEP);
		store32(&lane->request, word & ~WORD_ASLEEP);
		futex_wake(&lane->request);
		host_syscall(__NR_tgkill, control->helper_pid, lane->twin_tid, SIGNAL_CANCEL, 0, 0, 0);
	}
	return left;
}

/*
 * The program is gone. What it was told is sent gets sent by this thread alone, with a descriptor table that nobody
 * shares and that holds nothing else: all other ends are closed as if this process had never been.
 */
static HOST void drain_and_end(struct wire_control *control)
{
	store32(&control->draining, 1);
	store32(&control->uring_min, 0);	/* the rings are the twins' */
	while (end_twins(control))
		wait_and_drain(control, SWEEP_NS);
	host_syscall(__NR_unshare, CLONE_FILES, 0, 0, 0, 0, 0);
	for (;;) {
		for (uint32_t i = 0; i < lane_total(control); i++)
			posts_serve(control, control_lane(control, i));
		if (!close_others(control))
			host_syscall(__NR_exit_group, 0, 0, 0, 0, 0, 0);
		wait_and_drain(control, ALIVE_NS);
	}
}

static HOST void control_main(struct wire_control *control)
{
	uint32_t idle = 0;

	while (load32(&control->starter))	/* cleared by the kernel when the starter has ended */
		futex_wait(&control->starter, 1);
	unmap_program(control);
	forget_registers();
	twin_handlers();
	host_syscall(__NR_prctl, PR_SET_NAME, (long)control->name, 0, 0, 0, 0);
	host_syscall(__NR_prctl, PR_SET_PDEATHSIG, SIGNAL_CONTROL, 0, 0, 0, 0);
	store32((uint32_t *)&control->helper_pid, (uint32_t)host_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0));
	futex_wake((uint32_t *)&control->helper_pid);
	for (;;) {
		bool found = false;

		if (host_syscall(__NR_getppid, 0, 0, 0, 0, 0, 0) != control->program_pid)
			drain_and_end(control);
		for (uint32_t i = 0; i < lane_total(control); i++)
			found |= tend(control, control_lane(control, i));
		idle = found ? 0 : idle + 1;
		store32(&control->sweeping, idle < SWEEP_IDLE_MAX);
		wait_and_drain(control, idle < SWEEP_IDLE_MAX ? SWEEP_NS : ALIVE_NS);
	}
}

HOST void helper_start(void *argument)
{
	struct wire_control *control = argument;
	unsigned long flags = CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_PARENT | CLONE_SYSVSEM;
	register void (*entry)(struct wire_control *) __asm__("r12") = control_main;
	uint64_t *stack = (uint64_t *)((uint8_t *)control + CONTROL_STACK_TOP);
	long result;

	store32(&control->starter, 1);
	host_syscall(__NR_set_tid_address, (long)&control->starter, 0, 0, 0, 0, 0);
	stack -= 2;
	*stack = (uint64_t)control;
	__asm__ volatile("xor %%r10d, %%r10d\n"
			 "xor %%r8d, %%r8d\n"
			 "syscall\n"
			 "test %%rax, %%rax\n"
			 "jnz 1f\n"
			 "xor %%ebp, %%ebp\n"
			 "mov (%%rsp), %%rdi\n"
			 "call *%%r12\n"
			 "ud2\n"
			 "1:"
			 : "=a"(result)
			 : "a"(__NR_clone), "D"(flags), "S"(stack), "d"(0), "r"(entry)
			 : "rcx", "r8", "r10", "r11", "memory");
	for (;;)
		host_syscall(__NR_exit, result < 0, 0, 0, 0, 0, 0);
}
