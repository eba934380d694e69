/*
 * core_crash.c SEED STEPS STATES [plain]: what a crash may leave of the writes since the last sync opens, and is a commit's state.
 *
 * Owns: nothing. Must never: expect more than P4: all of the last commit that returned, or of the one under way. Used by:
 * test_core.py, tools/volume_crash.
 *
 * A host's disk may keep any subset of the writes that were not synced, each in 512-byte sectors of its own. Of each crashed state
 * the next mount's checkpoint may crash as well: that must not change what is found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_disk.h"

enum { SECTOR = 512 };
static struct volume_shape shape;
static struct disk *crashed;
static uint32_t states, second, ahead;

/* How each unsynced write fares. */
enum { FATE_ALL, FATE_NONE, FATE_TORN };

static void put_write(struct disk *to, const struct disk *from, const struct disk_write *write, uint32_t fate, uint64_t *seed)
{
	for (uint64_t at = 0; at < write->size; at += SECTOR) {
		if (fate == FATE_TORN && dice(seed, 2))
			continue;
		memcpy(to->bytes + write->at + at, from->record + write->from + at, SECTOR);
	}
	if (write->at + write->size > to->size)
		to->size = write->at + write->size;
}

/* A sync after fewer than `count` writes has returned: these are there. */
static uint32_t safe_writes(const struct disk *disk, uint32_t count)
{
	uint32_t safe = 0;

	for (uint32_t i = 0; i < disk->kept_syncs; i++)
		if (disk->sync_at[i] < count)
			safe = disk->sync_at[i];
	return safe;
}

/* The synced bytes, the first `count` writes after them, but some of these lost or torn. kind 0: none is. */
static void crash(struct disk *to, const struct disk *from, uint32_t count, uint32_t kind, uint64_t *seed)
{
	uint32_t safe = safe_writes(from, count);

	memcpy(to->bytes, from->synced, from->size);
	to->size = from->size;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t fate = kind == 0 || i < safe ? FATE_ALL : kind == 1 ? dice(seed, 2) : dice(seed, 3);

		if (kind == 3 && i >= safe)	/* only few are lost: what is last is likely there */
			fate = dice(seed, 6) ? FATE_ALL : dice(seed, 2) ? FATE_NONE : FATE_TORN;
		if (fate != FATE_NONE)
			put_write(to, from, &from->write[i], fate, seed);
	}
}

/* Which of the two models is found on the disk: 0 or 1. */
static int look(struct disk *disk, const struct model *models, struct volume *volume)
{
	struct volume_found found;
	long result[2];

	*volume = disk_volume(disk);
	OK(volume_mount(volume, &shape, core_key, &found));
	for (int i = 0; i < 2; i++) {
		result[i] = model_compare(volume, &models[i]);
		if (result[i] == 0)
			return i;
	}
	fprintf(stderr, "state %u, version %lu: neither before (%ld) nor after (%ld)\n", states, found.version, result[0], result[1]);
	exit(1);
}

/* The crashed state is mounted; its checkpoint crashes; it is mounted again. */
static void crash_again(struct disk *disk, const struct model *models, struct volume *volume, int which, uint64_t *seed)
{
	static struct disk *twice;
	struct volume again;

	twice = twice ? twice : disk_new();
	disk_record(disk);
	disk->is_kept = 1;
	OK(volume_checkpoint(volume, false));
	disk->is_recording = disk->is_kept = 0;
	crash(twice, disk, dice(seed, disk->writes + 1), 1 + dice(seed, 3), seed);
	if (look(twice, models, &again) != which)
		fail_test(__FILE__, __LINE__, "another state after a crash in the mount's checkpoint", which);
	volume_end(&again);
	second++;
}

static void try_state(const struct disk *disk, const struct model *models, uint32_t count, uint32_t kind, uint64_t *seed)
{
	struct volume volume;
	int which;

	crash(crashed, disk, count, kind, seed);
	which = look(crashed, models, &volume);
	ahead += (uint32_t)which;
	states++;
	if (dice(seed, 4) == 0)
		crash_again(crashed, models, &volume, which, seed);
	volume_end(&volume);
}

/* All that a crash may leave between the last sync and the present moment; models: as of the last commit, as of the one under way. */
static void try_states(const struct disk *disk, const struct model *models, uint32_t wanted, uint64_t *seed)
{
	for (uint32_t i = 0; i < wanted; i++)
		try_state(disk, models, dice(seed, 3) ? disk->writes : dice(seed, disk->writes + 1), i % 4, seed);
}

/* Makes a commit or checkpoint whose writes are kept recorded, so that a crash anywhere before its last sync can be tried. */
static void commit_and_crash(struct disk *disk, struct volume *volume, const struct model *durable, const struct model *model,
			     uint32_t wanted, uint64_t *seed)
{
	const struct model models[2] = { *durable, *model };
	bool is_checkpoint = dice(seed, 8) == 0;

	disk->is_kept = 1;
	if (is_checkpoint)
		OK(volume_checkpoint(volume, false));
	else
		OK(volume_commit(volume));
	disk->is_kept = 0;
	try_states(disk, models, wanted, seed);
	disk_record(disk);
}

static uint32_t step(struct disk *disk, struct volume *volume, struct model *model, struct model *durable, uint32_t wanted,
		     uint64_t *seed)
{
	uint32_t syncs = disk->syncs;

	OK(model_step(volume, model, seed));
	if (disk->syncs != syncs) {	/* a commit by itself */
		model_free(durable);
		model_copy(durable, model);
	}
	if (dice(seed, 12) == 0)
		try_states(disk, (struct model[2]){ *durable, *durable }, 1, seed);
	if (dice(seed, 6))
		return 0;
	commit_and_crash(disk, volume, durable, model, wanted, seed);
	model_free(durable);
	model_copy(durable, model);
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t seed = (uint64_t)atol(argv[1]);
	uint32_t steps = (uint32_t)atoi(argv[2]), wanted = (uint32_t)atoi(argv[3]), commits = 0;
	struct disk *disk = disk_new();
	struct volume volume = disk_volume(disk);
	struct volume_found found;
	static struct model model, durable;

	shape = core_shape(argc > 4);
	crashed = disk_new();
	OK(volume_format(&volume, &shape, core_key, 0755, 0, 0));
	volume_end(&volume);
	volume = disk_volume(disk);
	OK(volume_mount(&volume, &shape, core_key, &found));
	disk_record(disk);
	for (uint32_t i = 0; i < steps; i++)
		commits += step(disk, &volume, &model, &durable, wanted, &seed);
	printf("%u states (%u with what was not synced, %u crashed twice) of %u commits\n", states, ahead, second, commits);
	return 0;
}
