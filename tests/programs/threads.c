/*
 * threads.c - threads of pthreads and of bare clone: I/O, cancellation, small stacks, coroutines, fork and exec.
 *
 * Owns: the cases with more than one thread of execution in a process. Must never: leave a thread behind that writes.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <ucontext.h>

enum { THREADS = 32, ROUNDS = 100 };

static __thread int own_number;
static pthread_barrier_t all_ready;

static void *do_io(void *argument)
{
	int number = (int)(intptr_t)argument, fd, fds[2];
	char name[32], back[32];

	own_number = number;
	pthread_barrier_wait(&all_ready);
	snprintf(name, sizeof(name), "thread-%d", number);
	fd = (int)SYS(open(name, O_RDWR | O_CREAT, 0600));
	GIVES(0, pipe(fds));
	for (int i = 0; i < ROUNDS; i++) {
		GIVES(sizeof(name), pwrite(fd, name, sizeof(name), i * 32));
		GIVES(4, write(fds[1], &number, 4));
		GIVES(4, read(fds[0], back, 4));
		CHECK(memcmp(back, &number, 4) == 0 && own_number == number);
		GIVES(sizeof(back), pread(fd, back, sizeof(back), i * 32));
		CHECK(strcmp(back, name) == 0);
	}
	GIVES(0, close(fd));
	return (void *)(intptr_t)(number * 2);
}

CASE(thirty_two_threads_do_io_at_once)
{
	pthread_t threads[THREADS];
	void *result;

	GIVES(0, pthread_barrier_init(&all_ready, NULL, THREADS));
	for (intptr_t i = 0; i < THREADS; i++)
		GIVES(0, pthread_create(&threads[i], NULL, do_io, (void *)i));
	for (intptr_t i = 0; i < THREADS; i++) {
		GIVES(0, pthread_join(threads[i], &result));
		CHECK((intptr_t)result == i * 2);
	}
}

static void *end_at_once(void *argument)
{
	return argument;
}

CASE(two_thousand_threads_come_and_go)
{
	pthread_t thread;
	void *result;

	for (intptr_t i = 0; i < 2000; i++) {
		GIVES(0, pthread_create(&thread, NULL, end_at_once, (void *)i));
		GIVES(0, pthread_join(thread, &result));
		CHECK((intptr_t)result == i);
	}
}

static int done_pipe[2];

static void *write_and_exit(void *argument)
{
	pthread_detach(pthread_self());
	GIVES(1, write(done_pipe[1], "d", 1));
	pthread_exit(argument);
}

CASE(detached_threads_end_by_themselves)
{
	pthread_t thread;
	char byte;

	GIVES(0, pipe(done_pipe));
	for (int i = 0; i < 100; i++) {
		GIVES(0, pthread_create(&thread, NULL, write_and_exit, NULL));
		GIVES(1, read(done_pipe[0], &byte, 1));
	}
}

static int cleaned;

static void clean_up(void *argument)
{
	cleaned += *(int *)argument;
}

static void *block_in_read(void *argument)
{
	int one = 1;
	char byte;

	if (argument != NULL)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cleanup_push(clean_up, &one);
	GIVES(1, write(done_pipe[1], "r", 1));
	(void)!read(*(int *)(void *)&done_pipe[0] + 2, &byte, 1);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel_blocked_reader(void *how)
{
	int silent[2];
	pthread_t thread;
	void *result;
	char byte;

	GIVES(0, close_range(3, ~0U, 0));
	GIVES(0, pipe(done_pipe));
	GIVES(0, pipe(silent));
	CHECK(silent[0] == done_pipe[0] + 2);
	for (int i = 1; i <= 20; i++) {
		GIVES(0, pthread_create(&thread, NULL, block_in_read, how));
		GIVES(1, read(done_pipe[0], &byte, 1));
		sleep_ms(i % 4 * 5);
		GIVES(0, pthread_cancel(thread));
		GIVES(0, pthread_join(thread, &result));
		CHECK(result == PTHREAD_CANCELED && cleaned == i);
		GIVES(1, write(silent[1], "x", 1));
		GIVES(1, read(silent[0], &byte, 1));
	}
}

CASE(a_thread_blocked_in_read_is_cancelled)
{
	cancel_blocked_reader(NULL);
}

CASE(a_thread_blocked_in_read_is_cancelled_asynchronously)
{
	cancel_blocked_reader(&cleaned);
}

static char clone_stack[65536] __attribute__((aligned(16)));
static volatile int clone_tid, clone_ran;

/* The end of a bare thread: exit(2) without touching its stack again. */
__attribute__((noreturn)) static void bare_exit(void)
{
	__asm__ volatile("syscall" : : "a"(SYS_exit), "D"(0) : "rcx", "r11", "memory");
	__builtin_unreachable();
}

