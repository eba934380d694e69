/*
 * signals.c - delivery: handlers, masks, stacks, faults, pending signals, deadly ones.
 *
 * Owns: the cases for what a handler sees and what a signal does to a process. Must never: sleep to make a race likely.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile sig_atomic_t handled, depth, depth_max;
static char note_bytes[64];
static int note_fds[2];

static struct sigaction action_of(void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	return action;
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = action_of(handler, flags);

	GIVES(0, sigaction(number, guarded_copy(&action, sizeof(action)), NULL));
}

static sigset_t only(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	return set;
}

static void count(int number)
{
	handled += number != 0;
}

static void write_a_note(int number)
{
	int saved = errno;

	CHECK(write(note_fds[1], &(char){ (char)number }, 1) == 1);
	CHECK(getpid() == (int)syscall(SYS_getpid));
	errno = saved;
}

CASE(a_handler_makes_system_calls)
{
	GIVES(0, pipe(note_fds));
	handle(SIGUSR1, write_a_note, 0);
	for (int i = 0; i < 100; i++)
		GIVES(0, raise(SIGUSR1));
	GIVES(64, read(note_fds[0], note_bytes, 64));
	for (int i = 0; i < 64; i++)
		CHECK(note_bytes[i] == SIGUSR1);
}

CASE(a_handler_runs_before_kill_to_self_returns)
{
	handle(SIGUSR1, count, 0);
	for (int i = 1; i <= 100; i++) {
		GIVES(0, kill(getpid(), SIGUSR1));
		CHECK(handled == i);
	}
}

static volatile siginfo_t last_info;
static void *volatile last_stack;

static void remember(int number, siginfo_t *info, void *context)
{
	CHECK(number == info->si_signo && context != NULL);
	last_info = *info;
	last_stack = __builtin_frame_address(0);
}

static void handle_info(int number, int flags)
{
	struct sigaction action = { .sa_sigaction = remember, .sa_flags = SA_SIGINFO | flags };

	GIVES(0, sigaction(number, &action, NULL));
}

CASE(a_handler_learns_who_sent_the_signal)
{
	union sigval value = { .sival_ptr = note_bytes };
	pid_t child;

	handle_info(SIGUSR1, 0);
	GIVES(0, sigqueue(getpid(), SIGUSR1, value));
	CHECK(last_info.si_code == SI_QUEUE && last_info.si_pid == getpid() && last_info.si_uid == getuid());
	CHECK(last_info.si_value.sival_ptr == note_bytes);
	GIVES(0, raise(SIGUSR1));
	CHECK(last_info.si_code == SI_TKILL && last_info.si_pid == getpid());
	last_info.si_pid = 0;
	child = fork();
	if (child == 0)
		_exit(kill(getppid(), SIGUSR1) != 0);
	GIVES(0, exit_status(child));
	CHECK(last_info.si_pid == child && last_info.si_code == SI_USER);
}

CASE(an_alternate_stack_is_used_only_when_asked_for)
{
	stack_t stack = { .ss_sp = guarded(1 << 16), .ss_size = 1 << 16 }, old;
	char *low = stack.ss_sp;

	GIVES(0, sigaltstack(guarded_copy(&stack, sizeof(stack)), NULL));
	handle_info(SIGUSR1, SA_ONSTACK);
	handle_info(SIGUSR2, 0);
	GIVES(0, raise(SIGUSR1));
	CHECK((char *)last_stack >= low && (char *)last_stack < low + (1 << 16));
	GIVES(0, raise(SIGUSR2));
	CHECK((char *)last_stack < low || (char *)last_stack >= low + (1 << 16));
	GIVES(0, sigaltstack(NULL, &old));
	CHECK(old.ss_sp == stack.ss_sp && old.ss_size == stack.ss_size && old.ss_flags == 0);
	stack.ss_flags = SS_DISABLE;
	GIVES(0, sigaltstack(&stack, NULL));
	GIVES(0, sigaltstack(NULL, &old));
	CHECK(old.ss_flags == SS_DISABLE);
}

static void nest(int number)
{
	depth++;
	depth_max = depth > depth_max ? depth : depth_max;
	if (++handled < 5)
		raise(number);
	depth--;
}

CASE(a_handler_nests_only_with_sa_nodefer)
{
	handle(SIGUSR1, nest, SA_NODEFER);
	GIVES(0, raise(SIGUSR1));
	CHECK(handled == 5 && depth_max == 5);
	handled = depth_max = 0;
	handle(SIGUSR1, nest, 0);
	GIVES(0, raise(SIGUSR1));
	CHECK(handled == 5 && depth_max == 1);
}

static void raise_other(int number)
{
	if (number == SIGUSR1) {
		raise(SIGUSR2);
		CHECK(handled == 1);
	}
	handled++;
}

CASE(a_handler_is_interrupted_by_another_signal)
{
	handle(SIGUSR1, raise_other, 0);
	handle(SIGUSR2, raise_other, 0);
	GIVES(0, raise(SIGUSR1));
	CHECK(handled == 2);
}

CASE(sa_resethand_works_once)
{
	struct sigaction now;

	handle(SIGUSR1, count, SA_RESETHAND);
	GIVES(0, raise(SIGUSR1));
	GIVES(0, sigaction(SIGUSR1, NULL, &now));
	CHECK(handled == 1 && now.sa_handler == SIG_DFL);
}

CASE(sigaction_gives_back_what_was_set)
{
	struct sigaction action = action_of(count, SA_RESTART | SA_NODEFER), *old = guarded(sizeof(*old));

	sigaddset(&action.sa_mask, SIGUSR2);
	GIVES(0, sigaction(SIGUSR1, &action, old));
	CHECK(old->sa_handler == SIG_DFL);
	GIVES(0, sigaction(SIGUSR1, NULL, old));
	CHECK(old->sa_handler == count && (old->sa_flags & ~0x04000000) == (SA_RESTART | SA_NODEFER));
	CHECK(sigismember(&old->sa_mask, SIGUSR2) == 1 && sigismember(&old->sa_mask, SIGTERM) == 0);
	GIVES(0, sigaction(SIGSYS, NULL, old));
	CHECK(old->sa_handler == SIG_DFL);
}

CASE(blocked_signals_wait_and_arrive_when_unblocked)
{
	sigset_t set = only(SIGUSR1), *pending = guarded(sizeof(*pending)), before;

	handle(SIGUSR1, count, 0);
	GIVES(0, sigprocmask(SIG_BLOCK, guarded_copy(&set, sizeof(set)), &before));
	CHECK(sigismember(&before, SIGUSR1) == 0);
	GIVES(0, raise(SIGUSR1));
	GIVES(0, raise(SIGUSR1));
	CHECK(handled == 0);
	GIVES(0, sigpending(pending));
	CHECK(sigismember(pending, SIGUSR1) == 1 && sigismember(pending, SIGUSR2) == 0);
	GIVES(0, sigprocmask(SIG_SETMASK, &before, NULL));
	CHECK(handled == 1);
	GIVES(0, sigpending(pending));
	CHECK(sigismember(pending, SIGUSR1) == 0);
}

CASE(the_whole_mask_reads_back_as_set)
{
	sigset_t full, *now = guarded(sizeof(*now));

	sigfillset(&full);
	GIVES(0, sigprocmask(SIG_SETMASK, &full, NULL));
	GIVES(0, sigprocmask(SIG_SETMASK, NULL, now));
	for (int number = 1; number < 65; number++) {
		int never = number == SIGKILL || number == SIGSTOP || number == 32 || number == 33;

		CHECK(never || sigismember(now, number) == 1);
	}
	GIVES(getpid(), syscall(SYS_getpid));
	GIVES(1, write(1, "\n", 1));
	sigemptyset(&full);
	GIVES(0, sigprocmask(SIG_SETMASK, &full, NULL));
}

CASE(real_time_signals_queue_in_order)
{
	sigset_t set = only(SIGRTMIN + 1);
	siginfo_t *info = guarded(sizeof(*info));

	GIVES(0, sigprocmask(SIG_BLOCK, &set, NULL));
	for (int i = 0; i < 10; i++)
		GIVES(0, sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }));
	for (int i = 0; i < 10; i++) {
		GIVES(SIGRTMIN + 1, sigwaitinfo(&set, info));
		CHECK(info->si_value.sival_int == i && info->si_pid == getpid());
	}
	FAILS(EAGAIN, sigtimedwait(&set, info, &(struct timespec){ 0, 10000000 }));
}

CASE(pending_and_blocked_signals_over_fork)
{
	sigset_t set = only(SIGUSR1), now;
	pid_t child;

	handle(SIGUSR1, count, 0);
	GIVES(0, sigprocmask(SIG_BLOCK, &set, NULL));
	GIVES(0, raise(SIGUSR1));
	child = fork();
	if (child == 0) {
		GIVES(0, sigpending(&now));
		CHECK(sigismember(&now, SIGUSR1) == 0);
		GIVES(0, sigprocmask(SIG_BLOCK, NULL, &now));
		CHECK(sigismember(&now, SIGUSR1) == 1);
		GIVES(0, sigprocmask(SIG_UNBLOCK, &set, NULL));
		_exit(handled);
	}
	GIVES(0, exit_status(child));
	GIVES(0, sigprocmask(SIG_UNBLOCK, &set, NULL));
	CHECK(handled == 1);
}

ROLE(role_after_exec)
{
	struct sigaction action;
	sigset_t now;

	GIVES(0, sigprocmask(SIG_BLOCK, NULL, &now));
	CHECK(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGTERM) == 0);
	GIVES(0, sigpending(&now));
	CHECK(sigismember(&now, SIGUSR1) == 1);
	GIVES(0, sigaction(SIGUSR2, NULL, &action));
	CHECK(action.sa_handler == SIG_DFL);
	GIVES(0, sigaction(SIGTERM, NULL, &action));
	CHECK(action.sa_handler == SIG_IGN);
	GIVES(0, sigaction(SIGSYS, NULL, &action));
	CHECK(action.sa_handler == SIG_DFL);
}

CASE(mask_pending_and_ignored_signals_survive_exec_and_handlers_do_not)
{
	sigset_t set = only(SIGUSR1);
	pid_t child = fork();

	if (child == 0) {
		handle(SIGUSR2, count, 0);
		signal(SIGTERM, SIG_IGN);
		GIVES(0, sigprocmask(SIG_SETMASK, &set, NULL));
		GIVES(0, raise(SIGUSR1));
		execl("/proc/self/exe", case_argv[0], "role_after_exec", NULL);
	}
	GIVES(0, exit_status(child));
}

static sigjmp_buf fault_return;
static void *volatile fault_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
	fault_address = info->si_addr;
	CHECK(context != NULL && (number == SIGSEGV || number == SIGBUS));
	CHECK(getpid() > 0);
	siglongjmp(fault_return, info->si_code);
}

CASE(a_fault_handler_sees_the_address_and_can_jump_out)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	char *volatile bad = faulting();
	int code;

	GIVES(0, sigaction(SIGSEGV, &action, NULL));
	for (volatile int i = 0; i < 20; i++) {
		code = sigsetjmp(fault_return, 1);
		if (code == 0)
			*bad = 1;
		CHECK(code == SEGV_ACCERR && fault_address == bad);
		GIVES(getpid(), syscall(SYS_getpid));
	}
	code = sigsetjmp(fault_return, 1);
	if (code == 0)
		*(volatile char *)16 = 1;
	CHECK(code == SEGV_MAPERR && fault_address == (void *)16);
}

static void repair(int number, siginfo_t *info, void *context)
{
	CHECK(number == SIGSEGV && context != NULL);
	GIVES(0, mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), PAGE, PROT_READ | PROT_WRITE));
	handled++;
}

CASE(a_fault_handler_can_repair_and_continue)
{
	struct sigaction action = { .sa_sigaction = repair, .sa_flags = SA_SIGINFO };
	char *page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	GIVES(0, sigaction(SIGSEGV, &action, NULL));
	page[5] = 'r';
	CHECK(handled == 1 && page[5] == 'r');
}

static void edit_context(int number, siginfo_t *info, void *context)
{
	ucontext_t *state = context;

	CHECK(number == SIGUSR1 && info->si_signo == SIGUSR1);
	sigaddset(&state->uc_sigmask, SIGUSR2);
}

CASE(a_handler_can_change_the_mask_it_returns_to)
{
	struct sigaction action = { .sa_sigaction = edit_context, .sa_flags = SA_SIGINFO };
	sigset_t now;

	GIVES(0, sigaction(SIGUSR1, &action, NULL));
	GIVES(0, raise(SIGUSR1));
	GIVES(0, sigprocmask(SIG_BLOCK, NULL, &now));
	CHECK(sigismember(&now, SIGUSR2) == 1 && sigismember(&now, SIGUSR1) == 0);
}

static void die_by(int how)
{
	switch (how) {
	case 0: abort();
	case 1: raise(SIGTERM); break;
	case 2: kill(getpid(), SIGKILL); break;
	case 3: *(volatile char *)16 = 1; break;
	case 4: __asm__ volatile("ud2"); break;
	case 5: raise(SIGRTMIN + 3); break;
	case 6: __asm__ volatile("hlt"); break;
	}
	_exit(0);
}

CASE(deadly_signals_are_seen_by_the_parent)
{
	int want[] = { SIGABRT, SIGTERM, SIGKILL, SIGSEGV, SIGILL, SIGRTMIN + 3, SIGSEGV };
	struct rlimit none = { 0, 0 };

	GIVES(0, setrlimit(RLIMIT_CORE, &none));
	for (int how = 0; how < 7; how++) {
		pid_t child = fork();

		if (child == 0)
			die_by(how);
		GIVES(want[how], death_signal(child));
	}
}

CASE(a_default_handler_of_sigsys_still_kills)
{
	pid_t child = fork();

	if (child == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		raise(SIGSYS);
		_exit(0);
	}
	GIVES(SIGSYS, death_signal(child));
}

CASE(a_program_can_handle_sigsys_itself)
{
	handle(SIGSYS, count, 0);
	GIVES(0, raise(SIGSYS));
	CHECK(handled == 1);
	GIVES(getpid(), syscall(SYS_getpid));
	GIVES(0, kill(getpid(), SIGSYS));
	CHECK(handled == 2);
}

CASE(sigsuspend_waits_with_another_mask)
{
	sigset_t set = only(SIGUSR1), empty, now;

	sigemptyset(&empty);
	handle(SIGUSR1, count, 0);
	GIVES(0, sigprocmask(SIG_BLOCK, &set, NULL));
	GIVES(0, raise(SIGUSR1));
	FAILS(EINTR, sigsuspend(&empty));
	CHECK(handled == 1);
	GIVES(0, sigprocmask(SIG_BLOCK, NULL, &now));
	CHECK(sigismember(&now, SIGUSR1) == 1);
}

CASE(an_abort_dumps_core_when_the_limit_allows)
{
	struct rlimit limit;
	int status;
	pid_t child;

	GIVES(0, getrlimit(RLIMIT_CORE, &limit));
	if (limit.rlim_max == 0 || access("/proc/sys/kernel/core_pattern", R_OK) != 0)
		skip("core files are not allowed here");
	child = fork();
	if (child == 0) {
		limit.rlim_cur = limit.rlim_max;
		GIVES(0, setrlimit(RLIMIT_CORE, &limit));
		abort();
	}
	GIVES(child, waitpid(child, &status, 0));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
}
