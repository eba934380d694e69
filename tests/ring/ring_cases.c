/*
 * ring_cases.c - what the ring promises, one case a run: ring_cases CASE.
 *
 * Owns: a function a case; the name is the promise. Run by: test_ring.py, plain and sanitized.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#undef PAGE_SIZE
#include "support.h"
#include "ring_inner.h"

static struct thread *me;

static long call(enum ring_class class, long nr, long a, long b, long c, long d, long e, long f)
{
	long args[6] = { a, b, c, d, e, f };

	return ring_call(me, nr, args, class);
}

static double now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void calls_are_executed_in_the_helper(void)
{
	int fds[2];
	char *data;

	CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) == ring_helper_pid());
	CHECK(call(RING_WAIT, __NR_getppid, 0, 0, 0, 0, 0, 0) == getpid());
	CHECK(pipe(fds) == 0);
	data = lane_data(me, 5);
	memcpy(data, "hello", 5);
	CHECK(call(RING_RESTART, __NR_write, fds[1], (long)data, 5, 0, 0, 0) == 5);
	memset(data, 0, 5);
	CHECK(call(RING_RESTART, __NR_read, fds[0], (long)data, 5, 0, 0, 0) == 5);
	CHECK(memcmp(data, "hello", 5) == 0);
	lane_data_release(me);
	CHECK(call(RING_WAIT, __NR_close, fds[0], 0, 0, 0, 0, 0) == 0);
	CHECK(fcntl(fds[0], F_GETFD) == -1);
	CHECK(call(RING_WAIT, __NR_close, fds[0], 0, 0, 0, 0, 0) == -EBADF);
}

static void data_is_bounded_and_trimmed(void)
{
	char *all;

	CHECK(lane_data(me, LANE_DATA_SIZE + 1) == NULL);
	CHECK(lane_data(me, (size_t)-1) == NULL);
	all = lane_data(me, LANE_DATA_SIZE);
	CHECK(all);
	memset(all, 'x', LANE_DATA_SIZE);
	CHECK(lane_data(me, 1) == NULL);
	lane_data_release(me);
	CHECK(all[LANE_DATA_SIZE - 1] == 0);
	CHECK(lane_data(me, 1) == all);
}

static void batches_run_in_order_and_stop_on_error(void)
{
	struct ring_batch calls[4] = { 0 };

	for (int i = 0; i < 4; i++)
		calls[i] = (struct ring_batch){ .nr = __NR_close, .args = { -1 }, .stop_on_error = i == 1 };
	calls[0].nr = __NR_getpid;
	CHECK(ring_batch(me, calls, 4) == 0);
	CHECK(calls[0].result == ring_helper_pid());
	CHECK(calls[1].result == -EBADF);
	CHECK(calls[2].result == -ECANCELED && calls[3].result == -ECANCELED);
	CHECK(ring_batch(me, calls, 65) == -EINVAL);
}

static void posts_arrive_in_order(void)
{
	enum { TOTAL = 208890 };
	static char got[TOTAL];
	char line[32];
	size_t total = 0, at = 0;
	int fds[2];

	pair(fds, SOCK_STREAM);
	for (int i = 0; i < 20000; i++) {
		int size = snprintf(line, sizeof line, "line %d\n", i);

		while (ring_post(me, fds[0], line, (size_t)size, 0) == -EAGAIN)
			total += read_all(fds[1], got + total, 64);
	}
	total += read_all(fds[1], got + total, TOTAL - total);
	CHECK(total == TOTAL);
	for (int i = 0; i < 20000; i++) {
		int size = snprintf(line, sizeof line, "line %d\n", i);

		CHECK(memcmp(got + at, line, (size_t)size) == 0);
		at += (size_t)size;
	}
	CHECK(at == TOTAL);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
	CHECK(ring_post_state(fds[0]) == RING_SENT);
}

static void posts_leave_without_a_crossing(void)
{
	long args[6] = { 0 };
	char got[4];
	int fds[2];
	double start;

	pair(fds, SOCK_STREAM);
	for (int i = 0; i < 20; i++) {		/* teach it to expect crossings */
		ring_post(me, fds[0], "abc", 3, 0);
		ring_call(me, __NR_getpid, args, RING_WAIT);
		CHECK(read_all(fds[1], got, 3) == 3);
	}
	for (int i = 0; i < 5; i++) {
		usleep(60000);
		start = now_ms();
		CHECK(ring_post(me, fds[0], "abc", 3, 0) == 3);
		CHECK(read_all(fds[1], got, 3) == 3);
		CHECK(now_ms() - start < 200);
	}
}

