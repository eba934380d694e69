/*
 * core_fail.c SEED STEP ERRNO [once]: the n-th call of the host gives an error, for every STEP-th n. Or, with ERRNO 0: the disk is full.
 *
 * Owns: nothing. Must never: lose what an error was not told for. Used by: test_core.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_disk.h"

enum { CHANGES = 120, PREPARED = 60, FILLING = 600, FULL_STEPS = 1000 };
static struct volume_shape shape;
static uint32_t broken, told, mounts_failed;

static void mount(struct disk *disk, struct volume *volume)
{
	struct volume_found found;

	*volume = disk_volume(disk);
	OK(volume_mount(volume, &shape, core_key, &found));
}

static void prepare(struct disk *disk, struct model *model, int steps, uint64_t *seed)
{
	struct volume volume = disk_volume(disk);

	OK(volume_format(&volume, &shape, core_key, 0755, 0, 0));
	volume_end(&volume);
	mount(disk, &volume);
	for (int i = 0; i < steps; i++)
		OK(model_step(&volume, model, seed));
	OK(volume_checkpoint(&volume, true));
	volume_end(&volume);
}

/* Once a sync failed nothing may be promised, ever; else all is there that no error was told for. */
static void judge(struct disk *disk, struct volume *volume, struct model *model, bool is_broken)
{
	long result;

	disk->fail_after = -1;
	disk->limit = DISK_SIZE;
	result = volume_commit(volume);
	if (is_broken) {
		TRUE(result == -EIO && volume_checkpoint(volume, true) == -EIO);
		broken++;
	} else if (result < 0) {
		fail_test(__FILE__, __LINE__, "a commit after the error was gone", result);
	} else {
		result = model_compare(volume, model);
		if (result)
			fail_test(__FILE__, __LINE__, "differs in memory", result);
	}
	volume_end(volume);
	mount(disk, volume);
	result = is_broken ? 0 : model_compare(volume, model);
	if (result)
		fail_test(__FILE__, __LINE__, "differs on the disk", result);
	OK(volume_checkpoint(volume, true));
	volume_end(volume);
}

static bool is_sync_failed(const struct volume *volume)
{
	struct volume copy = *volume;

	return volume_make_room(&copy) == -EIO;
}

static void change(struct volume *volume, struct model *model, int count, uint64_t *seed)
{
	for (int i = 0; i < count; i++) {
		uint32_t kind;

		told += model_step(volume, model, seed) < 0;
		kind = dice(seed, 20);
		if (kind == 0)
			told += volume_checkpoint(volume, false) < 0;
		else if (kind < 4)
			told += volume_commit(volume) < 0;
		else if (kind == 4)
			told += volume_maintain(volume) < 0;
	}
}

int main(int argc, char **argv)
{
	uint64_t seed = (uint64_t)atol(argv[1]);
	int step = atoi(argv[2]), error = atoi(argv[3]);
	static struct disk *first, *disk;
	static struct model model, own;
	uint64_t calls = 1, rounds = 0;

	shape = core_shape(false);
	shape.cache_size = 2 << 20;
	first = disk_new();
	disk = disk_new();
	prepare(first, &model, error ? PREPARED : 8, &seed);
	for (uint64_t n = 0; n < calls; n += (uint64_t)step, rounds++) {
		uint64_t changes = seed;
		struct volume volume;
		struct volume_found found;

		memcpy(disk, first, offsetof(struct disk, bytes));
		memcpy(disk->bytes, first->bytes, first->size);
		disk->calls = 0;
		if (error)	/* the first round has none, and counts the calls */
			disk->fail_after = rounds ? (int64_t)n : -1;
		else
			disk->limit = first->size + n * VOLUME_BLOCK;
		disk->fail_errno = error;
		disk->fail_only_once = argc > 4;
		model_free(&own);
		model_copy(&own, &model);
		volume = disk_volume(disk);
		if (volume_mount(&volume, &shape, core_key, &found) < 0) {
			mounts_failed++;
			volume_end(&volume);
			continue;
		}
		change(&volume, &own, error ? CHANGES : FILLING, &changes);
		if (!rounds)
			calls = error ? disk->calls : FULL_STEPS;
		judge(disk, &volume, &own, is_sync_failed(&volume));
	}
	printf("%lu rounds, %u errors told, %u syncs failed, %u mounts failed\n", rounds, told, broken, mounts_failed);
	return 0;
}
