/*
 * core_oracle.c SEED STEPS [plain]: random changes of a volume and of a model give the same; mounted again after commits.
 *
 * Owns: nothing. Must never: crash on purpose (core_crash.c does). Used by: test_core.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_disk.h"

static void mount_again(struct disk *disk, struct volume *volume, bool is_plain)
{
	struct volume_shape shape = core_shape(is_plain);
	struct volume_found found;

	volume_end(volume);
	*volume = disk_volume(disk);
	OK(volume_mount(volume, &shape, core_key, &found));
}

static void check_usage(struct volume *volume, const struct model *model)
{
	struct volume_usage usage;
	uint64_t most = 0;

	for (int i = 0; i < FILES; i++)
		most += model->file[i].size / VOLUME_BLOCK + 8;
	volume_usage(volume, &usage);
	if (usage.blocks_used > most + LOG_BLOCKS + 4 + 40)
		fail_test(__FILE__, __LINE__, "blocks leak", (long)usage.blocks_used);
}

int main(int argc, char **argv)
{
	uint64_t seed = (uint64_t)atol(argv[1]);
	int steps = atoi(argv[2]);
	bool is_plain = argc > 3;
	struct disk *disk = disk_new();
	struct volume volume = disk_volume(disk);
	struct volume_shape shape = core_shape(is_plain);
	static struct model model;

	OK(volume_format(&volume, &shape, core_key, 0755, 0, 0));
	mount_again(disk, &volume, is_plain);
	for (int i = 0; i < steps; i++) {
		OK(model_step(&volume, &model, &seed));
		switch (dice(&seed, 60)) {
		case 0:
			OK(volume_checkpoint(&volume, false));
			check_usage(&volume, &model);
			break;
		case 1: case 2: case 3:
			OK(volume_commit(&volume));
			break;
		case 4:
			OK(volume_maintain(&volume));
			break;
		case 5:
			OK(volume_commit(&volume));
			mount_again(disk, &volume, is_plain);
			break;
		case 6:
			if (model_compare(&volume, &model))
				fail_test(__FILE__, i, "differs", model_compare(&volume, &model));
			break;
		}
	}
	OK(volume_checkpoint(&volume, true));
	check_usage(&volume, &model);
	mount_again(disk, &volume, is_plain);
	if (model_compare(&volume, &model))
		fail_test(__FILE__, __LINE__, "differs at the end", model_compare(&volume, &model));
	check_usage(&volume, &model);
	TRUE(!disk->reports);
	printf("%d steps, %u syncs\n", steps, disk->syncs);
	return 0;
}
