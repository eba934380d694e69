/*
 * through.c - big transfers that go past the cache.
 *
 * Owns: reads and writes of many whole chunks that are not in memory, by a staging buffer. Must never: give out what a wrong tag
 * came with, or look at the program's memory twice. Called by: data.c, with the node locked.
 *
 * Memory that is touched for the first time costs more than the cipher: a page fault, a page that is cleared, in a virtual machine
 * often one that its host has to find first. A file that is read once through, or written in big pieces, doesn't need it. Who reads
 * a file through a second time gets it into the cache.
 */
#include "blocks.h"
#include "cache.h"
#include "cipher.h"
#include "data.h"
#include "through.h"

enum { FAN_BITS = 7, BIG = 32, TYPE_MASK = 0170000, TYPE_REGULAR = 0100000 };

static uint64_t chunk_of(const struct through *through, uint32_t at)
{
	return (through->node->index << FAN_BITS) + at;
}

static bool is_apt(const struct through *through)
{
	const struct vol_node *node = through->node;

	if (through->count < BIG || node->ino == VOLUME_TABLE_INO || node->flags & NODE_MAPPED ||
	    (through->inode->record.mode & TYPE_MASK) != TYPE_REGULAR)
		return false;
	for (uint32_t i = 0; i < through->count; i++)
		if (mask_test(&node->valid, through->first + i))
			return false;
	return true;
}

bool through_reads(struct volume *volume, const struct through *through)
{
	struct mask *streamed = &through->node->streamed;
	bool is_huge = through->inode->record.size / VOLUME_BLOCK > volume->arena->cache_size / 2, is_again = false;

	if (!is_apt(through))
		return false;
	for (uint32_t i = 0; i < through->count; i++) {
		is_again |= mask_test(streamed, through->first + i);
		mask_set(streamed, through->first + i);
	}
	return is_huge || !is_again;
}

bool through_writes(const struct through *through)
{
	return is_apt(through);
}

/* Adjacent blocks, or adjacent holes. */
static uint32_t run_from(const struct volume_entry *entries, uint32_t at, uint32_t end)
{
	uint32_t count = 1;

	while (at + count < end && entries[at + count].block == (entries[at].block ? entries[at].block + count : 0))
		count++;
	return count;
}

static long open_run(struct volume *volume, const struct through *through, uint32_t at, uint32_t count, uint8_t *bytes)
{
	const struct vol_node *node = through->node;
	const struct volume_entry *entries = node_entries(volume, node);
	uint32_t wrong = VOLUME_FAN;

	cipher_begin(volume);
	for (uint32_t i = 0; i < count && wrong == VOLUME_FAN; i++) {
		uint8_t *own = bytes + (uint64_t)i * VOLUME_BLOCK;

		if (!cipher_open_block(volume, cipher_place(node->ino, 0, chunk_of(through, at + i)), node->flags & NODE_PLAIN, own, own,
				       &entries[at + i]))
			wrong = at + i;
	}
	cipher_end(volume);
	if (wrong == VOLUME_FAN)
		return 0;
	volume->host->report(volume->context, node->ino, chunk_of(through, wrong) * VOLUME_BLOCK, VOLUME_BLOCK,
			     "damaged, or changed by somebody else");
	return -EIO;
}

static long read_run(struct volume *volume, const struct through *through, uint32_t at, uint32_t count, void *to)
{
	const struct volume_entry *entry = &node_entries(volume, through->node)[at];
	uint32_t staging = staging_take(volume);
	uint8_t *bytes = volume->arena->staging_bytes[staging];
	uint64_t size = (uint64_t)count * VOLUME_BLOCK;
	long result = volume->host->read(volume->context, bytes, size, (uint64_t)entry->block * VOLUME_BLOCK);

	if (result < 0) {
		volume->host->report(volume->context, through->node->ino, chunk_of(through, at) * VOLUME_BLOCK, size, "can't be read");
		result = -EIO;
	}
	if (result >= 0)
		result = open_run(volume, through, at, count, bytes);
	if (result >= 0)
		result = volume->host->copy(volume->context, to, bytes, size);
	staging_give(volume, staging);
	return result;
}

static long read_holes(struct volume *volume, uint32_t count, uint8_t *to)
{
	for (uint32_t i = 0; i < count; i++)
		VOL_TRY(volume->host->copy(volume->context, to + (uint64_t)i * VOLUME_BLOCK, data_zeros, VOLUME_BLOCK));
	return 0;
}

long through_read(struct volume *volume, const struct through *through, void *to)
{
	const struct volume_entry *entries = node_entries(volume, through->node);
	uint32_t end = through->first + through->count;

	for (uint32_t at = through->first, count; at < end; at += count) {
		uint8_t *place = (uint8_t *)to + (uint64_t)(at - through->first) * VOLUME_BLOCK;

		count = run_from(entries, at, end);
		VOL_TRY(entry_is_hole(&entries[at]) ? read_holes(volume, count, place) : read_run(volume, through, at, count, place));
	}
	return 0;
}

long through_write(struct volume *volume, const struct through *through, const void *from)
{
	uint32_t staging = staging_take(volume), done = 0;
	uint8_t *bytes = volume->arena->staging_bytes[staging];
	long result = 0;

	node_pends(volume, through->node);
	while (done < through->count && result >= 0) {
		uint64_t at = (uint64_t)done * VOLUME_BLOCK;

		result = volume->host->copy(volume->context, bytes, (const uint8_t *)from + at, (through->count - done) * (uint64_t)VOLUME_BLOCK);
		if (result >= 0)
			result = cache_write_staged(volume, through->node, through->first + done, through->count - done, staging);
		if (result > 0)
			done += (uint32_t)result;
	}
	staging_give(volume, staging);
	return done ? (long)done : result;
}