static void a_full_peer_makes_a_backlog(void)
{
	static char bytes[16384], got[16384];
	size_t posted = 0, received = 0;
	int fds[2], other[2];

	pair(fds, SOCK_STREAM);
	pair(other, SOCK_STREAM);
	memset(bytes, 'b', sizeof bytes);
	for (int i = 0; i < 2000 && ring_post_state(fds[0]) != RING_BACKLOG; i++) {
		if (ring_post(me, fds[0], bytes, sizeof bytes, 0) > 0)
			posted += sizeof bytes;
		else
			usleep(1000);
	}
	CHECK(ring_post_state(fds[0]) == RING_BACKLOG);
	CHECK(ring_post(me, other[0], "over", 4, 0) == 4);	/* others go on */
	CHECK(read_all(other[1], got, 4) == 4);
	while (received < posted) {
		size_t size = read_all(fds[1], got, sizeof got);

		CHECK(size);
		received += size;
	}
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
	CHECK(ring_post_state(fds[0]) == RING_SENT);
	CHECK(received == posted);
}

static void a_failed_post_is_reported_once(void)
{
	int fds[2];

	pair(fds, SOCK_STREAM);
	close(fds[1]);
	CHECK(ring_post(me, fds[0], "abc", 3, 0) == 3);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == -EPIPE);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
	CHECK(ring_post_state(fds[0]) == RING_SENT);
}

static void a_failed_backlog_is_reported_once(void)
{
	static char bytes[16384];
	int fds[2];

	pair(fds, SOCK_STREAM);
	for (int i = 0; i < 2000 && ring_post_state(fds[0]) != RING_BACKLOG; i++)
		if (ring_post(me, fds[0], bytes, sizeof bytes, 0) < 0)
			usleep(1000);
	CHECK(ring_post_state(fds[0]) == RING_BACKLOG);
	close(fds[1]);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == -EPIPE);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
}

static void a_full_pipe_makes_a_backlog_too(void)
{
	static char bytes[16384], got[16384];
	size_t posted = 0, received = 0;
	int fds[2];

	CHECK(pipe(fds) == 0);		/* blocking: the twin must not block */
	while (ring_post_state(fds[1]) != RING_BACKLOG)
		if (ring_post(me, fds[1], bytes, sizeof bytes, POST_WRITE) > 0)
			posted += sizeof bytes;
	CHECK(posted >= 5 * sizeof bytes);
	CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) > 0);
	CHECK(ring_post_state(fds[1]) == RING_BACKLOG);
	while (received < posted)
		received += read_all(fds[0], got, sizeof got);
	CHECK(ring_settle(me, fds[1], RING_WAIT) == 0);
}

