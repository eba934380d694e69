/*
 * nodes.c - finding, reading and locking nodes.
 *
 * Owns: how a node comes into memory: its slot is in the list, locked and LOADING, before its entry is looked up, so nobody can
 * bring an older one at the same time. Must never: believe one whose tag is wrong. Called by: see nodes.h.
 */
#include "blocks.h"
#include "cipher.h"
#include "node_pool.h"

enum { TRIES_MAX = 100000, FAN_BITS = 7 };

/* The locked node if it is still that one; a loader that was killed left one that is none. */
static bool lock_found(struct volume *volume, struct node_key key, struct vol_node *node)
{
	vol_lock(volume, &node->lock);
	if (!node_is(node, key.inode->ino, key.level, key.index)) {
		vol_unlock(volume, &node->lock);
		return false;
	}
	if (node->flags & NODE_LOADING) {
		node_drop(volume, node);
		return false;
	}
	if (node->sequence & 1)
		node_end(node);
	__atomic_store_n(&node->referenced, 1, __ATOMIC_RELAXED);
	return true;
}

void node_unlock(struct volume *volume, struct vol_node *node)
{
	vol_unlock(volume, &node->lock);
}

void node_changed(struct volume *volume, struct vol_node *node)
{
	node->changes++;
	node->flags |= NODE_CHANGED;
	if (bit_set(volume->arena->node_changed, node_slot(volume, node)))
		__atomic_fetch_add(&volume->arena->changed_nodes, 1, __ATOMIC_RELAXED);
}

void node_pends(struct volume *volume, struct vol_node *node)
{
	if (bit_set(volume->arena->node_pending, node_slot(volume, node)))
		arena_waits(volume);
}

/* Entries of a record of height 0, or its one entry of the node over all. */
static void root_copy(struct volume *volume, struct vol_inode *inode, bool is_set, struct volume_entry *entry)
{
	uint32_t count;

	vol_lock(volume, &inode->root);
	count = inode->record.height ? 1 : VOLUME_DIRECT;
	for (uint32_t i = 0; i < count; i++) {
		if (is_set)
			inode->record.entry[i] = entry[i];
		else
			entry[i] = inode->record.entry[i];
	}
	vol_unlock(volume, &inode->root);
}

/* -ENOENT: the parent is not in memory. */
static long own_entry(struct volume *volume, struct vol_inode *inode, struct vol_node *node, bool is_set,
		      struct volume_entry *entry)
{
	struct node_key above = { inode, node->level + 1, node->index >> FAN_BITS };
	struct vol_node *parent;

	if (node->level == node_top(inode)) {
		root_copy(volume, inode, is_set, entry);
		return 0;
	}
	parent = node_find(volume, inode->ino, above.level, above.index);
	if (!parent || !lock_found(volume, above, parent))
		return -ENOENT;
	if (is_set) {
		node_changed(volume, parent);
		node_entries(volume, parent)[node->index % VOLUME_FAN] = *entry;
	} else {
		*entry = node_entries(volume, parent)[node->index % VOLUME_FAN];
	}
	node_unlock(volume, parent);
	return 0;
}

/* Reads a node and opens it into its slot. */
static long node_read(struct volume *volume, struct vol_node *node, const struct volume_entry *entry)
{
	uint32_t staging = staging_take(volume);
	uint8_t *bytes = volume->arena->staging_bytes[staging];
	struct volume_place place = cipher_place(node->ino, node->level, node->index);
	long result = volume->host->read(volume->context, bytes, VOLUME_BLOCK, (uint64_t)entry->block * VOLUME_BLOCK);
	bool is_right;

	if (result >= 0) {
		cipher_begin(volume);
		is_right = cipher_open_block(volume, place, false, bytes, node_entries(volume, node), entry);
		cipher_end(volume);
		result = is_right ? 0 : -EIO;
	}
	staging_give(volume, staging);
	if (result < 0)
		volume->host->report(volume->context, node->ino, (node->index << FAN_BITS * node->level) * VOLUME_BLOCK,
				     (uint64_t)VOLUME_BLOCK << FAN_BITS * node->level,
				     result == -EIO ? "a node is damaged or was changed" : "a node can't be read");
	return result < 0 ? -EIO : 0;
}

/* Fills the slot, which is locked and LOADING. 0, 1: its parent is gone, or it is a hole after all; else -errno. */
static long node_fill(struct volume *volume, struct node_key key, bool is_made, struct vol_node *node)
{
	struct volume_entry *entries = node_entries(volume, node), own[VOLUME_DIRECT] = { 0 };

	memset(entries, 0, VOLUME_FAN * sizeof *entries);
	if (own_entry(volume, key.inode, node, false, own) < 0)
		return 1;
	if (!key.inode->record.height) {
		for (int i = 0; i < VOLUME_DIRECT; i++)
			entries[i] = own[i];
		return 0;
	}
	if (entry_is_hole(own))
		return is_made ? 0 : 1;
	return node_read(volume, node, own);
}

/* 1: the key's node is a hole (its parent says so, or has no place for it). 0: it may be there. -ENOENT: its parent isn't. */
static long node_is_hole(struct volume *volume, struct node_key key)
{
	struct vol_node like = { .ino = key.inode->ino, .level = key.level, .index = key.index };
	struct volume_entry own[VOLUME_DIRECT] = { 0 };
	bool is_any = false;

	VOL_TRY(own_entry(volume, key.inode, &like, false, own));
	for (int i = 0; i < VOLUME_DIRECT; i++)
		is_any |= !entry_is_hole(&own[i]);
	return !is_any;
}

