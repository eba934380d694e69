/*
 * core_disk.c - a disk of paper, a model, random changes.
 *
 * Owns: what core_disk.h promises. Must never: know the core's inner headers. Used by: core_*.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "core_disk.h"

const uint8_t core_key[32] = { 1, 2, 3, 4, 5 };

void fail_test(const char *file, int line, const char *what, long result)
{
	fprintf(stderr, "%s:%d: %s: %ld\n", file, line, what, result);
	_exit(1);
}

uint32_t dice(uint64_t *seed, uint32_t sides)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(*seed >> 33) % sides;
}

void *shared(uint64_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	TRUE(memory != MAP_FAILED);
	return memory;
}

/* The superblock's two blocks are there before the core sees the container. */
struct disk *disk_new(void)
{
	struct disk *disk = shared(sizeof *disk);

	disk->size = 2 * VOLUME_BLOCK;
	disk->limit = DISK_SIZE;
	disk->fail_after = -1;
	return disk;
}

void disk_record(struct disk *disk)
{
	memcpy(disk->synced, disk->bytes, disk->size);
	disk->is_recording = 1;
	disk->writes = 0;
	disk->record_size = 0;
	disk->kept_syncs = 0;
}

static long failure(struct disk *disk)
{
	__atomic_fetch_add(&disk->calls, 1, __ATOMIC_RELAXED);
	if (disk->fail_after < 0)
		return 0;
	if (disk->fail_after--)
		return 0;
	disk->fail_after = disk->fail_only_once ? -1 : 0;
	return -disk->fail_errno;
}

static long disk_read(void *context, void *to, uint64_t size, uint64_t at)
{
	struct disk *disk = context;

	VOL_TRY(failure(disk));
	if (at > disk->size || size > disk->size - at)
		return -EIO;
	memcpy(to, disk->bytes + at, size);
	return 0;
}

static long disk_write(void *context, const void *from, uint64_t size, uint64_t at)
{
	struct disk *disk = context;

	VOL_TRY(failure(disk));
	if (at + size > disk->limit)
		return -ENOSPC;
	if (disk->is_recording) {
		TRUE(disk->writes < WRITES_MAX && disk->record_size + size < RECORD_SIZE);
		disk->write[disk->writes++] = (struct disk_write){ at, size, disk->record_size };
		memcpy(disk->record + disk->record_size, from, size);
		disk->record_size += size;
	}
	memcpy(disk->bytes + at, from, size);
	if (at + size > disk->size)
		disk->size = at + size;
	return 0;
}

static long disk_sync(void *context)
{
	struct disk *disk = context;

	VOL_TRY(failure(disk));
	__atomic_fetch_add(&disk->syncs, 1, __ATOMIC_RELAXED);
	if (disk->is_recording && !disk->is_kept)
		disk_record(disk);
	else if (disk->is_recording && disk->kept_syncs < SYNCS_MAX)
		disk->sync_at[disk->kept_syncs++] = disk->writes;
	return 0;
}

static long disk_grow(void *context, uint64_t size)
{
	struct disk *disk = context;

	VOL_TRY(failure(disk));
	if (size > disk->limit)
		return -ENOSPC;
	if (size > disk->size)
		disk->size = size;
	return 0;
}

static long disk_discard(void *context, uint64_t size, uint64_t at)
{
	struct disk *disk = context;

	(void)disk, (void)size, (void)at;
	return 0;
}

static long copy(void *context, void *to, const void *from, uint64_t size)
{
	(void)context;
	memcpy(to, from, size);
	return 0;
}

static void wait_for(void *context, uint32_t *word, uint32_t value, uint64_t ns)
{
	struct timespec time = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	(void)context;
	syscall(SYS_futex, word, FUTEX_WAIT, value, &time, NULL, 0);
}

