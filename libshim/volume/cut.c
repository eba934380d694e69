/*
 * cut.c - making files shorter, longer, and full of holes; finding these.
 *
 * Owns: inode_truncate, inode_punch, inode_seek. Must never: free a block that an entry still names. Called by: the shim,
 * names.c, inodes.c, mount.c.
 *
 * A node that is cut whole goes from its parent first, then its blocks are freed: who is killed between the two leaves them
 * used until the next mount.
 */
#include "blocks.h"
#include "cache.h"
#include "data.h"
#include "inodes.h"
#include "window.h"

enum { FAN_BITS = 7 };

/* Looks into the node at `level` that is over *index (at `target`): 0: the child there may exist; 1: *index went on. */
static long next_below(struct volume *volume, struct vol_inode *inode, uint32_t level, uint32_t target, uint64_t *index)
{
	uint32_t shift = FAN_BITS * (level - target), below = shift - FAN_BITS;
	struct vol_node *node;
	uint64_t own = *index >> shift, child = *index >> below, end = (own + 1) << FAN_BITS;

	VOL_TRY(node_lock(volume, (struct node_key){ inode, level, own }, false, &node));
	if (!node) {
		*index = (own + 1) << shift;
		return 1;
	}
	while (child < end && entry_is_hole(&node_entries(volume, node)[child % VOLUME_FAN]) &&
	       !node_find(volume, inode->ino, level - 1, child))
		child++;
	node_unlock(volume, node);
	if (child == *index >> below)
		return 0;
	*index = child << below;
	return child == end;
}

long node_next(struct volume *volume, struct vol_inode *inode, uint32_t level, uint64_t *index)
{
	uint32_t top = node_top(inode);
	uint64_t end;

	if (level > top)
		return 1;
	end = 1ULL << FAN_BITS * (top - level);
	while (*index < end) {
		long result = 0;

		for (uint32_t at = top; at > level && result == 0; at--)
			result = next_below(volume, inode, at, level, index);
		if (result <= 0)
			return result;
	}
	return 1;
}

