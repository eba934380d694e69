/*
 * replay.c - the log as a mount finds it.
 *
 * Owns: which commits count, applying their items. Must never: trust a byte whose tag was not checked, or apply a part of a commit.
 * Called by: mount.c.
 *
 * Twice through the log: first to find its end, then to apply it. The last commit may have been written while its sync had not
 * returned, so its chunks are read: if one does not open, nobody was told that this commit is durable. An earlier one was, since
 * the next began after it.
 */
#include "cipher.h"
#include "blocks.h"
#include "data.h"
#include "inodes.h"
#include "mount.h"

struct chunk_body { uint64_t index; struct volume_entry entry; };

static const void *body_of(const struct volume_item *item)
{
	return item + 1;
}

/* Calls `what` for each item of the batch. */
static long each_item(struct volume *volume, const struct volume_batch *batch, uint32_t size,
		      long (*what)(struct volume *, const struct volume_item *))
{
	const struct volume_item *item;
	uint32_t at = 0, count = 0;
	bool is_wrong = false;

	for (item = log_item(batch, size, &at, &is_wrong); item; item = log_item(batch, size, &at, &is_wrong), count++)
		VOL_TRY(what(volume, item));
	return is_wrong || count != batch->count ? -EBADMSG : 0;
}

/* 1: the chunk that the item names does not open. */
static long chunk_is_missing(struct volume *volume, const struct volume_item *item)
{
	const struct chunk_body *body = body_of(item);
	struct volume_place place = cipher_place(item->ino, 0, 0);
	uint8_t *bytes = volume->arena->staging_bytes[0];
	bool is_right = false;

	if (item->kind != ITEM_CHUNK || entry_is_hole(&body->entry))
		return 0;
	place.index = body->index;
	if (body->entry.block < VOLUME_LOG_BLOCK + volume->arena->log_blocks || body->entry.block >= BLOCKS_MAX ||
	    volume->host->read(volume->context, bytes, VOLUME_BLOCK, (uint64_t)body->entry.block * VOLUME_BLOCK) < 0)
		return 1;
	cipher_begin(volume);	/* the record that says which kind it is may come later */
	if (volume->arena->is_plain)
		is_right = cipher_open_block(volume, place, true, bytes, bytes + VOLUME_BLOCK, &body->entry);
	if (!is_right)
		is_right = cipher_open_block(volume, place, false, bytes, bytes + VOLUME_BLOCK, &body->entry);
	cipher_end(volume);
	return !is_right;
}

static long commit_is_missing(struct volume *volume, struct log_place place, uint64_t end)
{
	while (place.version != end) {
		const struct volume_batch *batch;
		const struct volume_item *item;
		uint32_t size, at = 0;
		bool is_wrong = false;

		if (log_read(volume, &place, &batch, &size) != 1)
			return -EIO;
		for (item = log_item(batch, size, &at, &is_wrong); item; item = log_item(batch, size, &at, &is_wrong))
			if (chunk_is_missing(volume, item))
				return 1;
	}
	return 0;
}

/* Where commits begin and end: `last` and `end` are those of the last one, `before` is the end of the one before. */
struct commits { struct log_place before, end; bool is_followed; };

/* A batch behind the last commit, though its own commit has no end, shows that the last one was durable. */
static long find_commits(struct volume *volume, struct log_place place, struct commits *commits)
{
	commits->before = commits->end = place;
	commits->is_followed = false;
	for (uint32_t i = 0; i < volume->arena->log_blocks; i++) {
		const struct volume_batch *batch;
		uint32_t size;
		long found = log_read(volume, &place, &batch, &size);

		VOL_TRY(found);
		if (!found)
			return 0;
		commits->is_followed = true;
		if (batch->flags & BATCH_LAST) {
			commits->before = commits->end;
			commits->end = place;
			commits->is_followed = false;
		}
	}
	return 0;
}

static void release(struct vol_inode *inode)
{
	__atomic_fetch_sub(&inode->users, 1, __ATOMIC_RELEASE);
}

static long apply_chunk(struct volume *volume, struct vol_inode *inode, const struct chunk_body *body)
{
	struct vol_node *node;

	if (body->entry.block >= BLOCKS_MAX)
		return -EBADMSG;
	VOL_TRY(node_reach(volume, inode, body->index));
	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, body->index / VOLUME_FAN }, true, &node));
	if (!node)
		return -EBADMSG;
	if (body->entry.block >= volume->arena->block_highest)
		volume->arena->block_highest = body->entry.block + 1;
	node_changed(volume, node);
	node_entries(volume, node)[body->index % VOLUME_FAN] = body->entry;
	node_unlock(volume, node);
	return 0;
}

/* All but what the tree is, which the items before made. */
static void apply_record(struct vol_inode *inode, const struct volume_record *record)
{
	struct volume_record new = *record;

	new.height = inode->record.height;
	for (int i = 0; i < VOLUME_DIRECT; i++)
		new.entry[i] = inode->record.entry[i];
	inode->record = new;
}

static long apply(struct volume *volume, const struct volume_item *item)
{
	struct vol_inode *inode;
	uint64_t first;
	long result = 0;

	VOL_TRY(inode_take(volume, item->ino, &inode));
	inode_mark(volume, inode, false);
	switch (item->kind) {
	case ITEM_CHUNK:
		result = apply_chunk(volume, inode, body_of(item));
		break;
	case ITEM_INODE:
		apply_record(inode, body_of(item));
		break;
	case ITEM_CUT:
		memcpy(&first, body_of(item), sizeof first);
		result = data_cut(volume, inode, first);
		break;
	}
	release(inode);
	return result;
}

static long keep_block(struct volume *volume, const struct volume_item *item)
{
	const struct chunk_body *body = body_of(item);

	if (item->kind == ITEM_CHUNK && body->entry.block && !bit_test(volume->arena->used, body->entry.block))
		blocks_free(volume, body->entry.block, FREED_BY_CHECKPOINT);
	return 0;
}

static long each_batch(struct volume *volume, struct log_place place, uint64_t end, uint64_t *count,
		       long (*what)(struct volume *, const struct volume_item *))
{
	while (place.version != end) {
		const struct volume_batch *batch;
		uint32_t size;

		if (log_read(volume, &place, &batch, &size) != 1)
			return -EIO;
		VOL_TRY(each_item(volume, batch, size, what));
		++*count;
	}
	return 0;
}

long replay_log(struct volume *volume, struct log_place *place, uint64_t *batches)
{
	struct commits commits;

	VOL_TRY(find_commits(volume, *place, &commits));
	if (!commits.is_followed && commits.end.version != place->version) {
		long missing = commit_is_missing(volume, commits.before, commits.end.version);

		VOL_TRY(missing);
		if (missing)
			commits.end = commits.before;
	}
	VOL_TRY(each_batch(volume, *place, commits.end.version, batches, apply));
	*place = commits.end;
	volume->arena->kept_head = commits.before.head;
	volume->arena->kept_version = commits.before.version;
	volume->arena->kept_end = commits.end.version;
	memcpy(volume->arena->kept_tag, commits.before.tag, VOLUME_TAG_SIZE);
	return 0;
}

long replay_keep(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	struct log_place place = { .head = arena->kept_head, .version = arena->kept_version };
	uint64_t count = 0;

	memcpy(place.tag, arena->kept_tag, sizeof place.tag);
	return each_batch(volume, place, arena->kept_end, &count, keep_block);
}
