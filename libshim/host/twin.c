/*
 * twin.c - the helper's thread that executes one lane's requests.
 *
 * Owns: the serving side of the words in struct wire_lane, the cancellable call. Must never: look at memory outside
 * the ring, or open a descriptor. Used by: helper.c starts one for each lane in use.
 *
 *   cancellable_call ── check ── insn ── after        SIGNAL_CANCEL in [check, insn] goes to abort: not begun;
 *                         └────────── abort           inside the kernel: the call gives EINTR (no SA_RESTART)
 */
#include <asm/signal.h>
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include <linux/sched.h>
#include "host.h"

__asm__(".pushsection host_text, \"ax\", @progbits\n"
	".globl cancellable_call\n.hidden cancellable_call\n.type cancellable_call, @function\n"
	"cancellable_call:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	mov %rdi, %rbx\n"
	"	mov %esi, %ebp\n"
	"	mov 0(%rdx), %rax\n"
	"	mov 8(%rdx), %rdi\n"
	"	mov 16(%rdx), %rsi\n"
	"	mov 32(%rdx), %r10\n"
	"	mov 40(%rdx), %r8\n"
	"	mov 48(%rdx), %r9\n"
	"	mov 24(%rdx), %rdx\n"
	".globl cancellable_check\n.hidden cancellable_check\ncancellable_check:\n"
	"	cmp %ebp, (%rbx)\n"
	"	je cancellable_abort\n"
	".globl cancellable_insn\n.hidden cancellable_insn\ncancellable_insn:\n"
	"	syscall\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".globl cancellable_abort\n.hidden cancellable_abort\ncancellable_abort:\n"
	"	mov $-512, %rax\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".globl twin_restorer\n.hidden twin_restorer\ntwin_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	".popsection");

extern const char cancellable_check[] __attribute__((visibility("hidden")));
extern const char cancellable_insn[] __attribute__((visibility("hidden")));
extern const char cancellable_abort[] __attribute__((visibility("hidden")));
extern const char twin_restorer[] __attribute__((visibility("hidden")));

enum { LOOKS_A_STEP = 8, WAKE_FACTOR = 10 };	/* the program's thread takes so much longer to come when it has to be woken */

struct kernel_sigaction {
	void (*handler)(int, void *, void *);
	unsigned long flags;
	const void *restorer;
	unsigned long mask;
};

enum { SA_FLAGS = 0x04000000 | 4 };	/* SA_RESTORER | SA_SIGINFO */

static HOST void on_signal(int signal, void *info, void *context_of_signal)
{
	struct ucontext *context = context_of_signal;
	uint64_t stack = (uint64_t)__builtin_frame_address(0);
	struct wire_lane *lane = (struct wire_lane *)(stack & ~(LANE_SIZE - 1));
	uint64_t at = context->uc_mcontext.rip;

	(void)info;
	if (signal != SIGNAL_CANCEL)
		return;
	if (at >= (uint64_t)cancellable_check && at <= (uint64_t)cancellable_insn && load32(&lane->cancel) != 1)
		context->uc_mcontext.rip = (uint64_t)cancellable_abort;
	__atomic_fetch_add(&lane->cancels_seen, 1, __ATOMIC_SEQ_CST);
	futex_wake(&lane->cancels_seen);
}

HOST void twin_handlers(void)
{
	struct kernel_sigaction action = { on_signal, SA_FLAGS, twin_restorer, ~0ul };

	host_syscall(__NR_rt_sigaction, SIGNAL_CANCEL, (long)&action, 0, 8, 0, 0);
	host_syscall(__NR_rt_sigaction, SIGNAL_CONTROL, (long)&action, 0, 8, 0, 0);
}

static HOST void serve_batch(struct wire_lane *lane, uint32_t word)
{
	uint32_t count = lane->count < BATCH_COUNT_MAX ? lane->count : BATCH_COUNT_MAX;
	bool stopped = false;

	for (uint32_t i = 0; i < count; i++) {
		struct wire_batch_entry *entry = &lane->batch[i];

		entry->result = stopped ? -ECANCELED : cancellable_call(&lane->cancel, word, &entry->nr);
		if (entry->result < 0 && (entry->flags & BATCH_STOP_ON_ERROR))
			stopped = true;
	}
	lane->result = 0;
}