/* More peers that take nothing than there are places for what they don't take: the queue never stands. */
static void full_peers_hold_up_no_other(void)
{
	enum { PEERS = BACKLOG_COUNT + 10 };
	static char bytes[16384], got[16384];
	size_t posted[PEERS] = { 0 }, received;
	int fds[PEERS][2], other[2], backlogs = 0, room = 8192;

	for (int i = 0; i < PEERS; i++) {
		pair(fds[i], SOCK_STREAM);
		CHECK(setsockopt(fds[i][0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
		while (ring_post(me, fds[i][0], bytes, sizeof bytes, 0) > 0) {
			posted[i] += sizeof bytes;
			CHECK(ring_flush(me) == 0);
		}
		CHECK(me->lane->post_head == me->lane->post_tail);
		backlogs += ring_post_state(fds[i][0]) == RING_BACKLOG;
		CHECK(posted[i] || backlogs == BACKLOG_COUNT);
	}
	CHECK(backlogs == BACKLOG_COUNT);
	pair(other, SOCK_STREAM);
	CHECK(ring_post(me, other[0], "over", 4, 0) == -EAGAIN);
	CHECK(ring_settle(me, other[0], RING_WAIT) == 0);
	for (int i = 0; i < PEERS; i++, received = 0)
		for (received = 0; received < posted[i];)
			CHECK((received += read_all(fds[i][1], got, sizeof got)) % sizeof got == 0);
	CHECK(ring_settle(me, fds[0][0], RING_WAIT) == 0);
	CHECK(ring_post(me, other[0], "over", 4, 0) == 4);
	CHECK(read_all(other[1], got, 4) == 4);
}

static void a_shutdown_follows_the_backlog(void)
{
	static char bytes[16384], got[16384];
	size_t posted = 0, received = 0, size;
	int fds[2];

	pair(fds, SOCK_STREAM);
	while (ring_post_state(fds[0]) != RING_BACKLOG)
		if (ring_post(me, fds[0], bytes, sizeof bytes, 0) > 0)
			posted += sizeof bytes;
	CHECK(ring_post_bytes(fds[0]) > 0 && ring_post_bytes(fds[0]) <= sizeof bytes);
	CHECK(ring_shut(me, fds[0]));
	while ((size = read_all(fds[1], got, sizeof got)) > 0)
		received += size;
	CHECK(received == posted);
	CHECK(read(fds[1], got, 1) == 0);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0 && ring_post_bytes(fds[0]) == 0);
	CHECK(!ring_shut(me, fds[0]));
}

static void a_turn_reads_ahead(void)
{
	struct ring_ahead ahead[64];
	struct epoll_event *events;
	struct pollfd *polled;
	size_t count;
	int epoll = epoll_create1(0), fds[3][2];

	for (int i = 0; i < 3; i++) {
		struct epoll_event event = { EPOLLIN, { .u64 = 0 } };

		pair(fds[i], SOCK_STREAM);
		event.data.u64 = (uint64_t)7 << 32 | (uint64_t)fds[i][0];
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i][0], &event) == 0);
		ring_mark(fds[i][0], i != 1);
		CHECK(write(fds[i][1], "hello", 5) == 5);
	}
	events = lane_data(me, 10 * sizeof *events);
	long args[6] = { epoll, (long)events, 10, -1 };
	CHECK(ring_turn(me, __NR_epoll_wait, args, RING_EINTR, ahead, &count) == 3);
	CHECK(count == 2);
	for (size_t i = 0; i < count; i++) {
		CHECK(events[ahead[i].event].data.u32 != (uint32_t)fds[1][0]);
		CHECK(ahead[i].result == 5 && ahead[i].size == 5 && memcmp(ahead[i].bytes, "hello", 5) == 0);
	}
	CHECK(recv(fds[0][0], args, 5, MSG_DONTWAIT) == -1);
	CHECK(recv(fds[1][0], args, 5, MSG_DONTWAIT) == 5);
	CHECK(me->lane->ahead_busy == (1ul << ahead[0].buffer | 1ul << ahead[1].buffer));
	ring_ahead_release(me->lane, ahead[0].buffer);
	ring_ahead_release(me->lane, ahead[1].buffer);
	CHECK(me->lane->ahead_busy == 0);
	polled = lane_data(me, 2 * sizeof *polled);
	polled[0] = (struct pollfd){ fds[0][0], POLLIN, 0 };
	polled[1] = (struct pollfd){ fds[2][0], POLLIN, 0 };
	close(fds[2][1]);
	CHECK(recv(fds[2][0], args, 5, MSG_DONTWAIT | MSG_PEEK) == 0);
	CHECK(ring_turn(me, __NR_poll, (long[6]){ (long)polled, 2, -1 }, RING_EINTR, ahead, &count) == 1);
	CHECK(count == 0);	/* its mark was for one read */
	ring_mark(fds[2][0], true);
	long poll_args[6] = { (long)polled, 2, -1 };
	CHECK(ring_turn(me, __NR_poll, poll_args, RING_EINTR, ahead, &count) == 1);
	CHECK(count == 1 && ahead[0].event == 1 && ahead[0].result == 0);
	CHECK(me->lane->ahead_busy == 0);
}

static volatile bool sending = true;

static void *send_signals(void *target)
{
	while (__atomic_load_n(&sending, __ATOMIC_ACQUIRE)) {
		usleep((unsigned)(rand() % 300));
		pthread_kill(*(pthread_t *)target, SIGUSR1);
	}
	return NULL;
}

