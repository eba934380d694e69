/*
 * checkpoint.c - the state that a mount starts from.
 *
 * Owns: saving nodes, records, the inode table; the two checkpoint blocks. Must never: write a checkpoint before all that it
 * names is synced, or free what the last durable one names. Called by: maintain.c, commit.c, mount.c, the runtime host at the end.
 *
 * What was saved in memory stays right when a checkpoint fails or its process is killed: the tree then names blocks that no
 * durable checkpoint names yet, and the next one goes on from there.
 */
#include "blocks.h"
#include "cache.h"
#include "cipher.h"
#include "commit.h"
#include "inodes.h"
#include "nodes.h"
#include "window.h"

enum { FAN_BITS = 7 };

/* Sealed nodes that wait to be written, in the log's buffer: the commit lock is held. */
struct saved { uint32_t slot, changes; uint64_t ino, index; struct volume_entry entry; };
struct save { uint32_t level, count; struct saved nodes[STAGING_BLOCKS]; };

_Static_assert(sizeof(struct save) <= VOLUME_BLOCK * 2 && STAGING_BLOCKS <= BATCH_BLOCKS, "fits on a stack");

static bool is_table(const struct vol_node *node)
{
	return node->ino == VOLUME_TABLE_INO;
}

/* One user more, of the table too. */
static long hold(struct volume *volume, uint64_t ino, struct vol_inode **inode)
{
	if (ino != VOLUME_TABLE_INO)
		return inode_take(volume, ino, inode);
	*inode = &volume->arena->table;
	inode_share(*inode);
	return 0;
}

static void let_go(struct volume *volume, struct vol_inode *inode)
{
	if (inode == &volume->arena->table)
		__atomic_fetch_sub(&inode->users, 1, __ATOMIC_RELEASE);
	else
		inode_put(volume, inode);
}

static void node_saved(struct volume *volume, struct vol_node *node, uint32_t changes)
{
	if (node->changes != changes)
		return;
	node->flags &= ~(uint32_t)NODE_CHANGED;
	if (bit_clear(volume->arena->node_changed, node_slot(volume, node)))
		__atomic_fetch_sub(&volume->arena->changed_nodes, 1, __ATOMIC_RELAXED);
}

static bool is_empty(struct volume *volume, const struct vol_node *node)
{
	const struct volume_entry *entries = node_entries(volume, node);

	for (int i = 0; i < VOLUME_FAN; i++)
		if (!entry_is_hole(&entries[i]))
			return false;
	return true;
}

/* Nodes below it that are in memory only need it there. */
static bool has_children(struct volume *volume, const struct vol_node *node)
{
	for (uint64_t i = 0; node->level > 1 && i < VOLUME_FAN; i++)
		if (node_find(volume, node->ino, node->level - 1, (node->index << FAN_BITS) + i))
			return true;
	return false;
}

/* The tree names a locked node's new place, or that there is none. */
static long name_node(struct volume *volume, struct vol_inode *inode, struct vol_node *node, const struct volume_entry *entry)
{
	struct volume_entry before[VOLUME_DIRECT] = { 0 }, own = *entry;

	VOL_TRY(node_own_entry(volume, inode, node, false, before));
	VOL_TRY(node_own_entry(volume, inode, node, true, &own));
	inode_mark(volume, inode, false);
	blocks_free(volume, before[0].block, FREED_BY_CHECKPOINT);
	return 0;
}

/* What a node needs without being written: 1 if it must be. */
static long save_simply(struct volume *volume, struct vol_inode *inode, struct vol_node *node)
{
	struct volume_entry none = { 0 };
	uint32_t changes = node->changes;

	if (!inode->record.height && node->level == 1) {
		VOL_TRY(node_own_entry(volume, inode, node, true, node_entries(volume, node)));
		inode_mark(volume, inode, false);
		node_saved(volume, node, changes);
		return 0;
	}
	if (!is_empty(volume, node))
		return 1;
	VOL_TRY(name_node(volume, inode, node, &none));
	if (!has_children(volume, node))
		node_saved(volume, node, changes);
	return 0;
}

/* Seals one node, unless it needs no block. */
static long gather_locked(struct volume *volume, struct vol_inode *inode, struct vol_node *node, struct save *save)
{
	struct saved *saved = &save->nodes[save->count];
	long result;

	if (node->level > node_top(inode))
		return 0;	/* of somebody who was killed while he made the tree higher */
	if (node->index >> FAN_BITS * (node_top(inode) - node->level)) {
		node_saved(volume, node, node->changes);	/* left over from a time when the file was longer */
		return 0;
	}
	result = save_simply(volume, inode, node);
	if (result <= 0)
		return result;
	*saved = (struct saved){ node_slot(volume, node), node->changes, node->ino, node->index, { 0 } };
	cipher_begin(volume);
	cipher_seal_block(volume, cipher_place(node->ino, node->level, node->index), false, node_entries(volume, node),
			  volume->arena->log_buffer + (uint64_t)save->count * VOLUME_BLOCK, &saved->entry);
	cipher_end(volume);
	save->count++;
	return 0;
}