/* To be logged: set within each node's critical section, before blocks are freed, so that a commit which makes these free has it. */
static void set_cut(struct volume *volume, struct vol_inode *inode, uint64_t first)
{
	uint64_t before = __atomic_load_n(&inode->cut, __ATOMIC_RELAXED);

	while ((!before || before > first + 1) &&
	       !__atomic_compare_exchange_n(&inode->cut, &before, first + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
	inode_changed(volume, inode);
}

/* A chunk of a locked node becomes a hole, inside of node_begin and node_end. One that a mapping shows stays valid. */
static void clear_chunk(struct volume *volume, struct vol_inode *inode, struct vol_node *node, uint32_t at)
{
	struct volume_entry *entry = &node_entries(volume, node)[at];
	uint32_t block = entry->block;

	if (mask_test(&node->dirty, at))
		__atomic_fetch_sub(&volume->arena->dirty, 1, __ATOMIC_RELAXED);
	if (block || mask_test(&node->dirty, at))
		__atomic_fetch_sub(&inode->record.chunks, inode->record.chunks > 0, __ATOMIC_RELAXED);
	mask_clear(&node->dirty, at);
	if (node->flags & NODE_MAPPED) {
		memset(node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK, 0, VOLUME_BLOCK);
		window_note(volume, node, at, node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK);	/* no mapping did it */
	} else if (mask_test(&node->valid, at)) {
		__atomic_fetch_sub(&volume->arena->cached, 1, __ATOMIC_RELAXED);
		mask_clear(&node->valid, at);
	}
	*entry = (struct volume_entry){ 0 };
	blocks_free(volume, block, FREED_BY_COMMIT);
}

/* All of a locked node goes; it is unlocked. */
static long cut_whole(struct volume *volume, struct vol_inode *inode, struct vol_node *node, uint64_t first)
{
	struct volume_entry own[VOLUME_DIRECT] = { 0 }, none[VOLUME_DIRECT] = { 0 };
	bool has_block = inode->record.height;
	long result = node_own_entry(volume, inode, node, false, own);

	set_cut(volume, inode, first);
	if (result >= 0)
		result = node_own_entry(volume, inode, node, true, none);
	if (result < 0) {
		node_unlock(volume, node);
		return result;
	}
	if (node->level == node_top(inode))
		inode_mark(volume, inode, false);
	node_begin(node);
	for (uint32_t at = 0; at < VOLUME_FAN && node->level == 1; at++)
		clear_chunk(volume, inode, node, at);
	node_end(node);
	if (has_block)
		blocks_free(volume, own[0].block, FREED_BY_CHECKPOINT);
	node_drop(volume, node);
	return 0;
}

/* Chunks from `from` on, of a node, go. */
static void cut_part(struct volume *volume, struct vol_inode *inode, struct vol_node *node, uint64_t first)
{
	uint64_t begin = node->index << FAN_BITS;

	set_cut(volume, inode, first);
	node_changed(volume, node);
	node_begin(node);
	for (uint32_t at = first > begin ? (uint32_t)(first - begin) : 0; at < VOLUME_FAN; at++)
		clear_chunk(volume, inode, node, at);
	node_end(node);
}

/* Nodes of one level. Those above level 1 have nothing left from `first` on; only whole ones go. */
static long cut_level(struct volume *volume, struct vol_inode *inode, uint32_t level, uint64_t first)
{
	uint64_t index = first >> FAN_BITS * level;
	long result;

	for (;; index++) {	/* ends behind the last node that exists */
		struct vol_node *node;

		result = node_next(volume, inode, level, &index);
		if (result)
			return result < 0 ? result : 0;
		VOL_TRY(node_lock(volume, (struct node_key){ inode, level, index }, false, &node));
		if (!node)
			continue;
		if (index << FAN_BITS * level >= first && !(node->flags & NODE_MAPPED)) {
			VOL_TRY(cut_whole(volume, inode, node, first));
			continue;
		}
		if (level == 1)
			cut_part(volume, inode, node, first);
		node_unlock(volume, node);
	}
}

/* Nothing is left: the tree has no height. */
static void flatten(struct volume *volume, struct vol_inode *inode)
{
	if (node_find(volume, inode->ino, node_top(inode), 0))
		return;
	vol_lock(volume, &inode->root);
	__atomic_store_n(&inode->record.height, 0, __ATOMIC_RELEASE);
	vol_unlock(volume, &inode->root);
}

long data_cut(struct volume *volume, struct vol_inode *inode, uint64_t first)
{
	__atomic_fetch_or(&inode->flags, INODE_CUTTING, __ATOMIC_ACQ_REL);
	inode_changed(volume, inode);
	for (uint32_t level = 1, top = node_top(inode); level <= top; level++)
		VOL_TRY(cut_level(volume, inode, level, first));
	if (!first)
		flatten(volume, inode);
	__atomic_fetch_and(&inode->flags, ~(uint32_t)INODE_CUTTING, __ATOMIC_ACQ_REL);
	return 0;
}

static uint64_t chunks_of(uint64_t size)
{
	return (size + VOLUME_BLOCK - 1) / VOLUME_BLOCK;
}

long data_recut(struct volume *volume, struct vol_inode *inode)
{
	if (!(__atomic_load_n(&inode->flags, __ATOMIC_ACQUIRE) & INODE_CUTTING))
		return 0;
	return data_cut(volume, inode, chunks_of(inode->record.size));
}

/* The size first: chunks behind it are nobody's, also if what follows is never done. */
static long shorten(struct volume *volume, struct vol_inode *inode, uint64_t size)
{
	uint64_t chunk_end = chunks_of(size) * VOLUME_BLOCK;

	__atomic_fetch_or(&inode->flags, INODE_CUTTING, __ATOMIC_ACQ_REL);
	__atomic_store_n(&inode->record.size, size, __ATOMIC_RELEASE);
	VOL_TRY(data_cut(volume, inode, chunks_of(size)));
	return data_zero(volume, inode, size, chunk_end);
}

long inode_truncate_locked(struct volume *volume, struct vol_inode *inode, uint64_t size)
{
	VOL_TRY(arena_may_change(volume));
	if (size > 1ULL << 47)
		return -EFBIG;
	inode_changed(volume, inode);
	if (size > inode->record.size) {
		VOL_TRY(data_extend(volume, inode, size));
		__atomic_store_n(&inode->record.size, size, __ATOMIC_RELEASE);
	} else if (size < inode->record.size) {
		VOL_TRY(shorten(volume, inode, size));
	}
	data_touch(volume, inode);
	return 0;
}

long inode_truncate(struct volume *volume, struct vol_inode *inode, uint64_t size)
{
	long result;
	int tries = 0;

	VOL_TRY(volume_make_room(volume));
	do {
		vol_lock(volume, &inode->lock);
		result = inode_truncate_locked(volume, inode, size);
		vol_unlock(volume, &inode->lock);
	} while (data_tries_again(volume, result, tries++));
	return result;
}

/* Whole chunks first..last of a locked node; what a mapping shows becomes zeros instead. */
static void punch_node(struct volume *volume, struct vol_inode *inode, struct vol_node *node, uint32_t first, uint32_t last)
{
	node_changed(volume, node);
	node_pends(volume, node);
	node_begin(node);
	for (uint32_t at = first; at <= last; at++) {
		if (entry_is_hole(&node_entries(volume, node)[at]) && !mask_test(&node->dirty, at) &&
		    !mask_test(&node->valid, at))
			continue;
		mask_set(&node->unlogged, at);
		clear_chunk(volume, inode, node, at);
	}
	node_end(node);
}

static long punch_chunks(struct volume *volume, struct vol_inode *inode, uint64_t first, uint64_t end)
{
	uint64_t index = first >> FAN_BITS;
	long result;

	for (; index << FAN_BITS < end; index++) {
		struct vol_node *node;
		uint64_t begin;

		result = node_next(volume, inode, 1, &index);
		begin = index << FAN_BITS;
		if (result || begin >= end)
			return result < 0 ? result : 0;
		VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, index }, false, &node));
		if (!node)
			continue;
		punch_node(volume, inode, node, first > begin ? (uint32_t)(first - begin) : 0,
			   end - begin < VOLUME_FAN ? (uint32_t)(end - begin) - 1 : VOLUME_FAN - 1);
		node_unlock(volume, node);
	}
	return 0;
}

