/*
 * standin.c - inodes in shared memory: inode.h without a disk, a cache or a log.
 *
 * Owns: a table of inodes, and room for their bytes that is never given back. Must never: be clever. Used by: tests of names,
 * files and locks.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "standin.h"

enum { INODES = 1 << 17 };

struct data { uint64_t at, room; };

struct volume_arena {
	struct vol_lock lock;
	uint32_t next;
	uint32_t fail_in, fail_count;
	uint64_t data_used;
	struct data data[INODES];
	struct vol_inode inodes[INODES];
};

#define DATA_SIZE (4UL << 30)
#define REGIONS_AT (256UL << 20)
#define DATA_AT (REGIONS_AT + VOL_REGION_COUNT * VOL_REGION_SIZE)

static struct volume the_volume;
static int memory;

static void give_up(const char *why)
{
	fprintf(stderr, "standin: %s\n", why);
	abort();
}

struct volume *standin_volume(void)
{
	struct volume_arena *arena;
	struct vol_inode *root;

	if (the_volume.arena) {
		munmap(the_volume.arena, DATA_AT + DATA_SIZE);
		close(memory);
	}
	memory = memfd_create("standin", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, DATA_AT + DATA_SIZE))
		give_up("no memory");
	arena = mmap(NULL, DATA_AT + DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory, 0);
	if (arena == MAP_FAILED || sizeof *arena > REGIONS_AT)
		give_up("no memory");
	the_volume = (struct volume){ .arena = arena, .host = &standin_host };
	arena->next = VOLUME_ROOT_INO;
	root = &arena->inodes[VOLUME_ROOT_INO];
	root->ino = VOLUME_ROOT_INO;
	root->users = 1;
	root->record = (struct volume_record){ .mode = 0040777, .nlink = 2, .parent = VOLUME_ROOT_INO };
	return &the_volume;
}

void standin_fork(void)
{
	if (mmap(the_volume.arena, DATA_AT + DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, memory,
		 0) == MAP_FAILED)
		give_up("no memory");
}

bool standin_remount(void)
{
	return false;
}

long volume_commit(struct volume *volume)
{
	(void)volume;
	return 0;
}

void standin_fail(uint32_t nth, uint32_t count)
{
	the_volume.arena->fail_in = nth;
	the_volume.arena->fail_count = count;
}

uint32_t standin_inodes(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < INODES; i++)
		count += the_volume.arena->inodes[i].record.mode != 0;
	return count;
}

void *volume_region(struct volume *volume, enum vol_region region)
{
	return (uint8_t *)volume->arena + REGIONS_AT + region * VOL_REGION_SIZE;
}

void vol_lock(struct volume *volume, struct vol_lock *lock)
{
	uint32_t self = volume->host->self(volume->context), holder = 0;

	for (int i = 0; !__atomic_compare_exchange_n(&lock->word, &holder, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
	     i++) {
		if (holder == self)
			give_up("a thread waits for itself");
		if (i % 64 != 63 || volume->host->is_alive(volume->context, holder)) {
			holder = 0;
			if (i % 16 == 15)
				sched_yield();
			continue;
		}
		if (__atomic_compare_exchange_n(&lock->word, &holder, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		holder = 0;
	}
}

void vol_unlock(struct volume *volume, struct vol_lock *lock)
{
	if (lock->word != volume->host->self(volume->context))
		give_up("a lock is not its own");
	__atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}

uint32_t inode_index(const struct volume *volume, const struct vol_inode *inode)
{
	return (uint32_t)(inode - volume->arena->inodes);
}

struct vol_inode *inode_at(const struct volume *volume, uint32_t index)
{
	return &volume->arena->inodes[index];
}

long inode_get(struct volume *volume, uint64_t ino, struct vol_inode **inode)
{
	struct volume_arena *arena = volume->arena;
	long result = -ENOENT;

	if (ino >= INODES)
		return -ENOENT;
	vol_lock(volume, &arena->lock);
	if (arena->inodes[ino].record.mode) {
		*inode = &arena->inodes[ino];
		__atomic_fetch_add(&(*inode)->users, 1, __ATOMIC_RELAXED);
		result = 0;
	}
	vol_unlock(volume, &arena->lock);
	return result;
}

void inode_share(struct vol_inode *inode)
{
	if (!__atomic_fetch_add(&inode->users, 1, __ATOMIC_RELAXED))
		give_up("a user of an inode without users");
}

void inode_put(struct volume *volume, struct vol_inode *inode)
{
	struct volume_arena *arena = volume->arena;

	vol_lock(volume, &arena->lock);
	if (!inode->users || !inode->record.mode)
		give_up("an inode is put too often");
	if (!__atomic_sub_fetch(&inode->users, 1, __ATOMIC_RELAXED) && !inode->record.nlink)
		inode->record.mode = 0;
	vol_unlock(volume, &arena->lock);
}

long inode_new(struct volume *volume, const struct volume_record *record, struct vol_inode **inode)
{
	struct volume_arena *arena = volume->arena;
	struct vol_inode *found;

	vol_lock(volume, &arena->lock);
	for (uint32_t tries = 0;; tries++) {
		if (tries == INODES)
			give_up("no inode is free");
		arena->next = arena->next % (INODES - 1) + 1;
		found = &arena->inodes[arena->next];
		if (!found->record.mode && !found->users)
			break;
	}
	found->ino = arena->next;
	found->users = 1;
	found->record = (struct volume_record){ .uid = record->uid, .gid = record->gid, .device = record->device,
						.parent = record->parent, .generation = found->record.generation + 1 };
	found->record.accessed = found->record.modified = found->record.changed = found->record.born =
		volume->host->now(NULL);
	found->record.mode = record->mode;
	*inode = found;
	vol_unlock(volume, &arena->lock);
	return 0;
}

void inode_changed(struct volume *volume, struct vol_inode *inode)
{
	if (inode->lock.word != volume->host->self(NULL))
		give_up("a record was changed without its lock");
}

long inode_read(struct volume *volume, struct vol_inode *inode, void *to, uint64_t size, uint64_t at)
{
	const struct data *data = &volume->arena->data[inode->ino];
	uint64_t end = inode->record.size;

	if (at >= end)
		return 0;
	if (size > end - at)
		size = end - at;
	memcpy(to, (uint8_t *)volume->arena + DATA_AT + __atomic_load_n(&data->at, __ATOMIC_ACQUIRE) + at, size);
	return (long)size;
}

static bool is_to_fail(struct volume_arena *arena)
{
	if (!arena->fail_in || --arena->fail_in)
		return false;
	if (--arena->fail_count)
		arena->fail_in = 1;
	return true;
}

long inode_write_locked(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at)
{
	struct volume_arena *arena = volume->arena;
	struct data *data = &arena->data[inode->ino];
	uint8_t *base = (uint8_t *)arena + DATA_AT;

	if (inode->lock.word != volume->host->self(NULL))
		give_up("a write without the inode's lock");
	if (is_to_fail(arena))
		return -ENOSPC;
	if (at == INODE_APPEND)
		at = inode->record.size;
	if (at + size > data->room) {
		uint64_t room = (at + size) * 2 + 4096, place = __atomic_fetch_add(&arena->data_used, room, __ATOMIC_RELAXED);

		if (place + room > DATA_SIZE)
			give_up("no room for data");
		memcpy(base + place, base + data->at, data->room);
		__atomic_store_n(&data->at, place, __ATOMIC_RELEASE);
		__atomic_store_n(&data->room, room, __ATOMIC_RELEASE);
	}
	if (at > inode->record.size)
		memset(base + data->at + inode->record.size, 0, at - inode->record.size);
	memcpy(base + data->at + at, from, size);
	if (at + size > inode->record.size)
		inode->record.size = at + size;
	inode->record.modified = inode->record.changed = volume->host->now(NULL);
	return (long)size;
}

long inode_write(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at, uint64_t *end)
{
	long result;

	vol_lock(volume, &inode->lock);
	result = inode_write_locked(volume, inode, from, size, at);
	if (end)
		*end = inode->record.size;
	vol_unlock(volume, &inode->lock);
	return result;
}

long volume_make_room(struct volume *volume)
{
	(void)volume;
	return 0;
}