static long gather(struct volume *volume, struct vol_node *node, struct save *save)
{
	struct vol_inode *inode;
	uint64_t ino = node->ino;
	long result;

	VOL_TRY(hold(volume, ino, &inode));
	vol_lock(volume, &node->lock);
	result = node->is_used && node->ino == ino && node->level == save->level && node->flags & NODE_CHANGED ?
		 gather_locked(volume, inode, node, save) : 0;
	vol_unlock(volume, &node->lock);
	let_go(volume, inode);
	return result;
}

/* One that was written: the tree names it, if it is still there. 1: it isn't. */
static long place_one(struct volume *volume, struct save *save, const struct saved *saved)
{
	struct vol_node *node = &volume->arena->node[saved->slot];
	struct vol_inode *inode;
	long result = 1;

	VOL_TRY(hold(volume, saved->ino, &inode));
	vol_lock(volume, &node->lock);
	if (node->is_used && node->ino == saved->ino && node->index == saved->index && node->level == save->level) {
		result = name_node(volume, inode, node, &saved->entry);
		if (result >= 0)
			node_saved(volume, node, saved->changes);
	}
	vol_unlock(volume, &node->lock);
	let_go(volume, inode);
	return result;
}

/* Nodes first.. of the buffer stand in the blocks that were taken. A block that nothing came to name is freed as if it had been: it
 * is free after this checkpoint. */
static long place_run(struct volume *volume, struct save *save, uint32_t first, uint32_t count, uint32_t block)
{
	for (uint32_t i = 0; i < count; i++) {
		struct saved *saved = &save->nodes[first + i];
		long result;

		saved->entry.block = block + i;
		blocks_placing(volume, BLOCKS_FOR_LOG_BUFFER);
		result = place_one(volume, save, saved);
		if (result)
			blocks_free(volume, saved->entry.block, FREED_BY_CHECKPOINT);
		blocks_named(volume, BLOCKS_FOR_LOG_BUFFER);
		if (result < 0) {
			blocks_give_up(volume, BLOCKS_FOR_LOG_BUFFER);
			return result;
		}
	}
	return 0;
}

static long write_saved(struct volume *volume, struct save *save)
{
	uint32_t done = 0, first;

	while (done < save->count) {
		long taken = blocks_take(volume, save->count - done, BLOCKS_FOR_LOG_BUFFER, &first), result;

		VOL_TRY(taken);
		result = volume->host->write(volume->context, volume->arena->log_buffer + (uint64_t)done * VOLUME_BLOCK,
					     (uint64_t)taken * VOLUME_BLOCK, (uint64_t)first * VOLUME_BLOCK);
		if (result < 0) {
			blocks_give_up(volume, BLOCKS_FOR_LOG_BUFFER);
			return result;
		}
		VOL_TRY(place_run(volume, save, done, (uint32_t)taken, first));
		done += (uint32_t)taken;
	}
	save->count = 0;
	return 0;
}

/* The changed nodes of one level, of the table or of all others. */
static long save_level(struct volume *volume, uint32_t level, bool of_table)
{
	const uint64_t *changed = volume->arena->node_changed;
	struct save save;
	long result = 0;

	save.level = level;
	save.count = 0;
	for (uint64_t slot = bits_next(changed, 0, NODE_SLOTS); slot < NODE_SLOTS && result >= 0;
	     slot = bits_next(changed, slot + 1, NODE_SLOTS)) {
		struct vol_node *node = &volume->arena->node[slot];

		if (!node->is_used || node->level != level || is_table(node) != of_table)
			continue;
		result = gather(volume, node, &save);
		if (result >= 0 && save.count == STAGING_BLOCKS)
			result = write_saved(volume, &save);
	}
	if (result >= 0)
		result = write_saved(volume, &save);
	return result;
}

static long save_nodes(struct volume *volume, bool of_table)
{
	for (uint32_t level = 1; level <= VOLUME_HEIGHT_MAX; level++)
		VOL_TRY(save_level(volume, level, of_table));
	return 0;
}

