/*
 * events.c - epoll: level, edge, one-shot, exclusive, hang-ups, nesting, threads.
 *
 * Owns: the cases for epoll's readiness rules. Must never: assume that one wait returns all events at once.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static void watch(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, guarded_copy(&event, sizeof(event))));
}

/* The events of the only ready descriptor. */
static uint32_t only_event(int epoll, uint64_t data)
{
	struct epoll_event *event = guarded(2 * sizeof(*event));

	GIVES(1, epoll_wait(epoll, event, 2, 2000));
	CHECK(event->data.u64 == data);
	return event->events;
}

static void no_event(int epoll)
{
	GIVES(0, epoll_wait(epoll, guarded(sizeof(struct epoll_event)), 1, 0));
}

static void stream_pair(int pair[2])
{
	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
}

CASE(level_triggered_readiness_repeats_until_read)
{
	int epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
	int pair[2];
	char byte;

	stream_pair(pair);
	watch(epoll, pair[0], EPOLLIN, 7);
	no_event(epoll);
	GIVES(1, write(pair[1], "x", 1));
	CHECK(only_event(epoll, 7) == EPOLLIN);
	CHECK(only_event(epoll, 7) == EPOLLIN);
	GIVES(1, read(pair[0], &byte, 1));
	no_event(epoll);
}

CASE(edge_triggered_readiness_reports_each_arrival_once)
{
	int epoll = (int)SYS(epoll_create1(0));
	int pair[2];
	char byte;

	stream_pair(pair);
	watch(epoll, pair[0], EPOLLIN | EPOLLET, 8);
	GIVES(1, write(pair[1], "x", 1));
	CHECK(only_event(epoll, 8) == EPOLLIN);
	no_event(epoll);
	GIVES(1, write(pair[1], "y", 1));
	CHECK(only_event(epoll, 8) == EPOLLIN);
	GIVES(1, read(pair[0], &byte, 1));
	no_event(epoll);
	GIVES(1, read(pair[0], &byte, 1));
	FAILS(EAGAIN, read(pair[0], &byte, 1));
	GIVES(1, write(pair[1], "z", 1));
	CHECK(only_event(epoll, 8) == EPOLLIN);
}

CASE(an_edge_triggered_writer_hears_of_space_again)
{
	int epoll = (int)SYS(epoll_create1(0));
	int pair[2];
	static char block[65536];

	stream_pair(pair);
	watch(epoll, pair[0], EPOLLOUT | EPOLLET, 9);
	CHECK(only_event(epoll, 9) == EPOLLOUT);
	no_event(epoll);
	while (write(pair[0], block, sizeof(block)) > 0)
		;
	CHECK(errno == EAGAIN);
	no_event(epoll);
	while (read(pair[1], block, sizeof(block)) > 0)
		;
	CHECK(only_event(epoll, 9) == EPOLLOUT);
}

CASE(one_shot_stays_silent_until_rearmed)
{
	int epoll = (int)SYS(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 11 };
	int pair[2];

	stream_pair(pair);
	watch(epoll, pair[0], EPOLLIN | EPOLLONESHOT, 10);
	GIVES(1, write(pair[1], "x", 1));
	CHECK(only_event(epoll, 10) == EPOLLIN);
	no_event(epoll);
	GIVES(1, write(pair[1], "y", 1));
	no_event(epoll);
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_MOD, pair[0], &event));
	CHECK(only_event(epoll, 11) == EPOLLIN);
	no_event(epoll);
}

CASE(exclusive_watchers_both_work)
{
	int first = (int)SYS(epoll_create1(0));
	int second = (int)SYS(epoll_create1(0));
	int fd = (int)SYS(eventfd(0, EFD_NONBLOCK));
	uint64_t one = 1;
	struct epoll_event event;

	watch(first, fd, EPOLLIN | EPOLLEXCLUSIVE, 1);
	watch(second, fd, EPOLLIN | EPOLLEXCLUSIVE, 2);
	GIVES(8, write(fd, &one, 8));
	CHECK(epoll_wait(first, &event, 1, 1000) + epoll_wait(second, &event, 1, 1000) >= 1);
	event.events = EPOLLIN;
	FAILS(EINVAL, epoll_ctl(first, EPOLL_CTL_MOD, fd, &event));
}

