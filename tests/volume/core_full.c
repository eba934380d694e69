/*
 * core_full.c - a disk that is full: what is removed there makes room, again and again, and the next mount has room to begin.
 *
 * Owns: nothing. Must never: let the disk grow. Used by: test_core.py.
 */
#include <stdio.h>
#include "core_disk.h"
#include "../../libshim/volume/names.h"

enum { ROOM = 700, PIECE = 20000, ROUNDS = 6, SMALL = 40 };

static struct volume_shape shape;
static const struct vol_who root;

static struct vol_inode *top(struct volume *volume)
{
	struct vol_inode *inode;

	OK(inode_get(volume, VOLUME_ROOT_INO, &inode));
	return inode;
}

static void mount(struct disk *disk, struct volume *volume)
{
	struct volume_found found;

	*volume = disk_volume(disk);
	OK(volume_mount(volume, &shape, core_key, &found));
	OK(volume_checkpoint(volume, false));
}

/* Until nothing more fits; how many bytes did. */
static uint64_t fill(struct volume *volume, struct vol_inode *directory)
{
	static const uint8_t bytes[PIECE] = { 1 };
	const struct volume_record record = { .mode = 0100644 };
	struct vol_inode *inode;
	long result;

	OK(names_create(volume, directory, "f", 1, &record, &root, &inode));
	do
		result = inode_write(volume, inode, bytes, PIECE, INODE_APPEND, NULL);
	while (result > 0);
	TRUE(result == -ENOSPC);
	inode_put(volume, inode);
	return inode->record.size;
}

/* Small files until even these don't fit, then all of them go. */
static void fill_names(struct volume *volume, struct vol_inode *directory)
{
	const struct volume_record record = { .mode = 0100644 };
	struct vol_inode *inode;
	char name[SMALL];
	int count = 0, size;

	while (count < ROOM) {
		size = snprintf(name, sizeof name, "a-name-of-a-small-file-%d", count);
		if (names_create(volume, directory, name, (uint32_t)size, &record, &root, &inode) < 0)
			break;
		inode_put(volume, inode);
		count++;
	}
	while (count-- > 0) {
		size = snprintf(name, sizeof name, "a-name-of-a-small-file-%d", count);
		OK(names_unlink(volume, directory, name, (uint32_t)size, false, &root));
	}
}

int main(void)
{
	struct disk *disk = disk_new();
	struct volume volume;
	uint64_t first = 0;

	shape = core_shape(false);
	shape.cache_size = 2 << 20;
	volume = disk_volume(disk);
	OK(volume_format(&volume, &shape, core_key, 0755, 0, 0));
	volume_end(&volume);
	disk->limit = disk->size + ROOM * VOLUME_BLOCK;
	for (int i = 0; i < ROUNDS; i++) {
		struct vol_inode *directory;
		uint64_t size;

		mount(disk, &volume);
		directory = top(&volume);
		size = fill(&volume, directory);
		first = first ? first : size;
		TRUE(size >= first / 2);
		fill_names(&volume, directory);
		if (i % 2)		/* the other times the next mount finds a full disk */
			OK(names_unlink(&volume, directory, "f", 1, false, &root));
		OK(volume_commit(&volume));
		inode_put(&volume, directory);
		OK(volume_checkpoint(&volume, true));
		volume_end(&volume);
		if (i % 2)
			continue;
		mount(disk, &volume);
		directory = top(&volume);
		OK(names_unlink(&volume, directory, "f", 1, false, &root));
		inode_put(&volume, directory);
		OK(volume_checkpoint(&volume, true));
		volume_end(&volume);
	}
	printf("%d times full\n", ROUNDS);
	return 0;
}