static int bare_thread(void *argument)
{
	const char *text = argument;
	long result;

	__asm__ volatile("syscall" : "=a"(result)
			 : "a"(SYS_write), "D"(done_pipe[1]), "S"(text), "d"(strlen(text)) : "rcx", "r11", "memory");
	clone_ran = result == (long)strlen(text);
	bare_exit();
}

static void wait_until_zero(volatile int *word)
{
	int value;

	while ((value = *word) != 0)
		syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

CASE(a_thread_of_bare_clone_makes_system_calls)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
		    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	char *back = guarded(5);
	int tid;

	GIVES(0, pipe(done_pipe));
	for (int i = 0; i < 20; i++) {
		clone_ran = 0;
		clone_tid = -1;
		tid = (int)SYS(clone(bare_thread, clone_stack + sizeof(clone_stack), flags, "naked", &clone_tid, NULL,
				     &clone_tid));
		CHECK(tid > 0);
		GIVES(5, read(done_pipe[0], back, 5));
		wait_until_zero(&clone_tid);
		CHECK(clone_ran == 1 && memcmp(back, "naked", 5) == 0);
	}
}

static void *exit_the_thread_by_syscall(void *argument)
{
	GIVES(1, write(done_pipe[1], argument, 1));
	syscall(SYS_exit, 5);
	return NULL;
}

CASE(exit_2_ends_only_its_thread)
{
	pthread_t thread;
	char byte;

	GIVES(0, pipe(done_pipe));
	GIVES(0, pthread_create(&thread, NULL, exit_the_thread_by_syscall, "t"));
	GIVES(1, read(done_pipe[0], &byte, 1));
	GIVES(0, pthread_join(thread, NULL));
}

CASE(the_process_outlives_its_first_thread)
{
	pid_t child = fork();

	if (child == 0) {
		pthread_t thread;

		GIVES(0, pipe(done_pipe));
		GIVES(0, pthread_create(&thread, NULL, write_and_exit, NULL));
		pthread_exit(NULL);
	}
	GIVES(0, exit_status(child));
}

static void *exit_the_process(void *argument)
{
	exit((int)(intptr_t)argument);
}

CASE(exit_from_another_thread_ends_the_process)
{
	pid_t child = fork();

	if (child == 0) {
		pthread_t thread;

		GIVES(0, pthread_create(&thread, NULL, exit_the_process, (void *)9));
		for (;;)
			pause();
	}
	GIVES(9, exit_status(child));
}

static void *fork_here(void *argument)
{
	pid_t child;

	own_number = 5;
	child = fork();
	if (child == 0) {
		CHECK(own_number == 5 && getpid() == (pid_t)syscall(SYS_gettid));
		GIVES(1, write(done_pipe[1], "f", 1));
		_exit(3);
	}
	*(pid_t *)argument = child;
	return NULL;
}

CASE(a_thread_can_fork)
{
	pthread_t thread;
	pid_t child;
	char byte;

	GIVES(0, pipe(done_pipe));
	for (int i = 0; i < 20; i++) {
		GIVES(0, pthread_create(&thread, NULL, fork_here, &child));
		GIVES(1, read(done_pipe[0], &byte, 1));
		GIVES(0, pthread_join(thread, NULL));
		GIVES(3, exit_status(child));
	}
}

ROLE(role_sees_one_thread)
{
	struct stat st;

	CHECK(getpid() == (pid_t)syscall(SYS_gettid));
	GIVES(0, stat("/proc/self/task", &st));
	CHECK(st.st_nlink == 3);
}

static void *exec_here(void *argument)
{
	execl("/proc/self/exe", case_argv[0], argument, NULL);
	return NULL;
}

static void *block_forever(void *argument)
{
	char byte;

	(void)!read(done_pipe[0], &byte, 1);
	return argument;
}

