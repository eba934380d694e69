/*
 * volume_links.c - which directories outside of volumes are free of links.
 *
 * Owns: what was found free of them a moment ago, so that not each path costs two calls more. Must never: remember it when a
 * wrapped process has made a link or moved a name since: a path may lead into a volume then. Called by: volume_path.c,
 * volume_serve.c.
 */
#include <linux/openat2.h>
#include "volume_inner.h"

enum { COUNT = 64, SIZE = 200, TWIG = 1 };

/* About a second: a process that is not wrapped may make links, too. */
#define CYCLES_MAX (1ULL << 31)

struct clean {
	uint64_t cycles;
	uint32_t changes;
	uint32_t size;		/* 0: none */
	char     path[SIZE];	/* of a directory, absolute */
};

static struct clean clean[COUNT];
static struct mutex lock;

void links_after_fork(void)
{
	if (lock.state)		/* another thread of the parent was about to change one */
		memset(clean, 0, sizeof clean);
	lock = (struct mutex){ 0 };
}

static struct clean *place_of(const char *path, size_t size)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (uint8_t)path[i]) * 16777619u;
	return &clean[hash % COUNT];
}

static size_t directory_size(const char *path)
{
	size_t size = string_size(path);

	while (size && path[--size] != '/')
		;
	return size;
}

static bool is_known(const char *path, size_t size)
{
	struct clean *place = place_of(path, size);
	bool found;

	mutex_lock(&lock);
	found = size && place->size == size && place->changes == names_changes() &&
		__builtin_ia32_rdtsc() - place->cycles < CYCLES_MAX && memcmp(place->path, path, size) == 0;
	mutex_unlock(&lock);
	return found;
}

static void remember(const char *path, size_t size, uint32_t changes)
{
	struct clean *place = place_of(path, size);

	if (!size || size > SIZE)
		return;
	mutex_lock(&lock);
	*place = (struct clean){ .cycles = __builtin_ia32_rdtsc(), .changes = changes, .size = (uint32_t)size };
	memcpy(place->path, path, size);
	mutex_unlock(&lock);
}

bool is_free_of_links(const char *path, bool follows)
{
	const struct open_how how = { .flags = (uint64_t)(O_PATH | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW)),
				      .resolve = RESOLVE_NO_SYMLINKS };
	size_t size = directory_size(path);
	uint32_t changes = names_changes();
	char twig[TWIG];
	long fd;

	if (is_known(path, size))
		return !follows || gate3(__NR_readlink, path, twig, sizeof twig) < 0;
	fd = gate4(__NR_openat2, AT_FDCWD, path, &how, sizeof how);
	if (fd >= 0) {
		gate1(__NR_close, fd);
		remember(path, size, changes);
	}
	return fd >= 0 || fd == -ENOENT || fd == -ENOTDIR || fd == -EACCES;
}
