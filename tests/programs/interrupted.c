/*
 * interrupted.c - signals that arrive while a call waits: EINTR, SA_RESTART, jumps out, storms.
 *
 * Owns: the cases where a handler meets a blocking call. Must never: pass because the signal came too early: each
 * sender repeats until the victim says that it is done.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>

static volatile sig_atomic_t handled;
static int late_pipe[2];

static void count(int number)
{
	handled += number != 0;
}

static void feed_pipe(int number)
{
	handled += number != 0;
	CHECK(write(late_pipe[1], "fed", 3) == 3);
}

static void handle(int number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	GIVES(0, sigaction(number, &action, NULL));
}

/* SIGALRM after 60 ms, and each 60 ms again. */
static void alarm_soon(void)
{
	struct itimerval time = { { 0, 60000 }, { 0, 60000 } };

	GIVES(0, setitimer(ITIMER_REAL, guarded_copy(&time, sizeof(time)), NULL));
}

static int listening_socket(void)
{
	int fd = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0));

	GIVES(0, bind(fd, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(sa_family_t)));
	GIVES(0, listen(fd, 1));
	return fd;
}

static int blocked_flock(void)
{
	int fd = file_of("locked", "x", 1);

	GIVES(0, flock((int)SYS(open("locked", O_RDWR)), LOCK_EX));
	return fd;
}

static void each_wait_gives_eintr(void)
{
	struct pollfd item = { late_pipe[0], POLLIN, 0 };
	struct epoll_event event;
	struct timespec left = { 0, 0 };
	sigset_t none;
	pid_t child = fork();

	if (child == 0)
		for (;;)
			pause();
	sigemptyset(&none);
	alarm_soon();
	FAILS(EINTR, read(late_pipe[0], &event, 1));
	FAILS(EINTR, accept(listening_socket(), NULL, NULL));
	FAILS(EINTR, waitpid(child, NULL, 0));
	FAILS(EINTR, nanosleep(&(struct timespec){ 9, 0 }, &left));
	CHECK(left.tv_sec == 8 && left.tv_nsec > 800000000);
	FAILS(EINTR, poll(&item, 1, -1));
	FAILS(EINTR, select(0, NULL, NULL, NULL, NULL));
	FAILS(EINTR, epoll_wait((int)SYS(epoll_create1(0)), &event, 1, -1));
	FAILS(EINTR, pause());
	FAILS(EINTR, flock(blocked_flock(), LOCK_EX));
	FAILS(EINTR, sigsuspend(&none));
	CHECK(handled >= 10);
	GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
	GIVES(0, kill(child, SIGKILL));
	GIVES(SIGKILL, death_signal(child));
}

CASE(every_wait_gives_eintr_without_sa_restart)
{
	GIVES(0, pipe(late_pipe));
	handle(SIGALRM, count, 0);
	each_wait_gives_eintr();
}

CASE(poll_and_sleep_give_eintr_also_with_sa_restart)
{
	struct pollfd item;
	struct epoll_event event;

	GIVES(0, pipe(late_pipe));
	item = (struct pollfd){ late_pipe[0], POLLIN, 0 };
	handle(SIGALRM, count, SA_RESTART);
	alarm_soon();
	FAILS(EINTR, poll(&item, 1, -1));
	FAILS(EINTR, select(0, NULL, NULL, NULL, NULL));
	FAILS(EINTR, epoll_wait((int)SYS(epoll_create1(0)), &event, 1, -1));
	FAILS(EINTR, nanosleep(&(struct timespec){ 9, 0 }, NULL));
	FAILS(EINTR, pause());
}

CASE(a_read_is_restarted_with_sa_restart)
{
	char *back = guarded(3);

	GIVES(0, pipe(late_pipe));
	handle(SIGALRM, feed_pipe, SA_RESTART);
	GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 60000 } }, NULL));
	GIVES(3, read(late_pipe[0], back, 3));
	CHECK(handled == 1 && memcmp(back, "fed", 3) == 0);
}