static void a_signal_ends_a_blocking_call(void)
{
	pthread_t self = pthread_self(), sender;
	int fds[2], ended = 0;
	char *data = lane_data(me, 16);

	CHECK(pipe(fds) == 0);
	alarm(20);
	pthread_create(&sender, NULL, send_signals, &self);
	while (ended < 40) {
		long result = ended % 2 ? call(RING_RESTART, __NR_read, fds[0], (long)data, 16, 0, 0, 0)
					: call(RING_EINTR, __NR_poll, 0, 0, 1000000, 0, 0, 0);

		CHECK(result == -GATE_RESTART || (ended % 2 == 0 && result == -EINTR));
		CHECK(me->signal_pending);
		me->signal_pending = 0;
		ended++;
		CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) == ring_helper_pid());
	}
	__atomic_store_n(&sending, false, __ATOMIC_RELEASE);
	pthread_join(sender, NULL);
	CHECK(me->lane->stats.cancels > 5);
}

static void a_completed_call_keeps_its_result(void)
{
	char *data = lane_data(me, 16);
	int fds[2];

	CHECK(pipe(fds) == 0);
	CHECK(write(fds[1], "x", 1) == 1);
	me->signal_pending = 1;
	CHECK(call(RING_RESTART, __NR_read, fds[0], (long)data, 16, 0, 0, 0) == -GATE_RESTART);
	CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) > 0);
	me->signal_pending = 0;
	CHECK(call(RING_RESTART, __NR_read, fds[0], (long)data, 16, 0, 0, 0) == 1);
}

static int blocked_pipe[2];
static volatile int times_held;

static void *block_in_read(void *result)
{
	struct thread *thread = test_thread();
	long args[6] = { blocked_pipe[0], 0, 16 };

	CHECK(ring_attach(thread));
	args[1] = (long)lane_data(thread, 16);
	while ((*(long *)result = ring_call(thread, __NR_read, args, RING_RESTART)) == -GATE_RESTART)
		for (times_held++; !ring_attach(thread);)
			usleep(1000);		/* the program's thread would take the gate */
	ring_thread_exit(thread);
	return NULL;
}

static void stop_interrupts_and_others_go_on(void)
{
	pthread_t thread;
	long result = 0;
	int before = ring_helper_pid();

	CHECK(pipe(blocked_pipe) == 0);
	pthread_create(&thread, NULL, block_in_read, &result);
	usleep(50000);
	CHECK(ring_stop(me) == 0);
	CHECK(kill(before, 0) == -1 && errno == ESRCH);
	CHECK(ring_helper_pid() == 0);
	CHECK(!ring_attach(me));
	while (times_held != 1)
		usleep(1000);
	ring_resume();
	CHECK(write(blocked_pipe[1], "late", 4) == 4);
	pthread_join(thread, NULL);
	CHECK(result == 4);
	CHECK(ring_attach(me));
	CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) == ring_helper_pid());
	CHECK(ring_helper_pid() != before);
}

/* ring_stop() ends the helper as soon as the last byte is sent: maybe before it has let go of the slot. */
static void what_an_ended_helper_had_locked_is_free(void)
{
	static char bytes[16384], got[16384];
	size_t posted = 0, received = 0;
	int fds[2];

	alarm(20);
	for (uint32_t i = 0; i < BACKLOG_COUNT; i++)
		me->lane->wire->backlog[i].lock = 1;
	CHECK(ring_stop(me) == 0);
	ring_resume();
	CHECK(ring_attach(me));
	pair(fds, SOCK_STREAM);
	while (ring_post_state(fds[0]) != RING_BACKLOG)
		if (ring_post(me, fds[0], bytes, sizeof bytes, 0) > 0)
			posted += sizeof bytes;
	while (received < posted)
		received += read_all(fds[1], got, sizeof got);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
}

static void a_helper_with_nothing_left_rests_until_it_is_wanted(void)
{
	int fds[2], first = ring_helper_pid();
	char got[4];

	CHECK(enclave.is_ringing);
	pair(fds, SOCK_STREAM);
	CHECK(ring_post(me, fds[0], "abc", 3, 0) == 3);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
	CHECK(ring_rest());
	CHECK(!enclave.is_ringing && ring_helper_pid() == 0 && kill(first, 0) < 0);
	CHECK(!ring_rest());
	CHECK(ring_post_state(fds[0]) == RING_SENT);
	CHECK(ring_attach(me));
	CHECK(enclave.is_ringing && ring_helper_pid() != first);
	CHECK(ring_post(me, fds[0], "d", 1, 0) == 1);
	CHECK(read_all(fds[1], got, 4) == 4 && memcmp(got, "abcd", 4) == 0);
}

