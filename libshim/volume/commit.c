/*
 * commit.c - making all that changed durable with one sync.
 *
 * Owns: volume_commit; the marks from unlogged over logging to durable. Must never: drop a mark before the sync returned. Called
 * by: the shim for every fsync, maintain.c, checkpoint.c.
 *
 *   dirty --flush--> unlogged --collect--> logging --sync--> (nothing)        a chunk
 *                        UNLOGGED --collect--> LOGGING --sync--> (nothing)    a record, a cut
 *
 * What is logging stays so when a commit fails or its process is killed: the next one takes it again. That one is a checkpoint,
 * since batches of the unfinished one may stand in the log.
 */
#include "blocks.h"
#include "cache.h"
#include "cipher.h"
#include "commit.h"
#include "inodes.h"
#include "window.h"

enum { FAN_BITS = 7, FLUSH_BEFORE = 256 };

bool commit_is_needed(const struct volume *volume)
{
	const struct volume_arena *arena = volume->arena;

	return bits_next(arena->node_pending, 0, NODE_SLOTS) < NODE_SLOTS ||
	       bits_next(arena->inode_pending, 0, INODE_SLOTS) < INODE_SLOTS;
}

void commit_begins(struct volume *volume)
{
	__atomic_fetch_add(&volume->arena->commits_begun, 1, __ATOMIC_ACQ_REL);
	__atomic_store_n(&volume->arena->waiting_since, 0, __ATOMIC_RELEASE);
}

long commit_sync(struct volume *volume)
{
	if (volume->host->sync(volume->context) >= 0)
		return 0;
	__atomic_store_n(&volume->arena->is_broken, 1, __ATOMIC_RELEASE);
	volume->host->report(volume->context, 0, 0, 0, "a sync failed: nothing more is written");
	return -EIO;
}