/* The kernel doesn't restart a socket call that has a timeout, SA_RESTART or not; without one it does. */
CASE(a_timed_socket_gives_eintr_also_with_sa_restart)
{
	struct timeval limit = { 20, 0 }, none = { 0, 0 };
	int pair[2], server = listening_socket();
	char byte, big[4096] = { 0 };

	handle(SIGALRM, count, SA_RESTART);
	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	GIVES(0, setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	alarm_soon();
	FAILS(EINTR, read(pair[0], &byte, 1));
	FAILS(EINTR, recv(pair[0], &byte, 1, 0));
	FAILS(EINTR, accept(server, NULL, NULL));
	while (send(pair[0], big, sizeof(big), MSG_DONTWAIT) > 0)
		;
	FAILS(EINTR, write(pair[0], big, sizeof(big)));
	GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)));
	GIVES(0, pipe(late_pipe));
	handled = 0;
	if (fork() == 0) {
		sleep_ms(200);
		_exit(write(pair[1], "x", 1) != 1);
	}
	GIVES(1, read(pair[0], &byte, 1));
	CHECK(handled > 0);
}

CASE(a_timed_tcp_connection_gives_eintr_also_with_sa_restart)
{
	struct timeval limit = { 20, 0 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int server = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), client = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	int side;
	char byte;

	GIVES(0, bind(server, (void *)&address, size));
	GIVES(0, listen(server, 1));
	GIVES(0, getsockname(server, (void *)&address, &size));
	GIVES(0, setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	GIVES(0, connect(client, (void *)&address, size));
	side = (int)SYS(accept(server, NULL, NULL));	/* has the listener's timeout */
	handle(SIGALRM, count, SA_RESTART);
	alarm_soon();
	FAILS(EINTR, recv(side, &byte, 1, 0));
}

CASE(a_wait_for_a_child_is_restarted_with_sa_restart)
{
	pid_t child = fork();

	if (child == 0) {
		sleep_ms(200);
		_exit(3);
	}
	handle(SIGALRM, count, SA_RESTART);
	alarm_soon();
	int status = 0;

	GIVES(child, waitpid(child, &status, 0));
	CHECK(WEXITSTATUS(status) == 3 && handled >= 1);
}

CASE(an_accept_is_restarted_with_sa_restart)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	int fd = listening_socket();
	pid_t child;

	GIVES(0, getsockname(fd, (void *)&address, &size));
	child = fork();
	if (child == 0) {
		sleep_ms(200);
		_exit(connect((int)SYS(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&address, size) != 0);
	}
	handle(SIGALRM, count, SA_RESTART);
	alarm_soon();
	SYS(accept(fd, NULL, NULL));
	CHECK(handled >= 1);
	GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
	GIVES(0, exit_status(child));
}

static void stop_soon(int number)
{
	(void)number;
}

CASE(an_ignored_or_default_ignored_signal_does_not_interrupt)
{
	char byte;
	pid_t child;

	GIVES(0, pipe(late_pipe));
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 5; i++) {
			sleep_ms(20);
			kill(getppid(), SIGURG);
			kill(getppid(), SIGUSR1);
		}
		_exit(write(late_pipe[1], "x", 1) != 1);
	}
	signal(SIGUSR1, SIG_IGN);
	GIVES(1, read(late_pipe[0], &byte, 1));
	GIVES(0, exit_status(child));
}

CASE(stopping_and_continuing_a_process_does_not_break_its_read)
{
	int pipe_fds[2], status;
	char byte;
	pid_t child;

	GIVES(0, pipe(pipe_fds));
	handle(SIGCHLD, stop_soon, SA_RESTART);
	child = fork();
	if (child == 0)
		_exit(read(pipe_fds[0], &byte, 1) == 1 ? byte : 1);
	sleep_ms(50);
	GIVES(0, kill(child, SIGSTOP));
	GIVES(child, waitpid(child, &status, WUNTRACED));
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	GIVES(0, kill(child, SIGCONT));
	GIVES(child, waitpid(child, &status, WCONTINUED));
	CHECK(WIFCONTINUED(status));
	GIVES(1, write(pipe_fds[1], "\x07", 1));
	GIVES(7, exit_status(child));
}

static sigjmp_buf escape;

static void jump_out(int number)
{
	siglongjmp(escape, number);
}

CASE(a_handler_can_jump_out_of_a_blocking_read)
{
	char byte;

	GIVES(0, pipe(late_pipe));
	handle(SIGALRM, jump_out, 0);
	for (volatile int i = 0; i < 5; i++) {
		if (sigsetjmp(escape, 1) == 0) {
			alarm_soon();
			(void)!read(late_pipe[0], &byte, 1);
			CHECK(!"read returned");
		}
		GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
		GIVES(1, write(late_pipe[1], "k", 1));
		GIVES(1, read(late_pipe[0], &byte, 1));
		CHECK(byte == 'k');
	}
}