static void a_helper_with_a_backlog_or_an_error_to_tell_does_not_rest(void)
{
	static char bytes[16384], got[16384];
	size_t posted = 0, received = 0;
	int fds[2], broken[2];

	pair(fds, SOCK_STREAM);
	while (ring_post_state(fds[0]) != RING_BACKLOG)
		if (ring_post(me, fds[0], bytes, sizeof bytes, 0) > 0)
			posted += sizeof bytes;
	CHECK(!ring_rest());
	while (received < posted)
		received += read_all(fds[1], got, sizeof got);
	CHECK(ring_settle(me, fds[0], RING_WAIT) == 0);
	pair(broken, SOCK_STREAM);
	close(broken[1]);
	CHECK(ring_post(me, broken[0], "abc", 3, 0) == 3);
	CHECK(ring_flush(me) == 0);
	CHECK(!ring_rest());
	CHECK(ring_post_state(broken[0]) == -EPIPE);
	CHECK(ring_rest());
}

static void *many_calls(void *unused)
{
	struct thread *thread = test_thread();
	long args[6] = { 0 };

	(void)unused;
	CHECK(ring_attach(thread));
	for (int i = 0; i < 3000; i++)
		CHECK(ring_call(thread, __NR_getppid, args, RING_RESTART) == getpid());
	ring_thread_exit(thread);
	return NULL;
}

static void threads_have_lanes_of_their_own(void)
{
	pthread_t threads[8];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++)
			pthread_create(&threads[i], NULL, many_calls, NULL);
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
	}
	CHECK(ring.lanes_used <= 9);
}

static void *calls_that_a_hold_cancels(void *unused)
{
	struct thread *thread = test_thread();
	long args[6] = { 0 };

	while (sending)
		if (ring_attach(thread)) {
			long result = ring_call(thread, __NR_getppid, args, RING_EINTR);

			CHECK(result == getpid() || result == -GATE_RESTART);
		}
	ring_thread_exit(thread);
	return unused;
}

/* A lane that is entered just as the ring is held is not its thread's yet: nothing is there to be cancelled, then or later. */
static void a_hold_given_up_cancels_no_later_call(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, calls_that_a_hold_cancels, NULL);
	me->signal_pending = 1;
	for (double end = now_ms() + 2000; now_ms() < end; usleep(20)) {
		ring.refused = 0;
		if (ring_stop(me) == 0)
			ring_resume();
	}
	me->signal_pending = 0;
	sending = false;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static void a_fork_child_has_a_helper_of_its_own(void)
{
	int parent = ring_helper_pid(), status;
	pid_t child = fork();

	if (child == 0) {
		ring_after_fork(me);
		CHECK(ring_helper_pid() == 0);
		CHECK(ring_attach(me));
		CHECK(ring_helper_pid() != parent);
		CHECK(call(RING_WAIT, __NR_getppid, 0, 0, 0, 0, 0, 0) == getpid());
		ring_exit(me);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) == parent);
}