/* Where its chunks were cut; a cut meanwhile that goes further down is taken, too. */
static long collect_cut(struct volume *volume, struct vol_inode *inode, struct log_writer *writer)
{
	uint64_t cut = __atomic_load_n(&inode->cut, __ATOMIC_ACQUIRE), first;

	while (cut) {
		if (!inode->cut_logging || cut < inode->cut_logging)
			inode->cut_logging = cut;
		if (__atomic_compare_exchange_n(&inode->cut, &cut, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			break;
	}
	if (!inode->cut_logging || !writer)
		return 0;
	first = inode->cut_logging - 1;
	return log_add(volume, writer, ITEM_CUT, inode->ino, &first, sizeof first);
}

/* The record may be changed meanwhile by a write: then it is unlogged again, for the next commit. */
static long collect_record(struct volume *volume, struct vol_inode *inode, struct log_writer *writer)
{
	struct volume_record record;

	__atomic_fetch_or(&inode->flags, INODE_LOGGING, __ATOMIC_ACQ_REL);
	__atomic_fetch_and(&inode->flags, ~(uint32_t)INODE_UNLOGGED, __ATOMIC_ACQ_REL);
	if (!writer)
		return 0;
	record = inode->record;
	record.height = 0;
	memset(record.entry, 0, sizeof record.entry);
	return log_add(volume, writer, ITEM_INODE, inode->ino, &record, sizeof record);
}

static long collect_inodes(struct volume *volume, struct log_writer *writer,
			   long (*collect)(struct volume *, struct vol_inode *, struct log_writer *))
{
	const uint64_t *pending = volume->arena->inode_pending;

	for (uint64_t slot = bits_next(pending, 0, INODE_SLOTS); slot < INODE_SLOTS;
	     slot = bits_next(pending, slot + 1, INODE_SLOTS)) {
		long result = collect(volume, &volume->arena->inode[slot], writer);

		if (result)
			return result;
	}
	return 0;
}

/* A locked node's chunks. */
static long collect_node(struct volume *volume, struct vol_node *node, struct log_writer *writer)
{
	const struct volume_entry *entries = node_entries(volume, node);

	VOL_TRY(cache_flush(volume, node));
	for (int i = 0; i < 2; i++) {
		node->logging.word[i] |= node->unlogged.word[i];
		node->unlogged.word[i] = 0;
	}
	for (uint32_t at = 0; writer && at < VOLUME_FAN; at++) {
		long result;

		if (!mask_test(&node->logging, at))
			continue;
		result = log_chunk(volume, writer, node->ino, (node->index << FAN_BITS) + at, &entries[at]);
		if (result)
			return result;
	}
	return 0;
}

static long collect_nodes(struct volume *volume, struct log_writer *writer)
{
	const uint64_t *pending = volume->arena->node_pending;
	long result = 0;

	for (uint64_t slot = bits_next(pending, 0, NODE_SLOTS); slot < NODE_SLOTS && !result;
	     slot = bits_next(pending, slot + 1, NODE_SLOTS)) {
		struct vol_node *node = &volume->arena->node[slot];

		vol_lock(volume, &node->lock);
		if (node->is_used && node->ino != VOLUME_TABLE_INO)
			result = collect_node(volume, node, writer);
		vol_unlock(volume, &node->lock);
	}
	return result;
}

/* Records behind chunks: a mount finds the chunks' inode before it knows what that is, which it needs not. */
long commit_collect(struct volume *volume, struct log_writer *writer)
{
	long result;

	blocks_mark(volume, FREED_BY_COMMIT);
	result = collect_inodes(volume, writer, collect_cut);
	if (!result)
		result = collect_nodes(volume, writer);
	return result ? result : collect_inodes(volume, writer, collect_record);
}

static void settle_nodes(struct volume *volume)
{
	uint64_t *pending = volume->arena->node_pending;

	for (uint64_t slot = bits_next(pending, 0, NODE_SLOTS); slot < NODE_SLOTS;
	     slot = bits_next(pending, slot + 1, NODE_SLOTS)) {
		struct vol_node *node = &volume->arena->node[slot];

		vol_lock(volume, &node->lock);
		node->logging = (struct mask){ 0 };
		if (!mask_any(&node->dirty) && !mask_any(&node->unlogged))
			bit_clear(pending, slot);
		vol_unlock(volume, &node->lock);
	}
}

/* Who marks an inode sets its flag first, then the bit; here the bit goes first, and comes back if the flag is there. */
static void settle_inodes(struct volume *volume)
{
	uint64_t *pending = volume->arena->inode_pending;

	for (uint64_t slot = bits_next(pending, 0, INODE_SLOTS); slot < INODE_SLOTS;
	     slot = bits_next(pending, slot + 1, INODE_SLOTS)) {
		struct vol_inode *inode = &volume->arena->inode[slot];

		inode->cut_logging = 0;
		bit_clear(pending, slot);
		__atomic_fetch_and(&inode->flags, ~(uint32_t)INODE_LOGGING, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&inode->flags, __ATOMIC_SEQ_CST) & INODE_UNLOGGED)
			bit_set(pending, slot);
	}
}

void commit_settles(struct volume *volume, uint64_t version, const uint8_t *tag)
{
	struct volume_arena *arena = volume->arena;

	__atomic_store_n(&arena->durable_sequence, arena->durable_sequence | 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	arena->durable_version = version;
	memcpy(arena->durable_tag, tag, VOLUME_TAG_SIZE);
	__atomic_store_n(&arena->durable_sequence, arena->durable_sequence + 1, __ATOMIC_RELEASE);
	settle_nodes(volume);
	settle_inodes(volume);
	blocks_release(volume, FREED_BY_COMMIT);
	__atomic_store_n(&arena->commits_done, arena->commits_begun, __ATOMIC_RELEASE);
}

void volume_durable(struct volume *volume, uint64_t *version, uint8_t tag[VOLUME_TAG_SIZE])
{
	struct volume_arena *arena = volume->arena;

	vol_lock(volume, &arena->commit);
	*version = arena->durable_version;
	memcpy(tag, arena->durable_tag, VOLUME_TAG_SIZE);
	vol_unlock(volume, &arena->commit);
}

/* By the log. LOG_FULL: not so. */
static long commit_by_log(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	struct log_writer writer;
	long result;

	if (counter(&arena->dirty) > FLUSH_BEFORE)
		VOL_TRY(cache_flush_to(volume, 0));
	log_begin(volume, &writer);
	VOL_TRY(names_lock(volume));
	result = commit_collect(volume, &writer);
	names_unlock(volume);
	if (!result)
		result = log_write(volume, &writer, true);
	if (result)
		return result;
	VOL_TRY(commit_sync(volume));
	arena->log_head = writer.head;
	arena->log_used = writer.used;
	__atomic_store_n(&arena->log_is_broken, 0, __ATOMIC_RELEASE);
	commit_settles(volume, writer.version, writer.tag);
	return 0;
}

long commit_now(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	long result = LOG_FULL;

	if (arena->is_readonly)
		return 0;
	VOL_TRY(arena_may_change(volume));
	commit_begins(volume);
	if (!commit_is_needed(volume) && !arena->log_is_broken) {
		__atomic_store_n(&arena->commits_done, arena->commits_begun, __ATOMIC_RELEASE);
		return 0;
	}
	if (!arena->log_is_broken)
		result = commit_by_log(volume);
	if (result == LOG_FULL)
		result = checkpoint_now(volume, false);
	if (result < 0)
		arena_waits(volume);
	return result;
}

/* Whoever waited for the lock while a commit that began after its call was done has nothing left to do. */
static long commit_shared(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	uint64_t wanted = __atomic_load_n(&arena->commits_begun, __ATOMIC_ACQUIRE) + 1;
	long result = 0;

	vol_lock(volume, &arena->commit);
	if (arena->commits_done < wanted)
		result = commit_now(volume);
	vol_unlock(volume, &arena->commit);
	return result;
}

long volume_commit(struct volume *volume)
{
	if (!volume->arena->is_readonly)
		window_scan_all(volume);
	return commit_shared(volume);
}

/* A shared memory that others map (SQLite's -shm) changes with every transaction, and nobody asks for it to be durable. */
long inode_commit(struct volume *volume, struct vol_inode *inode)
{
	if (!volume->arena->is_readonly && __atomic_load_n(&inode->mapped_writable, __ATOMIC_ACQUIRE))
		VOL_TRY(inode_scan(volume, inode));
	return commit_shared(volume);
}