/* Puts changed records into the table's chunks. */
static long save_records(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	for (uint64_t slot = bits_next(arena->inode_changed, 0, INODE_SLOTS); slot < INODE_SLOTS;
	     slot = bits_next(arena->inode_changed, slot + 1, INODE_SLOTS)) {
		struct vol_inode *inode = &arena->inode[slot];
		uint32_t changes = __atomic_load_n(&inode->changes, __ATOMIC_ACQUIRE);
		struct volume_record record = inode->record;

		VOL_TRY(data_put(volume, &arena->table, &record, sizeof record, inode->ino * sizeof record));
		bit_clear(arena->inode_changed, slot);
		__atomic_fetch_sub(&arena->changed_inodes, 1, __ATOMIC_RELAXED);
		__atomic_fetch_and(&inode->flags, ~(uint32_t)INODE_CHANGED, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&inode->changes, __ATOMIC_SEQ_CST) != changes)
			inode_mark(volume, inode, false);
	}
	return 0;
}

/* All that a checkpoint names is written; its table's record is put there. The tree's lock is held. */
static long save_all(struct volume *volume, struct volume_record *table)
{
	blocks_mark(volume, FREED_BY_CHECKPOINT);
	VOL_TRY(commit_collect(volume, NULL));
	VOL_TRY(save_nodes(volume, false));
	VOL_TRY(save_records(volume));
	VOL_TRY(cache_flush_table(volume));
	VOL_TRY(save_nodes(volume, true));
	*table = volume->arena->table.record;
	return 0;
}

static long write_checkpoint(struct volume *volume, const struct volume_record *table, bool is_last, struct volume_seal *seal)
{
	struct volume_arena *arena = volume->arena;
	uint64_t sequence = arena->checkpoint_sequence + 1;
	struct volume_checkpoint body = {
		.sequence = sequence, .log_at = arena->log_head % arena->log_blocks, .block_count = arena->block_count,
		.seconds = (uint64_t)volume->host->now(volume->context).seconds, .is_clean = is_last, .table = *table,
	};

	__atomic_store_n(&arena->log_is_broken, 1, __ATOMIC_RELEASE);
	*seal = (struct volume_seal){ .magic = VOLUME_MAGIC_CHECKPOINT, .size = sizeof body, .version = ++arena->version };
	memset(arena->log_buffer, 0, VOLUME_BLOCK);
	memcpy(arena->log_buffer + sizeof *seal, &body, sizeof body);
	cipher_begin(volume);
	cipher_seal_body(volume, seal, NULL, arena->log_buffer + sizeof *seal, sizeof body);
	cipher_end(volume);
	memcpy(arena->log_buffer, seal, sizeof *seal);
	return volume->host->write(volume->context, arena->log_buffer, VOLUME_BLOCK,
				   (VOLUME_CHECKPOINT_BLOCK + sequence % 2) * VOLUME_BLOCK);
}

long checkpoint_now(struct volume *volume, bool is_last)
{
	struct volume_arena *arena = volume->arena;
	struct volume_record table;
	struct volume_seal seal;
	long result;

	if (arena->is_readonly)
		return 0;
	VOL_TRY(arena_may_change(volume));
	commit_begins(volume);
	VOL_TRY(cache_flush_to(volume, 0));
	VOL_TRY(names_lock(volume));
	result = save_all(volume, &table);
	names_unlock(volume);
	VOL_TRY(result);
	VOL_TRY(commit_sync(volume));
	VOL_TRY(write_checkpoint(volume, &table, is_last, &seal));
	VOL_TRY(commit_sync(volume));
	arena->checkpoint_sequence++;
	arena->log_head %= arena->log_blocks;
	arena->log_used = 0;
	__atomic_store_n(&arena->log_is_broken, 0, __ATOMIC_RELEASE);
	commit_settles(volume, seal.version, seal.tag);
	blocks_release(volume, FREED_BY_CHECKPOINT);
	blocks_count(volume);	/* a killed process may have left that wrong */
	return 0;
}

static bool is_worth(const struct volume *volume)
{
	const struct volume_arena *arena = volume->arena;

	return commit_is_needed(volume) || arena->log_used || arena->log_is_broken ||
	       bits_next(arena->node_changed, 0, NODE_SLOTS) < NODE_SLOTS ||
	       bits_next(arena->inode_changed, 0, INODE_SLOTS) < INODE_SLOTS;
}

long volume_checkpoint(struct volume *volume, bool is_last)
{
	long result;

	vol_lock(volume, &volume->arena->commit);
	window_scan_all(volume);
	result = is_last || is_worth(volume) ? checkpoint_now(volume, is_last) : 0;
	if (result < 0)
		arena_waits(volume);
	vol_unlock(volume, &volume->arena->commit);
	return result;
}