CASE(hang_ups_are_told_apart)
{
	int epoll = (int)SYS(epoll_create1(0));
	int pair[2], pipe_fds[2];

	stream_pair(pair);
	watch(epoll, pair[0], EPOLLIN | EPOLLRDHUP, 1);
	GIVES(0, shutdown(pair[1], SHUT_WR));
	CHECK(only_event(epoll, 1) == (EPOLLIN | EPOLLRDHUP));
	GIVES(0, close(pair[1]));
	CHECK(only_event(epoll, 1) == (EPOLLIN | EPOLLRDHUP | EPOLLHUP));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_DEL, pair[0], NULL));
	GIVES(0, pipe(pipe_fds));
	watch(epoll, pipe_fds[0], EPOLLIN, 2);
	GIVES(0, close(pipe_fds[1]));
	CHECK(only_event(epoll, 2) == EPOLLHUP);
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_DEL, pipe_fds[0], NULL));
	GIVES(0, pipe(pipe_fds));
	watch(epoll, pipe_fds[1], 0, 3);
	GIVES(0, close(pipe_fds[0]));
	CHECK(only_event(epoll, 3) == EPOLLERR);
}

CASE(the_data_field_carries_a_64_bit_pointer_unchanged)
{
	int epoll = (int)SYS(epoll_create1(0));
	int fd = (int)SYS(eventfd(1, 0));
	int other = (int)SYS(eventfd(1, 0));
	struct epoll_event *events = guarded(2 * sizeof(*events));
	uint64_t sum;

	watch(epoll, fd, EPOLLIN, (uint64_t)(uintptr_t)&epoll);
	watch(epoll, other, EPOLLIN, 0xfedcba9876543210);
	GIVES(2, epoll_wait(epoll, events, 2, 1000));
	sum = events[0].data.u64 + events[1].data.u64;
	CHECK(sum == (uint64_t)(uintptr_t)&epoll + 0xfedcba9876543210);
}

