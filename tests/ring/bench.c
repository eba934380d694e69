/*
 * bench.c - what a crossing costs, in an ordinary process. Run: tests/ring/run bench.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "support.h"
#include "ring_inner.h"

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
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
	start = now_ns();
	ring_stop(thread);
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
