/*
 * bench.c - what a crossing costs, in an ordinary process. Run: tests/ring/run bench.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#undef PAGE_SIZE
#include "support.h"
#include "ring_inner.h"

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

enum { PEERS = 32, ROUNDS = 400 };

static int here[PEERS], there[PEERS];
static double samples[ROUNDS];

static void connect_peers(int epoll)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, PEERS) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	for (int i = 0; i < PEERS; i++) {
		struct epoll_event event = { EPOLLIN, { .u64 = 0 } };

		there[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(there[i], (struct sockaddr *)&address, size) == 0);
		here[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		event.data.u64 = (uint64_t)here[i];
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, here[i], &event) == 0);
	}
	close(listener);
}

/* One round of `count` posts, or of as many reads ahead: how long the crossing took that did them. */
static double round_of(struct thread *thread, int epoll, int count, bool reads)
{
	struct epoll_event *events = lane_data(thread, PEERS * sizeof *events);
	struct ring_ahead ahead[64];
	long args[6] = { epoll, (long)events, PEERS, 0 };
	char bytes[8];
	size_t read_count;
	double start;

	for (int i = 0; i < count && reads; i++) {
		ring_mark(here[i], true);
		CHECK(write(there[i], "hello", 5) == 5);
	}
	for (int i = 0; i < count && !reads; i++)
		CHECK(ring_post(thread, here[i], "hello", 5, 0) == 5);
	start = now_ns();
	if (reads)
		CHECK(ring_turn(thread, __NR_epoll_wait, args, RING_EINTR, ahead, &read_count) == count);
	else
		CHECK(ring_flush(thread) == 0);
	start = now_ns() - start;
	for (int i = 0; i < count && !reads; i++)
		CHECK(read(there[i], bytes, 5) == 5);
	for (size_t i = 0; i < read_count && reads; i++)
		ring_ahead_release(thread->lane, ahead[i].buffer);
	lane_data_release(thread);
	return start;
}

static int by_size(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Medians of plain calls and io_uring, in turns: nanoseconds a call. */
static void compare_backends(struct thread *thread)
{
	int epoll = epoll_create1(0);
	double time[2];

	connect_peers(epoll);
	for (int reads = 0; reads < 2; reads++)
		for (int count = 1; count <= PEERS; count *= 2) {
			for (int uring = 0; uring < 2; uring++) {
				ring.control->uring_min = (uint32_t)uring;
				for (int i = 0; i < ROUNDS; i++)
					samples[i] = round_of(thread, epoll, count, reads);
				qsort(samples, ROUNDS, sizeof *samples, by_size);
				time[uring] = samples[ROUNDS / 2] / count;
			}
			printf("%2d %s: plain %.0f ns, io_uring %.0f ns each\n", count, reads ? "reads" : "posts", time[0],
			       time[1]);
		}
}

int main(void)
{
	struct thread *thread = test_thread();
	long args[6] = { 0 };
	double start = now_ns();
	struct ring_stats stats;

	CHECK(ring_attach(thread));
	CHECK(ring_call(thread, __NR_getppid, args, RING_WAIT) > 0);
	printf("first call, helper made: %.0f us\n", (now_ns() - start) / 1e3);
	for (int round = 0; round < 3; round++) {
		int count = 300000;

		start = now_ns();
		for (int i = 0; i < count; i++)
			ring_call(thread, __NR_getppid, args, RING_RESTART);
		printf("round trip: %.0f ns\n", (now_ns() - start) / count);
		start = now_ns();
		for (int i = 0; i < count; i++)
			gate0(__NR_getppid);
		printf("gate: %.0f ns\n", (now_ns() - start) / count);
	}
	ring_stats(&stats);
	printf("crossings %lu spun %lu slept %lu\n", stats.crossings, stats.spun, stats.slept);
	compare_backends(thread);
	start = now_ns();
	if (ring_stop(thread) < 0)
		return 1;
	printf("stop: %.0f us\n", (now_ns() - start) / 1e3);
	ring_resume();
	start = now_ns();
	CHECK(ring_attach(thread));
	CHECK(ring_call(thread, __NR_getppid, args, RING_WAIT) > 0);
	printf("again: %.0f us\n", (now_ns() - start) / 1e3);
	start = now_ns();
	ring_exit(thread);
	printf("exit: %.0f us\n", (now_ns() - start) / 1e3);
	return 0;
}
