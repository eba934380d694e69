/*
 * nodes.h - nodes: the trees of entries over each file's chunks, as far as they are in memory.
 *
 * Owns: the pool of nodes, their windows, reading them from the container and checking them. Must never: drop one with what is not
 * on the disk. Called by: data.c, cut.c, commit.c, checkpoint.c, mount.c.
 *
 * In memory every file has a node of level 1, also one whose entries stand in its record (height 0). A node that was changed stays
 * until a checkpoint has saved it.
 */
#ifndef SCONE_VOLUME_NODES_H
#define SCONE_VOLUME_NODES_H

#include "arena.h"

/* Which one: of that inode, which stays in memory meanwhile. */
struct node_key { struct vol_inode *inode; uint32_t level; uint64_t index; };

static inline uint32_t node_slot(const struct volume *volume, const struct vol_node *node)
{
	return (uint32_t)(node - volume->arena->node);
}

static inline struct volume_entry *node_entries(const struct volume *volume, const struct vol_node *node)
{
	return volume->arena->entry[node_slot(volume, node)];
}

/* The 128 chunks of a node of level 1. */
static inline uint8_t *node_window(const struct volume *volume, const struct vol_node *node)
{
	return volume->arena->window[node_slot(volume, node)];
}

static inline bool entry_is_hole(const struct volume_entry *entry)
{
	return !entry->block;
}

/* Height 0 counts as 1. */
static inline uint32_t node_top(const struct vol_inode *inode)
{
	uint32_t height = __atomic_load_n(&inode->record.height, __ATOMIC_ACQUIRE);

	return height ? height : 1;
}

/* It if it is in memory, else NULL; not locked: it may be another one as soon as this returns. */
struct vol_node *node_find(struct volume *volume, uint64_t ino, uint32_t level, uint64_t index);

/* Locks it, reading it first if need be. *node is NULL when there is none and `is_made` is false, or when the index lies outside of
 * the tree. -EIO (tampered; reported), -ENOMEM: all are in use. */
VOL_NODISCARD long node_lock(struct volume *volume, struct node_key key, bool is_made, struct vol_node **node);
void node_unlock(struct volume *volume, struct vol_node *node);

/* Its entries were or will be changed (it is locked): the next checkpoint saves it. */
void node_changed(struct volume *volume, struct vol_node *node);

/* It has dirty or unlogged chunks (it is locked): the next commit looks at it. */
void node_pends(struct volume *volume, struct vol_node *node);

/* Around changes of valid chunks. */
static inline void node_begin(struct vol_node *node)
{
	__atomic_store_n(&node->sequence, node->sequence | 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void node_end(struct vol_node *node)
{
	__atomic_store_n(&node->sequence, (node->sequence | 1) + 1, __ATOMIC_RELEASE);
}

/* Makes the tree high enough for a chunk. The inode is locked. */
VOL_NODISCARD long node_reach(struct volume *volume, struct vol_inode *inode, uint64_t chunk);

/* The entry that names a locked node, in its parent (which is read if need be) or in the record. `is_set`: it is put there, else
 * fetched. Of a file without height: its record's VOLUME_DIRECT entries, so `entry` has room for so many. -EIO, -ENOMEM. */
VOL_NODISCARD long node_own_entry(struct volume *volume, struct vol_inode *inode, struct vol_node *node, bool is_set,
				  struct volume_entry *entry);

/* Takes a locked node out of memory, whatever it holds; unlocks it. */
void node_drop(struct volume *volume, struct vol_node *node);

/* Drops chunks (and nodes that nothing needs) until at most `chunks` are cached, or none can be. */
void node_evict(struct volume *volume, uint64_t chunks);

#endif