static long punch_locked(struct volume *volume, struct vol_inode *inode, uint64_t from, uint64_t to)
{
	uint64_t first = chunks_of(from), end = to / VOLUME_BLOCK;

	VOL_TRY(arena_may_change(volume));
	if (to <= from)
		return 0;
	inode_changed(volume, inode);
	if (first > end) {	/* within one chunk */
		VOL_TRY(data_zero(volume, inode, from, to));
	} else {
		VOL_TRY(data_zero(volume, inode, from, first * VOLUME_BLOCK));
		VOL_TRY(data_zero(volume, inode, end * VOLUME_BLOCK, to));
		VOL_TRY(punch_chunks(volume, inode, first, end));
	}
	data_touch(volume, inode);
	return 0;
}

long inode_punch(struct volume *volume, struct vol_inode *inode, uint64_t from, uint64_t to)
{
	long result;
	int tries = 0;

	VOL_TRY(volume_make_room(volume));
	do {
		vol_lock(volume, &inode->lock);
		result = punch_locked(volume, inode, from, to);
		vol_unlock(volume, &inode->lock);
	} while (data_tries_again(volume, result, tries++));
	return result;
}

static bool is_data_chunk(struct volume *volume, const struct vol_node *node, uint32_t at)
{
	return mask_test(&node->dirty, at) || !entry_is_hole(&node_entries(volume, node)[at]);
}

/* The first chunk from *chunk on, in its node, that is (is_data) or is not data: 0 and *chunk; 1: none, *chunk is the next node's. */
static long seek_node(struct volume *volume, struct vol_inode *inode, uint64_t *chunk, bool is_data)
{
	struct vol_node *node;
	uint64_t end = (*chunk / VOLUME_FAN + 1) * VOLUME_FAN;

	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, *chunk / VOLUME_FAN }, false, &node));
	if (!node && !is_data)
		return 0;
	while (node && *chunk < end && is_data_chunk(volume, node, *chunk % VOLUME_FAN) != is_data)
		++*chunk;
	if (node)
		node_unlock(volume, node);
	else
		*chunk = end;
	return *chunk == end;
}

long inode_seek(struct volume *volume, struct vol_inode *inode, uint64_t at, bool is_data)
{
	uint64_t size = __atomic_load_n(&inode->record.size, __ATOMIC_ACQUIRE), chunk = at / VOLUME_BLOCK;
	long result = 1;

	if (at >= size)
		return -ENXIO;
	while (result && chunk * VOLUME_BLOCK < size) {
		uint64_t index = chunk / VOLUME_FAN;

		if (is_data) {
			result = node_next(volume, inode, 1, &index);
			if (result)
				return result < 0 ? result : -ENXIO;
			chunk = index * VOLUME_FAN > chunk ? index * VOLUME_FAN : chunk;
		}
		result = seek_node(volume, inode, &chunk, is_data);
		VOL_TRY(result);
	}
	if (chunk * VOLUME_BLOCK >= size)
		return is_data ? -ENXIO : (long)size;
	return (long)(chunk * VOLUME_BLOCK > at ? chunk * VOLUME_BLOCK : at);
}