static void wake(void *context, uint32_t *word, uint32_t count)
{
	(void)context;
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static uint32_t self(void *context)
{
	static __thread pid_t process, thread;

	(void)context;
	if (process != getpid()) {
		process = getpid();
		thread = gettid();
	}
	return (uint32_t)thread;
}

/* Tests wait for those they kill before they go on. */
static bool is_alive(void *context, uint32_t thread)
{
	(void)context;
	return kill((pid_t)thread, 0) == 0 || errno != ESRCH;
}

static struct volume_time now(void *context)
{
	struct timespec time;

	(void)context;
	clock_gettime(CLOCK_REALTIME, &time);
	return (struct volume_time){ time.tv_sec, (uint32_t)time.tv_nsec, 0 };
}

static void random_bytes(void *context, void *to, uint64_t size)
{
	(void)context;
	TRUE(getrandom(to, size, 0) == (ssize_t)size);
}

static void forget(void *context, void *pages, uint64_t size)
{
	(void)context;
	madvise(pages, size, MADV_REMOVE);
}

static void vectors(void *context)
{
	(void)context;
}

static void report(void *context, uint64_t ino, uint64_t at, uint64_t size, const char *why)
{
	struct disk *disk = context;

	__atomic_fetch_add(&disk->reports, 1, __ATOMIC_RELAXED);
	if (getenv("CORE_TELLS"))
		fprintf(stderr, "inode %lu, bytes %lu to %lu: %s\n", ino, at, at + size, why);
}

static const struct volume_host host = {
	.read = disk_read, .write = disk_write, .sync = disk_sync, .grow = disk_grow, .discard = disk_discard, .copy = copy,
	.wait = wait_for, .wake = wake, .self = self, .is_alive = is_alive, .now = now, .random = random_bytes,
	.forget = forget, .vectors_save = vectors, .vectors_restore = vectors, .report = report,
};

struct volume disk_volume(struct disk *disk)
{
	return (struct volume){ shared(volume_arena_size()), &host, disk };
}

void volume_end(struct volume *volume)
{
	munmap(volume->arena, volume_arena_size());
}

struct volume_shape core_shape(bool is_plain)
{
	return (struct volume_shape){ .cache_size = 4 << 20, .log_blocks = LOG_BLOCKS, .is_plain = is_plain };
}

void model_copy(struct model *to, const struct model *from)
{
	for (int i = 0; i < FILES; i++) {
		to->file[i] = from->file[i];
		to->file[i].bytes = NULL;
		if (!from->file[i].ino)
			continue;
		to->file[i].bytes = malloc(from->file[i].size + 1);
		memcpy(to->file[i].bytes, from->file[i].bytes, from->file[i].size);
	}
}

void model_free(struct model *model)
{
	for (int i = 0; i < FILES; i++)
		free(model->file[i].bytes);
	memset(model, 0, sizeof *model);
}

static long file_new_one(struct volume *volume, struct model_file *file)
{
	struct volume_record record = { .mode = 0100644 };
	struct vol_inode *inode;

	VOL_TRY(inode_new(volume, &record, &inode));
	vol_lock(volume, &inode->lock);
	inode->record.nlink = 1;
	inode_changed(volume, inode);
	vol_unlock(volume, &inode->lock);
	*file = (struct model_file){ inode->ino, 0, calloc(1, FILE_SIZE), 0 };
	inode_put(volume, inode);
	return 0;
}

static long file_remove(struct volume *volume, struct model_file *file, struct vol_inode *inode)
{
	vol_lock(volume, &inode->lock);
	inode->record.nlink = 0;
	inode_changed(volume, inode);
	vol_unlock(volume, &inode->lock);
	free(file->bytes);
	*file = (struct model_file){ 0 };
	(void)volume;
	return 0;
}

static uint8_t *grown(struct model_file *file)
{
	file->bytes = realloc(file->bytes, FILE_SIZE);
	memset(file->bytes + file->size, 0, FILE_SIZE - file->size);
	return file->bytes;
}

static long file_write(struct volume *volume, struct model_file *file, struct vol_inode *inode, uint64_t *seed)
{
	static uint8_t bytes[FILE_SIZE];
	uint64_t at = dice(seed, 3) ? dice(seed, 4) ? dice(seed, 60000) : dice(seed, FILE_SIZE - 1) : file->size;
	uint64_t size = 1 + (dice(seed, 8) ? dice(seed, 9000) : dice(seed, 300000)), end;
	long result;

	if (dice(seed, 4) == 0)
		at = at / VOLUME_BLOCK * VOLUME_BLOCK, size = (size / VOLUME_BLOCK + 1) * VOLUME_BLOCK;
	if (at >= FILE_SIZE)
		return 0;
	size = at + size > FILE_SIZE ? FILE_SIZE - at : size;
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)dice(seed, 256) | 1;
	result = inode_write(volume, inode, bytes, size, at, &end);
	if (result > 0) {
		TRUE(end == at + (uint64_t)result);
		memcpy(grown(file) + at, bytes, (size_t)result);
		if (end > file->size)
			file->size = end;
	}
	return result < 0 ? result : 0;
}