/* A node that is made may not be on the disk yet: what is above it stays in memory, so that who walks down from the top finds
 * it. Nodes are made rarely: one for 128 chunks. */
static long hold_above(struct volume *volume, struct node_key key)
{
	for (key.level++, key.index >>= FAN_BITS; key.level <= node_top(key.inode); key.level++, key.index >>= FAN_BITS) {
		struct vol_node *node = node_find(volume, key.inode->ino, key.level, key.index);

		if (node && lock_found(volume, key, node)) {
			node_changed(volume, node);
			node_unlock(volume, node);
		}
	}
	return 0;
}

/* Brings one node into memory whose parent is there. 0: try again, it is there now. 1: a hole. */
static long node_bring(struct volume *volume, struct node_key key, bool is_made)
{
	struct vol_node *node;
	long result = is_made ? 0 : node_is_hole(volume, key);

	if (result)
		return result == -ENOENT ? 0 : result;
	VOL_TRY(node_take_slot(volume, &node));
	node_shape(volume, key, node);
	if (!node_list(volume, node)) {
		node_drop(volume, node);
		return 0;
	}
	result = node_fill(volume, key, is_made, node);
	if (!result && is_made)
		node_changed(volume, node);
	if (result) {
		node_drop(volume, node);
		return result < 0 ? result : 0;
	}
	__atomic_and_fetch(&node->flags, ~(uint32_t)NODE_LOADING, __ATOMIC_RELEASE);
	node_unlock(volume, node);
	return is_made ? hold_above(volume, key) : 0;
}

/* Brings the first one from the top down to the key's that is not in memory. */
static long node_approach(struct volume *volume, struct node_key key, bool is_made)
{
	for (uint32_t level = node_top(key.inode); level >= key.level; level--) {
		struct node_key on_way = { key.inode, level, key.index >> FAN_BITS * (level - key.level) };

		if (!node_find(volume, key.inode->ino, level, on_way.index))
			return node_bring(volume, on_way, is_made);
	}
	return 0;
}

long node_lock(struct volume *volume, struct node_key key, bool is_made, struct vol_node **node)
{
	long result = 0;

	*node = NULL;
	for (int i = 0; i < TRIES_MAX; i++) {
		struct vol_node *found = node_find(volume, key.inode->ino, key.level, key.index);
		uint32_t top = node_top(key.inode);

		if (found && lock_found(volume, key, found)) {
			*node = found;
			return 0;
		}
		if (key.level > top || key.index >> FAN_BITS * (top - key.level))
			return 0;
		result = node_approach(volume, key, is_made);
		if (result)
			return result < 0 ? result : 0;
	}
	return -ENOMEM;
}

long node_own_entry(struct volume *volume, struct vol_inode *inode, struct vol_node *node, bool is_set,
		    struct volume_entry *entry)
{
	struct node_key above = { inode, node->level + 1, node->index >> FAN_BITS };
	struct vol_node *parent;

	for (int i = 0; i < TRIES_MAX; i++) {
		long result = own_entry(volume, inode, node, is_set, entry);

		if (result != -ENOENT)
			return result;
		VOL_TRY(node_lock(volume, above, true, &parent));
		if (!parent)
			return -EIO;
		node_unlock(volume, parent);
	}
	return -ENOMEM;
}

/* With the old top locked. */
static long raise_locked(struct volume *volume, struct vol_inode *inode, uint32_t top)
{
	struct vol_node *node;

	if (inode->record.height) {
		VOL_TRY(node_new_top(volume, (struct node_key){ inode, top + 1, 0 }, &node));
		node_entries(volume, node)[0] = inode->record.entry[0];
		node_unlock(volume, node);
	}
	vol_lock(volume, &inode->root);
	for (int i = 0; i < VOLUME_DIRECT; i++)
		inode->record.entry[i] = (struct volume_entry){ 0 };
	__atomic_store_n(&inode->record.height, inode->record.height + 1, __ATOMIC_RELEASE);
	vol_unlock(volume, &inode->root);
	inode_changed(volume, inode);
	return 0;
}

/* The tree gets a new top. The old one is changed first: it stays in memory, and its block, which the new top names, is freed
 * only when it was saved elsewhere. So who is killed at any point leaves a tree that reads the same, and can be grown again. */
static long raise(struct volume *volume, struct vol_inode *inode)
{
	uint32_t top = node_top(inode);
	struct vol_node *old;
	long result;

	VOL_TRY(node_lock(volume, (struct node_key){ inode, top, 0 }, true, &old));
	if (!old)
		return -EIO;
	node_changed(volume, old);
	result = raise_locked(volume, inode, top);
	node_unlock(volume, old);
	return result;
}

long node_reach(struct volume *volume, struct vol_inode *inode, uint64_t chunk)
{
	if (chunk >> FAN_BITS * VOLUME_HEIGHT_MAX)
		return -EFBIG;
	while (inode->record.height ? chunk >> FAN_BITS * inode->record.height : chunk >= VOLUME_DIRECT)
		VOL_TRY(raise(volume, inode));
	return 0;
}