CASE(a_thread_can_exec_and_the_others_end)
{
	pid_t child;

	GIVES(0, pipe(done_pipe));
	child = fork();
	if (child == 0) {
		pthread_t thread;

		for (int i = 0; i < 4; i++)
			GIVES(0, pthread_create(&thread, NULL, block_forever, NULL));
		GIVES(0, pthread_create(&thread, NULL, exec_here, "role_sees_one_thread"));
		for (;;)
			pause();
	}
	GIVES(0, exit_status(child));
}

static void *small_stack_io(void *argument)
{
	int fds[2], number = (int)(intptr_t)argument, back;

	for (int i = 0; i < 200; i++) {
		GIVES(0, pipe(fds));
		GIVES(4, write(fds[1], &number, 4));
		GIVES(4, read(fds[0], &back, 4));
		CHECK(back == number);
		GIVES(0, close(fds[0]));
		GIVES(0, close(fds[1]));
	}
	return NULL;
}

CASE(threads_with_the_smallest_stacks_do_io)
{
	pthread_t threads[8];
	pthread_attr_t attributes;

	GIVES(0, pthread_attr_init(&attributes));
	GIVES(0, pthread_attr_setstacksize(&attributes, 16384));
	for (intptr_t i = 0; i < 8; i++)
		GIVES(0, pthread_create(&threads[i], &attributes, small_stack_io, (void *)i));
	for (int i = 0; i < 8; i++)
		GIVES(0, pthread_join(threads[i], NULL));
}

static ucontext_t main_context, coroutines[4];
static int turns;

static void coroutine(int number)
{
	int fds[2], back;

	for (int i = 0; i < 100; i++) {
		GIVES(0, pipe(fds));
		GIVES(4, write(fds[1], &number, 4));
		GIVES(4, read(fds[0], &back, 4));
		CHECK(back == number);
		GIVES(0, close(fds[0]));
		GIVES(0, close(fds[1]));
		turns++;
		swapcontext(&coroutines[number], &main_context);
	}
}

CASE(coroutines_on_8_kib_stacks_do_io)
{
	for (volatile int i = 0; i < 4; i++) {
		GIVES(0, getcontext(&coroutines[i]));
		coroutines[i].uc_stack.ss_sp = guarded(8192);
		coroutines[i].uc_stack.ss_size = 8192;
		coroutines[i].uc_link = &main_context;
		makecontext(&coroutines[i], (void (*)(void))coroutine, 1, i);
	}
	for (int round = 0; round < 100; round++)
		for (int i = 0; i < 4; i++)
			swapcontext(&main_context, &coroutines[i]);
	CHECK(turns == 400);
}

/* A raw write on a stack whose lowest usable byte is only 512 bytes below: the shim must not need more. */
__attribute__((noinline)) static long write_with_512_bytes_of_stack(int fd, const void *bytes)
{
	char *low = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	register char *top __asm__("r12") = low + PAGE + 512;
	long result;

	CHECK(mprotect(low, PAGE, PROT_NONE) == 0);
	__asm__ volatile("xchg %%rsp, %%r12\n\tsyscall\n\txchg %%rsp, %%r12"
			 : "=a"(result), "+r"(top)
			 : "a"(SYS_write), "D"(fd), "S"(bytes), "d"(3L) : "rcx", "r11", "memory");
	return result;
}

CASE(a_system_call_needs_almost_no_stack)
{
	char *back = guarded(3);

	GIVES(0, pipe(done_pipe));
	for (int i = 0; i < 10; i++) {
		GIVES(3, write_with_512_bytes_of_stack(done_pipe[1], "low"));
		GIVES(3, read(done_pipe[0], back, 3));
		CHECK(memcmp(back, "low", 3) == 0);
	}
}

static void *name_myself(void *argument)
{
	char name[16] = "";

	GIVES(0, prctl(PR_SET_NAME, "worker-thread"));
	GIVES(0, prctl(PR_GET_NAME, name));
	CHECK(strcmp(name, "worker-thread") == 0);
	return argument;
}

CASE(threads_have_names_and_distinct_ids)
{
	char name[16];
	pthread_t thread;

	GIVES(0, prctl(PR_SET_NAME, "main-thread"));
	GIVES(0, pthread_create(&thread, NULL, name_myself, NULL));
	GIVES(0, pthread_join(thread, NULL));
	GIVES(0, pthread_getname_np(pthread_self(), name, sizeof(name)));
	CHECK(strcmp(name, "main-thread") == 0);
	GIVES(getpid(), syscall(SYS_gettid));
}
