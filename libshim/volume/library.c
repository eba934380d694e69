/*
 * library.c - volumes for code with a libc: struct volume_host made of libc calls on a descriptor.
 *
 * Owns: struct library. Must never: be linked into a shim. Called by: Python, through ctypes.
 */
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "library.h"

enum { TEXT_SIZE = 4096 };

struct library {
	struct volume volume;
	int container_fd, is_readonly;
	pthread_mutex_t told;		/* of the two that follow */
	char text[TEXT_SIZE], given[TEXT_SIZE];
};

static long library_read(void *context, void *to, uint64_t size, uint64_t at)
{
	const struct library *library = context;

	for (uint64_t done = 0; done < size;) {
		long result = pread(library->container_fd, (char *)to + done, size - done, (off_t)(at + done));

		if (result < 0 && errno != EINTR)
			return -errno;
		if (result == 0)
			return -EIO;
		done += result > 0 ? (uint64_t)result : 0;
	}
	return 0;
}

static long library_write(void *context, const void *from, uint64_t size, uint64_t at)
{
	const struct library *library = context;

	if (library->is_readonly)
		return -EROFS;
	for (uint64_t done = 0; done < size;) {
		long result = pwrite(library->container_fd, (const char *)from + done, size - done, (off_t)(at + done));

		if (result < 0 && errno != EINTR)
			return -errno;
		if (result == 0)
			return -EIO;
		done += result > 0 ? (uint64_t)result : 0;
	}
	return 0;
}

static long library_sync(void *context)
{
	return fdatasync(((struct library *)context)->container_fd) < 0 ? -errno : 0;
}

/* Where the file system has no fallocate, the file only gets longer: ENOSPC comes at a write then. */
static long library_grow(void *context, uint64_t size)
{
	int fd = ((struct library *)context)->container_fd;
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if ((uint64_t)status.st_size >= size || fallocate(fd, 0, status.st_size, (off_t)size - status.st_size) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static long library_discard(void *context, uint64_t size, uint64_t at)
{
	const struct library *library = context;

	return fallocate(library->container_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size) < 0 ? -errno : 0;
}

static long library_copy(void *context, void *to, const void *from, uint64_t size)
{
	(void)context;
	memcpy(to, from, size);
	return 0;
}

static void library_wait(void *context, uint32_t *word, uint32_t value, uint64_t ns)
{
	struct timespec time = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	(void)context;
	syscall(__NR_futex, word, FUTEX_WAIT, value, &time, NULL, 0);
}

static void library_wake(void *context, uint32_t *word, uint32_t count)
{
	(void)context;
	syscall(__NR_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static uint32_t forks;

static void count_fork(void)
{
	forks++;
}

static uint32_t library_self(void *context)
{
	static __thread uint32_t self, forks_then;	/* a fork's child has another number */

	(void)context;
	if (!self || forks_then != forks) {
		forks_then = forks;
		self = (uint32_t)gettid();
	}
	return self;
}

/* A killed process's threads are gone once they are no more than a zombie's. */
static bool library_is_alive(void *context, uint32_t thread)
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

static struct volume_time library_now(void *context)
{
	struct timespec now;

	(void)context;
	clock_gettime(CLOCK_REALTIME, &now);
	return (struct volume_time){ now.tv_sec, (uint32_t)now.tv_nsec, 0 };
}

/* Without random bytes nonces could come twice: nothing may go on. */
static void library_random(void *context, void *to, uint64_t size)
{
	(void)context;
	if (getrandom(to, size, 0) != (long)size)
		abort();
}

static void library_forget(void *context, void *pages, uint64_t size)
{
	(void)context;
	madvise(pages, size, MADV_REMOVE);
}

static void library_vectors(void *context)
{
	(void)context;
}

/* The oldest lines go when there is no room. */
static void library_report(void *context, uint64_t ino, uint64_t at, uint64_t size, const char *why)
{
	struct library *library = context;
	char line[256];
	size_t had, more;

	more = (size_t)snprintf(line, sizeof line, "inode %lu, bytes %lu to %lu: %s\n", ino, at, at + size, why);
	more = more < sizeof line ? more : sizeof line - 1;
	pthread_mutex_lock(&library->told);
	for (had = strlen(library->text); had && had + more >= TEXT_SIZE; had = strlen(library->text)) {
		const char *rest = strchr(library->text, '\n') + 1;

		memmove(library->text, rest, strlen(rest) + 1);
	}
	memcpy(library->text + had, line, more + 1);
	pthread_mutex_unlock(&library->told);
}

const char *volume_library_report(struct volume *volume)
{
	struct library *library = volume->context;

	pthread_mutex_lock(&library->told);
	memcpy(library->given, library->text, TEXT_SIZE);
	library->text[0] = 0;
	pthread_mutex_unlock(&library->told);
	return library->given;
}

static const struct volume_host library_host = {
	.read = library_read, .write = library_write, .sync = library_sync, .grow = library_grow, .discard = library_discard,
	.copy = library_copy, .wait = library_wait, .wake = library_wake, .self = library_self, .is_alive = library_is_alive,
	.now = library_now, .random = library_random, .forget = library_forget, .vectors_save = library_vectors,
	.vectors_restore = library_vectors, .report = library_report,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

long volume_library_open(int container_fd, void *arena, int is_readonly, struct volume **volume)
{
	struct library *library = calloc(1, sizeof *library);

	if (!library || pthread_once(&once, watch_forks) != 0) {
		free(library);
		return -ENOMEM;
	}
	library->volume = (struct volume){ arena, &library_host, library };
	library->container_fd = container_fd;
	library->is_readonly = is_readonly;
	pthread_mutex_init(&library->told, NULL);
	*volume = &library->volume;
	return 0;
}

void volume_library_close(struct volume *volume)
{
	free(volume->context);
}