static HOST void serve(struct wire_control *control, struct wire_lane *lane, uint32_t word)
{
	if (load32(&lane->post_head) != lane->post_seen)
		posts_serve(control, lane);
	if (lane->kind == REQUEST_BATCH) {
		serve_batch(lane, word);
		return;
	}
	if (lane->kind == REQUEST_FLUSH) {
		lane->result = 0;
		return;
	}
	if (lane->kind == REQUEST_ADOPT) {
		lane->result = backlog_adopt(control_lane(control, (uint32_t)lane->args[0]), (int32_t)lane->args[1],
					     (int32_t)lane->args[2], (uint32_t)lane->args[3]);
		return;
	}
	if (lane->kind == REQUEST_DISSOLVE) {
		lane->result = backlog_dissolve(control_lane(control, (uint32_t)lane->args[0]), (int32_t)lane->args[1]);
		return;
	}
	lane->result = cancellable_call(&lane->cancel, word, &lane->nr);
	if (lane->kind != REQUEST_CALL)
		ahead_serve(control, lane, lane->result);
}

/* Until there is something to do: the new request word, or the old one when there are only posts. */
static HOST uint32_t await_work(struct wire_control *control, struct wire_lane *lane, uint32_t served,
				uint64_t budget)
{
	uint64_t start = cycles();
	uint32_t word;

	do {
		for (int i = 0; i < LOOKS_A_STEP; i++) {
			word = load32(&lane->request);
			if ((word & ~WORD_ASLEEP) != served || load32(&lane->post_head) != lane->post_seen)
				return word & ~WORD_ASLEEP;
			pause_cpu();
		}
	} while (cycles() - start < budget);
	for (;;) {
		if (!change32(&lane->request, served, served | WORD_ASLEEP) &&
		    load32(&lane->request) != (served | WORD_ASLEEP))
			return load32(&lane->request) & ~WORD_ASLEEP;
		if (load32(&lane->post_head) != lane->post_seen || load32(&control->draining)) {
			change32(&lane->request, served | WORD_ASLEEP, served);
			return load32(&lane->request) & ~WORD_ASLEEP;
		}
		futex_wait(&lane->request, served | WORD_ASLEEP);
	}
}

static HOST void twin_main(struct wire_lane *lane, struct wire_control *control)
{
	uint64_t open_signals = ~(1ul << (SIGNAL_CANCEL - 1));
	uint32_t served = load32(&lane->done) & ~WORD_ASLEEP;
	uint64_t budget = 0;

	lane->twin_tid = (int32_t)host_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
	host_syscall(__NR_rt_sigprocmask, 2, (long)&open_signals, 0, 8, 0, 0);
	lane->uring_state = URING_UNTRIED;
	store32(&lane->twin_state, TWIN_SERVING);
	futex_wake(&lane->twin_state);
	for (;;) {
		uint32_t word = await_work(control, lane, served, budget);

		if (load32(&control->draining)) {
			store32(&lane->twin_state, TWIN_NONE);
			host_syscall(__NR_exit, 0, 0, 0, 0, 0, 0);
		}
		if (word == served) {
			posts_serve(control, lane);
			continue;
		}
		serve(control, lane, word);
		served = word;
		budget = lane->spin * 256ul;
		if (swap32(&lane->done, word) & WORD_ASLEEP) {
			futex_wake(&lane->done);
			budget *= WAKE_FACTOR;
		}
	}
}

HOST long twin_start(struct wire_control *control, struct wire_lane *lane)
{
	unsigned long flags = CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	register void (*entry)(struct wire_lane *, struct wire_control *) __asm__("r12") = twin_main;
	uint64_t *stack = (uint64_t *)((uint8_t *)lane + LANE_STACK_TOP);
	long result;

	*--stack = (uint64_t)control;
	*--stack = (uint64_t)lane;
	__asm__ volatile("xor %%r10d, %%r10d\n"
			 "xor %%r8d, %%r8d\n"
			 "syscall\n"
			 "test %%rax, %%rax\n"
			 "jnz 1f\n"
			 "xor %%ebp, %%ebp\n"
			 "pop %%rdi\n"
			 "pop %%rsi\n"
			 "call *%%r12\n"
			 "ud2\n"
			 "1:"
			 : "=a"(result)
			 : "a"(__NR_clone), "D"(flags), "S"(stack), "d"(0), "r"(entry)
			 : "rcx", "r8", "r10", "r11", "memory");
	return result;
}