CASE(registration_errors_are_the_kernels)
{
	int epoll = (int)SYS(epoll_create1(0));
	int fd = (int)SYS(eventfd(0, 0));
	struct epoll_event event = { .events = EPOLLIN };

	FAILS(ENOENT, epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
	FAILS(ENOENT, epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
	watch(epoll, fd, EPOLLIN, 0);
	FAILS(EEXIST, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	FAILS(EINVAL, epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event));
	FAILS(EINVAL, epoll_ctl(epoll, 99, fd, &event));
	FAILS(EBADF, epoll_ctl(epoll, EPOLL_CTL_ADD, 999, &event));
	FAILS(EINVAL, epoll_ctl(fd, EPOLL_CTL_ADD, epoll, &event));
	FAILS(EINVAL, epoll_wait(fd, &event, 1, 0));
	FAILS(EINVAL, epoll_create(0));
}

CASE(a_closed_descriptor_leaves_the_set)
{
	int epoll = (int)SYS(epoll_create1(0));
	int fd = (int)SYS(eventfd(1, 0));
	int copy;

	watch(epoll, fd, EPOLLIN, 5);
	CHECK(only_event(epoll, 5) == EPOLLIN);
	copy = (int)SYS(dup(fd));
	GIVES(0, close(fd));
	CHECK(only_event(epoll, 5) == EPOLLIN);
	GIVES(0, close(copy));
	no_event(epoll);
	GIVES(fd, eventfd(1, 0));
	no_event(epoll);
	watch(epoll, fd, EPOLLIN, 6);
	CHECK(only_event(epoll, 6) == EPOLLIN);
}

CASE(an_epoll_descriptor_can_be_watched)
{
	int inner = (int)SYS(epoll_create1(0));
	int outer = (int)SYS(epoll_create1(0));
	int fd = (int)SYS(eventfd(0, 0));
	uint64_t one = 1;

	watch(inner, fd, EPOLLIN, 1);
	watch(outer, inner, EPOLLIN, 2);
	no_event(outer);
	GIVES(8, write(fd, &one, 8));
	CHECK(only_event(outer, 2) == EPOLLIN);
	CHECK(only_event(inner, 1) == EPOLLIN);
}

struct waiter {
	int epoll;
	int taken;
	int event;
};

static void *take_events(void *argument)
{
	struct waiter *own = argument;
	struct epoll_event event;
	uint64_t count;

	while (epoll_wait(own->epoll, &event, 1, -1) == 1) {
		if (event.data.fd == own->event) {
			if (read(own->event, &count, 8) == 8)
				__atomic_fetch_add(&own->taken, 1, __ATOMIC_SEQ_CST);
			continue;
		}
		return NULL;
	}
	return own;
}

CASE(two_threads_share_one_epoll_and_lose_nothing)
{
	struct waiter own = { (int)SYS(epoll_create1(0)), 0, (int)SYS(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK)) };
	int stop = (int)SYS(eventfd(0, 0));
	pthread_t threads[2];
	uint64_t one = 1;
	void *result;

	watch(own.epoll, own.event, EPOLLIN, (uint64_t)own.event);
	watch(own.epoll, stop, EPOLLIN, (uint64_t)stop);
	for (int i = 0; i < 2; i++)
		GIVES(0, pthread_create(&threads[i], NULL, take_events, &own));
	for (int i = 0; i < 1000; i++)
		GIVES(8, write(own.event, &one, 8));
	while (__atomic_load_n(&own.taken, __ATOMIC_SEQ_CST) < 1000)
		sleep_ms(1);
	GIVES(8, write(stop, &one, 8));
	for (int i = 0; i < 2; i++) {
		GIVES(0, pthread_join(threads[i], &result));
		CHECK(result == NULL);
	}
	CHECK(own.taken == 1000);
}

CASE(a_descriptor_added_while_another_thread_waits_wakes_it)
{
	struct waiter own = { (int)SYS(epoll_create1(0)), 0, -1 };
	int fd = (int)SYS(eventfd(1, 0));
	pthread_t thread;
	void *result;

	GIVES(0, pthread_create(&thread, NULL, take_events, &own));
	sleep_ms(50);
	watch(own.epoll, fd, EPOLLIN, (uint64_t)fd);
	GIVES(0, pthread_join(thread, &result));
	CHECK(result == NULL);
}

CASE(a_wait_lasts_as_long_as_asked)
{
	struct timespec limit = { 0, 60000000 };
	int epoll = (int)SYS(epoll_create1(0));
	struct epoll_event event;
	long start = now_ms();

	GIVES(0, epoll_wait(epoll, &event, 1, 60));
	CHECK(now_ms() - start >= 59);
	start = now_ms();
	GIVES(0, syscall(SYS_epoll_pwait2, epoll, &event, 1, guarded_copy(&limit, sizeof(limit)), NULL, 8L));
	CHECK(now_ms() - start >= 59 && now_ms() - start < 3000);
}

CASE(a_set_survives_fork)
{
	int epoll = (int)SYS(epoll_create1(0));
	int fd = (int)SYS(eventfd(0, 0));
	uint64_t one = 1;
	pid_t child;

	watch(epoll, fd, EPOLLIN, 3);
	child = fork();
	if (child == 0) {
		CHECK(only_event(epoll, 3) == EPOLLIN);
		_exit(0);
	}
	GIVES(8, write(fd, &one, 8));
	CHECK(only_event(epoll, 3) == EPOLLIN);
	GIVES(0, exit_status(child));
}
