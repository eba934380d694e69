/*
 * tables.c - descriptor tables that not all threads share: unshare, close_range, clone without CLONE_FILES.
 *
 * Owns: the cases where one number means different files in two threads. Must never: rely on which thread calls first.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { SHARED = 40, STACK = 65536 };

static int go[2], done[2];		/* pipes by which two threads take turns */
static char stack[STACK] __attribute__((aligned(16)));

static void turn_end(int end)
{
	GIVES(1, write(end, "t", 1));
}

static void turn_wait(int end)
{
	char byte;

	GIVES(1, read(end, &byte, 1));
}

/* A file of that content as descriptor SHARED. */
static void shared_is(const char *name, const char *text)
{
	int fd = file_of(name, text, strlen(text));

	GIVES(SHARED, dup2(fd, SHARED));
	close(fd);
}

static void shared_reads(const char *want)
{
	char back[16] = "";

	GIVES(strlen(want), pread(SHARED, back, sizeof(back) - 1, 0));
	CHECK(strcmp(back, want) == 0);
}

/* SHARED is "mine" for this thread from now on, and was "ours". */
static void apart(void)
{
	shared_reads("ours");
	shared_is("mine", "mine");
	shared_reads("mine");
	turn_end(done[1]);
	turn_wait(go[0]);
	shared_reads("mine");
	FAILS(EBADF, fcntl(SHARED + 1, F_GETFD));
	turn_end(done[1]);
}

static void *by_unshare(void *unused)
{
	turn_wait(go[0]);
	GIVES(0, unshare(CLONE_FILES));
	apart();
	return unused;
}

static void *by_close_range(void *unused)
{
	turn_wait(go[0]);
	GIVES(0, close_range(SHARED + 5, SHARED + 6, CLOSE_RANGE_UNSHARE));
	FAILS(EBADF, fcntl(SHARED + 5, F_GETFD));
	apart();
	return unused;
}

static void begin(void)
{
	GIVES(0, pipe(go));
	GIVES(0, pipe(done));
	shared_is("ours", "ours");
	GIVES(SHARED + 5, dup2(SHARED, SHARED + 5));
}

/* What the first thread sees of the other's doings: nothing. */
static void other_stays_apart(void)
{
	turn_end(go[1]);
	turn_wait(done[0]);
	shared_reads("ours");
	GIVES(0, fcntl(SHARED + 5, F_GETFD));
	GIVES(SHARED + 1, dup2(SHARED, SHARED + 1));
	shared_is("theirs", "theirs");
	shared_reads("theirs");
	turn_end(go[1]);
	turn_wait(done[0]);
	shared_reads("theirs");
}

static void two_threads(void *(*other)(void *))
{
	pthread_t thread;

	begin();
	GIVES(0, pthread_create(&thread, NULL, other, NULL));
	other_stays_apart();
	GIVES(0, pthread_join(thread, NULL));
}

CASE(a_thread_that_unshares_its_descriptors_has_its_own)
{
	two_threads(by_unshare);
}

CASE(a_thread_that_closes_a_range_of_its_own_has_its_own_descriptors)
{
	two_threads(by_close_range);
}

static int bare(void *unused)
{
	(void)unused;
	turn_wait(go[0]);
	apart();
	return 0;
}

CASE(a_thread_made_without_shared_descriptors_has_its_own)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID |
		    CLONE_PARENT_SETTID;
	static volatile int tid = -1;

	begin();
	SYS(clone(bare, stack + STACK, flags, NULL, &tid, NULL, &tid));
	other_stays_apart();
	while (tid)
		sleep_ms(1);
}

CASE(a_range_that_one_thread_closes_apart_is_closed_at_once)
{
	char byte;
	int fds[2], pair[2];

	GIVES(0, pipe(fds));
	GIVES(1, write(fds[1], "x", 1));
	turn_wait(fds[0]);
	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, close_range((unsigned)fds[1], (unsigned)fds[1], CLOSE_RANGE_UNSHARE));
	GIVES(0, read(fds[0], &byte, 1));
	GIVES(0, unshare(CLONE_FILES));
	GIVES(0, close(pair[1]));
	GIVES(0, read(pair[0], &byte, 1));
}

static void *waits_apart(void *argument)
{
	struct epoll_event event = { 0 };
	int epoll = *(int *)argument;

	GIVES(0, unshare(CLONE_FILES));
	GIVES(1, epoll_wait(epoll, &event, 1, 5000));
	CHECK(event.data.u64 == 0x123456789abcdef0 && event.events == EPOLLIN);
	return NULL;
}

CASE(what_was_registered_before_is_known_in_a_table_of_ones_own)
{
	struct epoll_event event = { EPOLLIN, { .u64 = 0x123456789abcdef0 } };
	int epoll = (int)SYS(epoll_create1(0));
	pthread_t thread;

	GIVES(0, pipe(go));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, go[0], &event));
	turn_end(go[1]);
	GIVES(0, pthread_create(&thread, NULL, waits_apart, &epoll));
	GIVES(0, pthread_join(thread, NULL));
	turn_wait(go[0]);
}

static void *makes_processes_apart(void *unused)
{
	char *arguments[] = { "true", NULL };
	pid_t child;

	GIVES(0, unshare(CLONE_FILES));
	shared_is("mine", "mine");
	child = fork();
	if (child == 0) {
		shared_reads("mine");
		_exit(21);
	}
	GIVES(21, exit_status(child));
	child = vfork();
	if (child == 0) {
		execv("/bin/true", arguments);
		_exit(1);
	}
	GIVES(0, exit_status(child));
	shared_reads("mine");
	printf("ok a_thread_apart_makes_children_and_ends_the_process\n");
	exit(0);
	return unused;
}

CASE(a_thread_apart_makes_children_and_ends_the_process)
{
	pthread_t thread;

	begin();
	GIVES(0, pthread_create(&thread, NULL, makes_processes_apart, NULL));
	turn_wait(done[0]);
}

static void *execs_apart(void *unused)
{
	GIVES(0, unshare(CLONE_FILES));
	execl("/proc/self/exe", "x", "role_ends", NULL);
	return unused;
}

ROLE(role_ends)
{
	for (int fd = 3; fd < 2000; fd++)
		CHECK(fcntl(fd, F_GETFD) == -1);
	_exit(23);
}

CASE(a_thread_apart_may_exec)
{
	pthread_t thread;
	pid_t child = fork();

	if (child == 0) {
		GIVES(0, close_range(3, ~0U, 0));
		GIVES(0, pipe2(done, O_CLOEXEC));
		GIVES(0, pthread_create(&thread, NULL, execs_apart, NULL));
		turn_wait(done[0]);
	}
	GIVES(23, exit_status(child));
}

static int shares_all(void *unused)
{
	char byte;
	int fd;

	(void)unused;
	GIVES(1, read(go[0], &byte, 1));
	GIVES(0, close(SHARED));
	fd = open("second", O_RDWR | O_CREAT, 0600);
	if (fd != SHARED)
		GIVES(SHARED, dup2(fd, SHARED));
	GIVES(6, pwrite(SHARED, "second", 6, 0));
	turn_end(done[1]);
	return 24;
}

CASE(another_process_may_share_memory_and_descriptors)
{
	pid_t child;

	begin();
	shared_reads("ours");
	child = (pid_t)SYS(clone(shares_all, stack + STACK, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL));
	turn_end(go[1]);
	turn_wait(done[0]);
	shared_reads("second");
	GIVES(24, exit_status(child));
	shared_reads("second");
	turn_end(go[1]);
	turn_wait(go[0]);
}
