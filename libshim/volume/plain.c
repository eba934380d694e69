/*
 * plain.c - volumes for code with a libc: struct volume_host made of libc calls on a descriptor.
 *
 * Owns: the mapping of an arena in a process that is no shim. Must never: be linked into a shim. Called by: Python, through ctypes.
 */
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "plain_volume.h"

struct plain { struct volume volume; int container_fd; volume_plain_report *report; };

static long plain_read(void *context, void *to, uint64_t size, uint64_t at)
{
	const struct plain *plain = context;

	for (uint64_t done = 0; done < size;) {
		long result = pread(plain->container_fd, (char *)to + done, size - done, (off_t)(at + done));

		if (result < 0 && errno != EINTR)
			return -errno;
		if (result == 0)
			return -EIO;
		done += result > 0 ? (uint64_t)result : 0;
	}
	return 0;
}

static long plain_write(void *context, const void *from, uint64_t size, uint64_t at)
{
	const struct plain *plain = context;

	for (uint64_t done = 0; done < size;) {
		long result = pwrite(plain->container_fd, (const char *)from + done, size - done, (off_t)(at + done));

		if (result < 0 && errno != EINTR)
			return -errno;
		if (result == 0)
			return -EIO;
		done += result > 0 ? (uint64_t)result : 0;
	}
	return 0;
}

static long plain_sync(void *context)
{
	return fdatasync(((struct plain *)context)->container_fd) < 0 ? -errno : 0;
}

/* Where the file system has no fallocate, the file only gets longer: ENOSPC comes at a write then. */
static long plain_grow(void *context, uint64_t size)
{
	int fd = ((struct plain *)context)->container_fd;
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if ((uint64_t)status.st_size >= size || fallocate(fd, 0, status.st_size, (off_t)size - status.st_size) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static long plain_discard(void *context, uint64_t size, uint64_t at)
{
	const struct plain *plain = context;

	return fallocate(plain->container_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size) < 0 ? -errno : 0;
}

static long plain_copy(void *context, void *to, const void *from, uint64_t size)
{
	(void)context;
	memcpy(to, from, size);
	return 0;
}

static void plain_wait(void *context, uint32_t *word, uint32_t value, uint64_t ns)
{
	struct timespec time = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	(void)context;
	syscall(__NR_futex, word, FUTEX_WAIT, value, &time, NULL, 0);
}

static void plain_wake(void *context, uint32_t *word, uint32_t count)
{
	(void)context;
	syscall(__NR_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static uint32_t plain_self(void *context)
{
	static __thread uint32_t self, process;	/* a fork's child has another number */

	(void)context;
	if (process != (uint32_t)getpid()) {
		process = (uint32_t)getpid();
		self = (uint32_t)gettid();
	}
	return self;
}

/* A killed process's threads are gone once they are no more than a zombie's. */
static bool plain_is_alive(void *context, uint32_t thread)
{
	char path[64], text[256], *state;
	long size;
	int fd;

	(void)context;
	snprintf(path, sizeof path, "/proc/%u/stat", thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno != ENOENT;
	size = read(fd, text, sizeof text - 1);
	close(fd);
	if (size <= 0)
		return false;
	text[size] = 0;
	state = strrchr(text, ')');
	return !state || (state[2] != 'Z' && state[2] != 'X');
}

static struct volume_time plain_now(void *context)
{
	struct timespec now;

	(void)context;
	clock_gettime(CLOCK_REALTIME, &now);
	return (struct volume_time){ now.tv_sec, (uint32_t)now.tv_nsec, 0 };
}

/* Without random bytes nonces could come twice: nothing may go on. */
static void plain_random(void *context, void *to, uint64_t size)
{
	(void)context;
	if (getrandom(to, size, 0) != (long)size)
		abort();
}

static void plain_forget(void *context, void *pages, uint64_t size)
{
	(void)context;
	madvise(pages, size, MADV_REMOVE);
}

static void plain_vectors(void *context)
{
	(void)context;
}

static void plain_report(void *context, uint64_t ino, uint64_t at, uint64_t size, const char *why)
{
	const struct plain *plain = context;

	if (plain->report)
		plain->report(ino, at, size, why);
	else
		fprintf(stderr, "volume: inode %lu, bytes %lu to %lu: %s\n", ino, at, at + size, why);
}

static const struct volume_host plain_host = {
	.read = plain_read, .write = plain_write, .sync = plain_sync, .grow = plain_grow, .discard = plain_discard,
	.copy = plain_copy, .wait = plain_wait, .wake = plain_wake, .self = plain_self, .is_alive = plain_is_alive,
	.now = plain_now, .random = plain_random, .forget = plain_forget, .vectors_save = plain_vectors,
	.vectors_restore = plain_vectors, .report = plain_report,
};

long volume_plain_open(struct volume **volume, int arena_fd, int container_fd, volume_plain_report *report)
{
	struct plain *plain = calloc(1, sizeof *plain);
	uint64_t size = volume_arena_size();
	struct stat status;
	void *arena;

	if (!plain)
		return -ENOMEM;
	if (fstat(arena_fd, &status) < 0 || ((uint64_t)status.st_size < size && ftruncate(arena_fd, (off_t)size) < 0)) {
		free(plain);
		return -errno;
	}
	arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena_fd, 0);
	if (arena == MAP_FAILED) {
		free(plain);
		return -errno;
	}
	*plain = (struct plain){ { arena, &plain_host, plain }, container_fd, report };
	*volume = &plain->volume;
	return 0;
}

void volume_plain_close(struct volume *volume)
{
	munmap(volume->arena, volume_arena_size());
	free(volume->context);
}
