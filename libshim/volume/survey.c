/*
 * survey.c - reading a volume's whole tree at a mount.
 *
 * Owns: finding out which blocks and which numbers are used, and that no block is used twice; freeing orphans. Must never: read
 * chunks of files. Called by: mount.c.
 */
#include "blocks.h"
#include "data.h"
#include "inodes.h"
#include "mount.h"

enum { FAN_BITS = 7 };

static long damaged(struct volume *volume, uint64_t ino, uint64_t chunk, const char *why)
{
	volume->host->report(volume->context, ino, chunk * VOLUME_BLOCK, VOLUME_BLOCK, why);
	return -EBADMSG;
}

/* What a locked node names. Chunks behind the file's end are what a crash left between two steps of a write or cut. */
static long claim_entries(struct volume *volume, struct vol_inode *inode, struct vol_node *node, uint64_t end)
{
	struct volume_entry *entries = node_entries(volume, node);

	for (uint32_t at = 0; at < VOLUME_FAN; at++) {
		uint64_t chunk = ((node->index << FAN_BITS) + at) << FAN_BITS * (node->level - 1);

		if (entry_is_hole(&entries[at]))
			continue;
		if (node->level == 1 && chunk >= end) {
			node_changed(volume, node);
			inode_mark(volume, inode, false);
			entries[at] = (struct volume_entry){ 0 };
			continue;
		}
		if (!blocks_claim(volume, entries[at].block))
			return damaged(volume, inode->ino, chunk, "a block is named twice, or outside of the container");
		inode->record.chunks += node->level == 1;
	}
	return 0;
}

static long survey_level(struct volume *volume, struct vol_inode *inode, uint32_t level, uint64_t end)
{
	for (uint64_t index = 0;; index++) {	/* ends behind the last node that exists */
		struct vol_node *node;
		long result = node_next(volume, inode, level, &index);

		if (result)
			return result < 0 ? result : 0;
		VOL_TRY(node_lock(volume, (struct node_key){ inode, level, index }, false, &node));
		if (!node)
			continue;
		result = claim_entries(volume, inode, node, end);
		node_unlock(volume, node);
		VOL_TRY(result);
	}
}

static long survey_inode(struct volume *volume, struct vol_inode *inode)
{
	uint64_t end = (inode->record.size + VOLUME_BLOCK - 1) / VOLUME_BLOCK, chunks = inode->record.chunks;

	if (inode->record.height > VOLUME_HEIGHT_MAX)
		return damaged(volume, inode->ino, 0, "its record makes no sense");
	if (inode->record.height && !entry_is_hole(&inode->record.entry[0]) &&
	    !blocks_claim(volume, inode->record.entry[0].block))
		return damaged(volume, inode->ino, 0, "a block is named twice, or outside of the container");
	inode->record.chunks = 0;
	for (uint32_t level = node_top(inode); level; level--)
		VOL_TRY(survey_level(volume, inode, level, end));
	if (inode->record.chunks != chunks)
		inode_mark(volume, inode, false);
	return 0;
}

static bool is_orphan(const struct volume *volume, const struct vol_inode *inode)
{
	return !inode->record.nlink && !volume->arena->is_readonly;
}

static long survey_number(struct volume *volume, uint64_t ino)
{
	struct vol_inode *inode;
	long result;

	VOL_TRY(inode_take(volume, ino, &inode));
	if (!inode->record.mode) {
		__atomic_fetch_sub(&inode->users, 1, __ATOMIC_RELEASE);
		return 0;
	}
	bit_set(volume->arena->ino_used, ino);
	__atomic_fetch_add(&volume->arena->inodes_used, 1, __ATOMIC_RELAXED);
	if (is_orphan(volume, inode)) {
		inode_put(volume, inode);	/* the last user of one without a name frees it */
		return 0;
	}
	result = survey_inode(volume, inode);
	__atomic_fetch_sub(&inode->users, 1, __ATOMIC_RELEASE);
	return result;
}

/* Numbers first.. of one chunk of the table. What the replay changed is in memory; else a record that is free needs no slot. */
static long survey_chunk(struct volume *volume, uint64_t first)
{
	struct volume_record record;

	for (uint64_t ino = first; ino < first + TABLE_PER_CHUNK; ino++) {
		if (ino == VOLUME_TABLE_INO)
			continue;
		if (!inode_find(volume, ino)) {
			VOL_TRY(data_get(volume, &volume->arena->table, &record, sizeof record, ino * sizeof record));
			if (!record.mode)
				continue;
		}
		VOL_TRY(survey_number(volume, ino));
	}
	return 0;
}

/* One more than the highest number that may be in use. */
static uint64_t numbers_end(const struct volume *volume)
{
	const struct volume_arena *arena = volume->arena;
	uint64_t end = arena->table.record.size / sizeof(struct volume_record);

	for (uint64_t slot = bits_next(arena->inode_taken, 0, INODE_SLOTS); slot < INODE_SLOTS;
	     slot = bits_next(arena->inode_taken, slot + 1, INODE_SLOTS))
		if (arena->inode[slot].ino >= end)
			end = arena->inode[slot].ino + 1;
	return end;
}

long survey_all(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	uint64_t end = numbers_end(volume);

	if (arena->table.record.size > (uint64_t)INODES_MAX * sizeof(struct volume_record))
		return damaged(volume, VOLUME_TABLE_INO, 0, "the inode table makes no sense");
	VOL_TRY(survey_inode(volume, &arena->table));
	bit_set(arena->ino_used, VOLUME_TABLE_INO);
	arena->ino_lowest = VOLUME_ROOT_INO;
	for (uint64_t ino = 0; ino < end; ino += TABLE_PER_CHUNK)
		VOL_TRY(survey_chunk(volume, ino));
	if (!bit_test(arena->ino_used, VOLUME_ROOT_INO))
		return damaged(volume, VOLUME_ROOT_INO, 0, "there is no root directory");
	return 0;
}
