/*
 * standin_host.c - struct volume_host by libc, for tests.
 *
 * Owns: nothing. Must never: be slow where a lock is held. Used by: standin.c, real.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "standin.h"

uint32_t standin_dead;

static long copy(void *context, void *to, const void *from, uint64_t size)
{
	(void)context;
	memcpy(to, from, size);
	return 0;
}

static void wait_for(void *context, uint32_t *word, uint32_t value, uint64_t ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	(void)context;
	syscall(SYS_futex, word, FUTEX_WAIT, value, &time, NULL, 0);
}

static void wake(void *context, uint32_t *word, uint32_t count)
{
	(void)context;
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static bool is_forked;			/* and its only thread doesn't know yet */

static void forked(void)
{
	is_forked = true;
}

static uint32_t self(void *context)
{
	static __thread pid_t thread;
	static bool is_told;

	(void)context;
	if (!is_told)
		pthread_atfork(NULL, NULL, forked);
	is_told = true;
	if (!thread || is_forked)
		thread = gettid();
	is_forked = false;
	return (uint32_t)thread;
}

static bool is_alive(void *context, uint32_t thread)
{
	(void)context;
	return thread != standin_dead && (kill((pid_t)thread, 0) == 0 || errno != ESRCH);
}

static struct volume_time now(void *context)
{
	struct timespec time;

	(void)context;
	clock_gettime(CLOCK_REALTIME, &time);
	return (struct volume_time){ .seconds = time.tv_sec, .nanoseconds = (uint32_t)time.tv_nsec };
}

static void randomize(void *context, void *to, uint64_t size)
{
	(void)context;
	if (getrandom(to, size, 0) != (ssize_t)size)
		_exit(99);
}

static void forget(void *context, void *pages, uint64_t size)
{
	(void)context;
	if (madvise(pages, size, MADV_REMOVE))
		memset(pages, 0, size);
}

static void nothing(void *context)
{
	(void)context;
}

static void report(void *context, uint64_t ino, uint64_t at, uint64_t size, const char *why)
{
	(void)context;
	fprintf(stderr, "inode %lu, bytes %lu + %lu: %s\n", ino, at, size, why);
}

const struct volume_host standin_host = {
	.copy = copy, .wait = wait_for, .wake = wake, .self = self, .is_alive = is_alive, .now = now, .random = randomize,
	.forget = forget, .vectors_save = nothing, .vectors_restore = nothing, .report = report,
};
