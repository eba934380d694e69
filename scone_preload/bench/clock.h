/*
 * clock.h - what all load programs share.
 *
 * Owns: the clock, the end by an error. Must never: be included by anything else. Used by: load.h, slices.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now_s(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