static void the_helper_is_not_seen_by_wait(void)
{
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void a_killed_helper_stops_the_program(void)
{
	kill(ring_helper_pid(), SIGKILL);
	call(RING_RESTART, __NR_poll, 0, 0, -1, 0, 0, 0);
	CHECK(!"reached");
}

static void a_stopped_helper_is_continued(void)
{
	kill(ring_helper_pid(), SIGSTOP);
	usleep(10000);
	CHECK(call(RING_WAIT, __NR_getpid, 0, 0, 0, 0, 0, 0) == ring_helper_pid());
}

/* The test looks for the helper's pid, printed, after the program has been killed. */
static void a_killed_program_leaves_nothing(void)
{
	int fds[2];

	pair(fds, SOCK_STREAM);
	ring_post(me, fds[0], "abc", 3, 0);
	printf("%d\n", ring_helper_pid());
	fflush(stdout);
	kill(getpid(), SIGKILL);
}

static void accepted_posts_survive_the_exit(void)
{
	static char got[100000];
	int status, fds[2];
	pid_t child;

	pair(fds, SOCK_STREAM);
	child = fork();
	if (child == 0) {
		ring_after_fork(me);
		CHECK(ring_attach(me));
		for (int i = 0; i < 60; i++)
			CHECK(ring_post(me, fds[0], got, 250, 0) == 250);
		ring_exit(me);
		_exit(0);
	}
	close(fds[0]);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(poll(&(struct pollfd){ fds[1], POLLIN, 0 }, 1, 0) == 1);
	CHECK(read_all(fds[1], got, sizeof got) == 15000);
	CHECK(read(fds[1], got, 1) == 0);	/* end of file: nobody holds the other end */
}

static void a_backlog_survives_the_exit(void)
{
	static char bytes[16384];
	size_t posted = 0, received = 0, size;
	int status, fds[2], report[2], held[2];
	pid_t child;

	pair(fds, SOCK_STREAM);
	CHECK(pipe(report) == 0 && pipe(held) == 0);
	child = fork();
	if (child == 0) {
		ring_after_fork(me);
		CHECK(ring_attach(me));
		while (ring_post_state(fds[0]) != RING_BACKLOG)
			if (ring_post(me, fds[0], bytes, sizeof bytes, 0) > 0)
				posted += sizeof bytes;
		CHECK(write(report[1], &posted, sizeof posted) == sizeof posted);
		ring_exit(me);
		_exit(0);
	}
	close(fds[0]);
	close(held[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(read(report[0], &posted, sizeof posted) == sizeof posted);
	CHECK(poll(&(struct pollfd){ held[0], 0, 0 }, 1, 1000) == 1);	/* hung up: only the backlog's descriptor is held */
	while ((size = read_all(fds[1], bytes, sizeof bytes)) > 0)
		received += size;
	CHECK(received == posted);
	CHECK(read(fds[1], bytes, 1) == 0);
}

static char canary[] = "a secret of the enclave, in its data";

/* The test reads the helper's memory: its pid is printed. Registers have the canary too, at the clone. */
static void the_helper_has_nothing_of_the_program(void)
{
	char *heap = strdup(canary);

	CHECK(ring_stop(me) == 0);
	ring_resume();
	__asm__ volatile("movdqu (%0), %%xmm7\n movdqu (%0), %%xmm15" : : "r"(heap) : "xmm7", "xmm15");
	CHECK(ring_attach(me));
	printf("%d\n", ring_helper_pid());
	fflush(stdout);
	getchar();
}

static void no_helper_can_be_made(void)
{
	CHECK(!ring_attach(me));	/* the test took all memory for it away */
	CHECK(ring_helper_pid() == 0);
	ring_exit(me);
}

#define CASE(name) { #name, name }
static const struct { const char *name; void (*run)(void); } cases[] = {
	CASE(calls_are_executed_in_the_helper), CASE(data_is_bounded_and_trimmed),
	CASE(batches_run_in_order_and_stop_on_error), CASE(posts_arrive_in_order),
	CASE(posts_leave_without_a_crossing), CASE(a_full_peer_makes_a_backlog),
	CASE(a_failed_post_is_reported_once), CASE(a_failed_backlog_is_reported_once),
	CASE(a_full_pipe_makes_a_backlog_too), CASE(full_peers_hold_up_no_other), CASE(a_shutdown_follows_the_backlog),
	CASE(a_turn_reads_ahead),
	CASE(a_signal_ends_a_blocking_call), CASE(a_completed_call_keeps_its_result),
	CASE(stop_interrupts_and_others_go_on), CASE(what_an_ended_helper_had_locked_is_free),
	CASE(a_helper_with_nothing_left_rests_until_it_is_wanted),
	CASE(a_helper_with_a_backlog_or_an_error_to_tell_does_not_rest), CASE(threads_have_lanes_of_their_own),
	CASE(a_hold_given_up_cancels_no_later_call),
	CASE(a_fork_child_has_a_helper_of_its_own), CASE(the_helper_is_not_seen_by_wait),
	CASE(a_killed_helper_stops_the_program), CASE(a_stopped_helper_is_continued),
	CASE(a_killed_program_leaves_nothing), CASE(accepted_posts_survive_the_exit),
	CASE(a_backlog_survives_the_exit), CASE(the_helper_has_nothing_of_the_program), CASE(no_helper_can_be_made),
};

int main(int count, char **names)
{
	choose_backend();
	me = test_thread();
	signals_open();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (count != 2 || strcmp(names[1], cases[i].name) != 0)
			continue;
		if (strcmp(names[1], "no_helper_can_be_made") != 0)
			CHECK(ring_attach(me));
		cases[i].run();
		ring_exit(me);
		puts("ok");
		return 0;
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		puts(cases[i].name);
	return 2;
}
