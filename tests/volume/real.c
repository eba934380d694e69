/*
 * real.c - a volume of the real core on a container in memory.
 *
 * Owns: container and arena, shared with forked children. Must never: look into the arena. Used by: tests of names, files and
 * locks, in the place of standin.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "standin.h"

#define CONTAINER_SIZE (1UL << 30)

enum { LOG_BLOCKS = 1024, BLOCKS_FIRST = 2 };

static struct volume the_volume;
static struct volume_host host;
static int arena_memory = -1, container_memory = -1;
static uint8_t *container;
static struct vol_inode *root;

static void give_up(const char *why)
{
	fprintf(stderr, "real: %s\n", why);
	abort();
}

static long container_read(void *context, void *to, uint64_t size, uint64_t at)
{
	(void)context;
	if (at > CONTAINER_SIZE || size > CONTAINER_SIZE - at)
		return -EIO;
	memcpy(to, container + at, size);
	return 0;
}

static long container_write(void *context, const void *from, uint64_t size, uint64_t at)
{
	(void)context;
	if (at > CONTAINER_SIZE || size > CONTAINER_SIZE - at)
		return -ENOSPC;
	memcpy(container + at, from, size);
	return 0;
}

static long container_sync(void *context)
{
	(void)context;
	return 0;
}

static long container_grow(void *context, uint64_t size)
{
	(void)context;
	return size > CONTAINER_SIZE ? -ENOSPC : 0;
}

static long container_discard(void *context, uint64_t size, uint64_t at)
{
	(void)context;
	(void)size;
	(void)at;
	return 0;
}

static void *map(int fd, uint64_t size, void *at, int flags)
{
	void *memory = mmap(at, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);

	if (memory == MAP_FAILED)
		give_up("no memory");
	return memory;
}

static void *fresh(int *fd, uint64_t size, void *old)
{
	if (*fd >= 0) {
		munmap(old, size);
		close(*fd);
	}
	*fd = memfd_create("real", MFD_CLOEXEC);
	if (*fd < 0 || ftruncate(*fd, (off_t)size))
		give_up("no memory");
	return map(*fd, size, NULL, MAP_SHARED);
}

static const uint8_t key[VOLUME_KEY_SIZE] = { 1, 2, 3 };
static const struct volume_shape shape = { .log_blocks = LOG_BLOCKS, .cache_size = 64 << 20, .volume_id = { 9 } };

static void mount(void)
{
	struct volume_found found;

	the_volume.arena = fresh(&arena_memory, volume_arena_size(), the_volume.arena);
	if (volume_mount(&the_volume, &shape, key, &found) || inode_get(&the_volume, VOLUME_ROOT_INO, &root))
		give_up("not mounted");
}

bool standin_remount(void)
{
	map(container_memory, CONTAINER_SIZE, container, MAP_PRIVATE | MAP_FIXED);
	mount();
	return true;
}

struct volume *standin_volume(void)
{
	host = standin_host;
	host.read = container_read;
	host.write = container_write;
	host.sync = container_sync;
	host.grow = container_grow;
	host.discard = container_discard;
	the_volume.host = &host;
	container = fresh(&container_memory, CONTAINER_SIZE, container);
	the_volume.arena = fresh(&arena_memory, volume_arena_size(), the_volume.arena);
	if (volume_format(&the_volume, &shape, key, 0777, 0, 0))
		give_up("not formatted");
	mount();
	return &the_volume;
}

void standin_fork(void)
{
	map(arena_memory, volume_arena_size(), the_volume.arena, MAP_PRIVATE | MAP_FIXED);
	map(container_memory, CONTAINER_SIZE, container, MAP_PRIVATE | MAP_FIXED);
}

void standin_fail(uint32_t nth, uint32_t count)
{
	(void)nth;	/* writes go to the cache, and don't fail one by one */
	(void)count;
}

uint32_t standin_inodes(void)
{
	struct volume_usage usage;

	volume_usage(&the_volume, &usage);
	return (uint32_t)usage.inodes_used;
}