/* A read that was jumped out of must not eat what comes later. */
CASE(a_cancelled_read_takes_nothing)
{
	char byte = 0;

	GIVES(0, pipe(late_pipe));
	handle(SIGALRM, count, 0);
	for (int i = 0; i < 10; i++) {
		GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 0 }, { 0, 20000 } }, NULL));
		FAILS(EINTR, read(late_pipe[0], &byte, 1));
		GIVES(1, write(late_pipe[1], &(char){ (char)('a' + i) }, 1));
		sleep_ms(5);
		GIVES(1, read(late_pipe[0], &byte, 1));
		CHECK(byte == 'a' + i);
	}
}

enum { STORM_MS = 1000 };

static unsigned char storm_byte(size_t at)
{
	return (unsigned char)(at * 2654435761u >> 9);
}

static void storm_writer(int fd)
{
	unsigned char block[4096 + 77];
	size_t at = 0;
	long stop = now_ms() + STORM_MS;

	while (now_ms() < stop) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = storm_byte(at + i);
		for (size_t have = 0; have < sizeof(block);) {
			long put = write(fd, block + have, sizeof(block) - have);

			CHECK(put > 0 || errno == EINTR);
			have += put > 0 ? (size_t)put : 0;
		}
		at += sizeof(block);
	}
	_exit(0);
}

static void run_storm(int flags)
{
	struct itimerval storm = { { 0, 300 }, { 0, 300 } };
	unsigned char *block = guarded(3001);
	size_t at = 0;
	int fds[2];
	long got;
	pid_t child;

	GIVES(0, pipe(fds));
	handle(SIGALRM, count, flags);
	child = fork();
	GIVES(0, setitimer(ITIMER_REAL, &storm, NULL));
	if (child == 0)
		storm_writer(fds[1]);
	GIVES(0, close(fds[1]));
	while ((got = read(fds[0], block, 3001)) != 0) {
		CHECK(got > 0 || (errno == EINTR && !(flags & SA_RESTART)));
		for (long i = 0; i < got; i++, at++)
			CHECK(block[i] == storm_byte(at));
	}
	GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
	GIVES(0, exit_status(child));
	CHECK(handled > 50 && at > 4096);
}

CASE(a_storm_of_signals_corrupts_no_pipe_with_sa_restart)
{
	run_storm(SA_RESTART);
}

CASE(a_storm_of_signals_corrupts_no_pipe_without_sa_restart)
{
	run_storm(0);
}

static void *read_until_interrupted(void *argument)
{
	char byte;

	*(int *)argument = (int)syscall(SYS_gettid);
	FAILS(EINTR, read(late_pipe[0], &byte, 1));
	__atomic_store_n((int *)argument, -1, __ATOMIC_SEQ_CST);
	return NULL;
}

CASE(tgkill_interrupts_one_thread_blocked_in_read)
{
	volatile int tid = 0;
	pthread_t thread;

	GIVES(0, pipe(late_pipe));
	handle(SIGUSR1, count, 0);
	GIVES(0, pthread_create(&thread, NULL, read_until_interrupted, (void *)&tid));
	while (tid == 0)
		sleep_ms(1);
	while (tid > 0) {
		syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
		sleep_ms(10);
	}
	GIVES(0, pthread_join(thread, NULL));
	CHECK(handled >= 1);
}

CASE(sigchld_arrives_for_each_child_that_ends)
{
	sigset_t set, before;
	int reaped = 0;

	handle(SIGCHLD, count, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	GIVES(0, sigprocmask(SIG_BLOCK, &set, &before));
	for (int i = 0; i < 5; i++)
		if (fork() == 0)
			_exit(i);
	while (reaped < 5) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			reaped++;
		if (reaped < 5)
			FAILS(EINTR, sigsuspend(&before));
	}
	FAILS(ECHILD, waitpid(-1, NULL, 0));
	GIVES(0, sigprocmask(SIG_SETMASK, &before, NULL));	/* all may have ended before the first look */
	CHECK(handled >= 1);
}