static long file_change(struct volume *volume, struct model_file *file, struct vol_inode *inode, uint64_t *seed)
{
	uint32_t kind = dice(seed, 16);
	uint64_t from, to;

	if (kind == 0)
		return file_remove(volume, file, inode);
	if (kind > 3)
		return file_write(volume, file, inode, seed);
	if (kind == 1) {
		to = dice(seed, 2) ? dice(seed, FILE_SIZE) : dice(seed, 20000);
		VOL_TRY(inode_truncate(volume, inode, to));
		grown(file);
		if (to < file->size)
			memset(file->bytes + to, 0, file->size - to);
		file->size = to;
		return 0;
	}
	from = dice(seed, FILE_SIZE);
	to = from + dice(seed, 100000);
	to = to > file->size ? file->size : to;
	if (from >= to)
		return 0;
	VOL_TRY(inode_punch(volume, inode, from, to));
	memset(file->bytes + from, 0, to - from);
	return 0;
}

long model_step(struct volume *volume, struct model *model, uint64_t *seed)
{
	struct model_file *file = &model->file[dice(seed, FILES)];
	struct vol_inode *inode;
	long result;

	if (!file->ino) {
		result = file_new_one(volume, file);
		file->is_loose |= result < 0;
		return result;
	}
	result = inode_get(volume, file->ino, &inode);
	if (result >= 0) {
		result = file_change(volume, file, inode, seed);
		inode_put(volume, inode);
	}
	file->is_loose |= result < 0;
	return result;
}

static long compare_file(struct volume *volume, const struct model_file *file)
{
	static uint8_t bytes[FILE_SIZE + 1];
	struct vol_inode *inode;
	long result = inode_get(volume, file->ino, &inode);

	if (result == -ENOENT)
		return 1;
	VOL_TRY(result);
	result = 0;
	if (inode->record.size != file->size || inode->record.nlink != 1)
		result = 2;
	if (!result) {
		long size = inode_read(volume, inode, bytes, sizeof bytes, 0);

		if (size != (long)file->size)
			result = size < 0 ? size : 3;
		else if (memcmp(bytes, file->bytes, file->size))
			result = 4;
	}
	inode_put(volume, inode);
	return result;
}

long model_compare(struct volume *volume, const struct model *model)
{
	struct volume_usage usage;
	uint64_t count = 1;	/* the root */
	bool is_loose = false;

	for (int i = 0; i < FILES; i++) {
		long result = model->file[i].ino && !model->file[i].is_loose ? compare_file(volume, &model->file[i]) : 0;

		count += model->file[i].ino != 0;
		is_loose |= model->file[i].is_loose;
		if (result)
			return result < 0 ? result : result + 10 * i;
	}
	volume_usage(volume, &usage);
	return is_loose || usage.inodes_used == count ? 0 : 1000 + (long)usage.inodes_used;
}
