/*
 * core_tamper.c SEED STATES [plain]: a host that changes, swaps, replays, cuts and extends what is on the disk.
 *
 * Owns: nothing. Must never: accept wrong data. Used by: test_core.py.
 *
 * What is right: an error at the mount or at a read; the true content; or, for a whole older state, that one (it takes an anchor
 * to notice): then it is a state that was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_disk.h"

enum { HISTORY = 24, STEPS = 12 };
static struct volume_shape shape;
static struct model history[HISTORY];
static struct disk *disk, *bad, *older;
static uint32_t refused, unreadable, unharmed, rolled_back;

static void flip(uint64_t *seed, uint64_t from, uint64_t to)
{
	uint64_t at = from + dice(seed, (uint32_t)(to - from));

	bad->bytes[at] ^= (uint8_t)(1 << dice(seed, 8));
}

static uint64_t block(uint64_t *seed)
{
	return (uint64_t)(2 + dice(seed, (uint32_t)(bad->size / VOLUME_BLOCK - 2))) * VOLUME_BLOCK;
}

static void tamper(uint64_t *seed)
{
	uint8_t kept[VOLUME_BLOCK];
	uint64_t a = block(seed), b = block(seed), data = (uint64_t)(VOLUME_LOG_BLOCK + LOG_BLOCKS) * VOLUME_BLOCK;

	switch (dice(seed, 9)) {
	case 0:
		flip(seed, 2 * VOLUME_BLOCK, 4 * VOLUME_BLOCK);
		break;
	case 1:
		flip(seed, 4 * VOLUME_BLOCK, data);
		break;
	case 2:
		for (uint32_t i = 0, count = 1 + dice(seed, 60); i < count; i++)
			flip(seed, data, bad->size);
		break;
	case 3:
		memcpy(kept, bad->bytes + a, VOLUME_BLOCK);
		memcpy(bad->bytes + a, bad->bytes + b, VOLUME_BLOCK);
		memcpy(bad->bytes + b, kept, VOLUME_BLOCK);
		break;
	case 4:	/* blocks of an older copy */
		for (uint32_t i = 0, count = 1 + dice(seed, 200); i < count; i++, a = block(seed))
			memcpy(bad->bytes + a, older->bytes + a, VOLUME_BLOCK);
		break;
	case 5:
		bad->size = dice(seed, (uint32_t)bad->size);
		break;
	case 6:
		bad->size += dice(seed, 100000);
		break;
	case 7:	/* the whole log of an older copy, or both checkpoints */
		if (dice(seed, 2))
			memcpy(bad->bytes + 4 * VOLUME_BLOCK, older->bytes + 4 * VOLUME_BLOCK, data - 4 * VOLUME_BLOCK);
		else
			memcpy(bad->bytes + 2 * VOLUME_BLOCK, older->bytes + 2 * VOLUME_BLOCK, 2 * VOLUME_BLOCK);
		break;
	case 8:
		for (uint32_t i = 0; i < 3; i++, a = block(seed))
			memset(bad->bytes + a, (int)dice(seed, 256), VOLUME_BLOCK);
		break;
	}
}

/* Files that can be read must together be of one state that was; one that can't be read is not compared. */
static bool is_state(struct volume *volume, const struct model *model, bool *is_whole)
{
	struct model rest = *model;

	for (int i = 0; i < FILES; i++) {
		struct model one = { 0 };
		long result;

		if (!rest.file[i].ino)
			continue;
		one.file[0] = rest.file[i];
		one.file[0].is_loose = 0;
		one.file[1].is_loose = 1;	/* not the number of inodes */
		result = model_compare(volume, &one);
		if (result == -EIO)
			*is_whole = false;
		else if (result)
			return false;
	}
	return true;
}

static void judge(void)
{
	struct volume volume = disk_volume(bad);
	struct volume_found found;
	bool is_whole = true;
	int at = HISTORY - 1;
	uint32_t reports = bad->reports;
	long result = volume_mount(&volume, &shape, core_key, &found);

	if (result < 0) {
		TRUE(result == -EBADMSG || result == -EKEYREJECTED || result == -EIO);
		TRUE(bad->reports > reports);
		refused++;
		volume_end(&volume);
		return;
	}
	while (at >= 0 && !is_state(&volume, &history[at], &is_whole)) {
		at--;
		is_whole = true;
	}
	if (at < 0)
		fail_test(__FILE__, __LINE__, "a state that never was", (long)found.version);
	if (!is_whole) {
		TRUE(bad->reports > reports);
		unreadable++;
	} else if (at == HISTORY - 1) {
		unharmed++;
	} else {
		rolled_back++;
	}
	volume_end(&volume);
}

static void make_history(uint64_t *seed)
{
	struct volume volume = disk_volume(disk);
	struct volume_found found;
	struct model model = { 0 };

	OK(volume_format(&volume, &shape, core_key, 0755, 0, 0));
	volume_end(&volume);
	volume = disk_volume(disk);
	OK(volume_mount(&volume, &shape, core_key, &found));
	for (int i = 1; i < HISTORY; i++) {	/* the first state is that of an empty volume */
		for (int k = 0; k < STEPS; k++)
			OK(model_step(&volume, &model, seed));
		if (dice(seed, 6) == 0)
			OK(volume_checkpoint(&volume, false));
		else
			OK(volume_commit(&volume));
		model_copy(&history[i], &model);
		if (i == HISTORY - 4) {
			memcpy(older->bytes, disk->bytes, DISK_SIZE);
			older->size = disk->size;
		}
	}
	volume_end(&volume);
}

int main(int argc, char **argv)
{
	uint64_t seed = (uint64_t)atol(argv[1]);
	int states = atoi(argv[2]);

	shape = core_shape(argc > 3);
	disk = disk_new();
	bad = disk_new();
	older = disk_new();
	make_history(&seed);
	for (int i = 0; i < states; i++) {
		memcpy(bad->bytes, disk->bytes, disk->size + 100000);
		bad->size = disk->size;
		for (uint32_t k = dice(&seed, 3) ? 1 : 3; k && bad->size >= disk->size; k--)
			tamper(&seed);
		judge();
	}
	printf("%d states: %u refused, %u unreadable in part, %u unharmed, %u older\n", states, refused, unreadable, unharmed,
	       rolled_back);
	return 0;
}
