/*
 * node_pool.c - slots of nodes, the list by which they are found, and which are dropped when memory is short.
 *
 * Owns: the buckets, the hand of the eviction (a clock). Must never: drop what is dirty, unlogged or changed. Called by: nodes.c.
 *
 * Buckets are changed under the list's lock, by one store each; who searches takes no lock, and looks again at what it found once
 * that is locked.
 */
#include "cache.h"
#include "inodes.h"
#include "node_pool.h"
#include "window.h"

enum { CHAIN_MAX = 4096, TYPE_MASK = 0170000, TYPE_REGULAR = 0100000 };

static uint32_t *bucket(struct volume *volume, uint64_t ino, uint32_t level, uint64_t index)
{
	uint64_t hash = (ino * 0x9e3779b97f4a7c15ULL ^ index * 0xc2b2ae3d27d4eb4fULL ^ level) * 0x165667b19e3779f9ULL;

	return &volume->arena->node_bucket[hash >> 48];
}

_Static_assert(NODE_BUCKETS == 1 << 16, "bucket() gives 16 bits");

struct vol_node *node_find(struct volume *volume, uint64_t ino, uint32_t level, uint64_t index)
{
	uint32_t slot = __atomic_load_n(bucket(volume, ino, level, index), __ATOMIC_ACQUIRE);

	for (int i = 0; slot && i < CHAIN_MAX; i++) {
		struct vol_node *node = &volume->arena->node[slot];

		if (node_is(node, ino, level, index))
			return node;
		slot = __atomic_load_n(&node->next, __ATOMIC_ACQUIRE);
	}
	return NULL;
}

bool node_is_plain(const struct volume *volume, const struct vol_inode *inode)
{
	return volume->arena->is_plain && inode->ino != VOLUME_TABLE_INO && (inode->record.mode & TYPE_MASK) == TYPE_REGULAR;
}

void node_shape(struct volume *volume, struct node_key key, struct vol_node *node)
{
	node->ino = key.inode->ino;
	node->level = key.level;
	node->index = key.index;
	node->valid = node->dirty = node->unlogged = node->logging = node->streamed = (struct mask){ 0 };
	node->flags = NODE_LOADING | (node_is_plain(volume, key.inode) ? NODE_PLAIN : 0);
	node->referenced = 1;
}

bool node_list(struct volume *volume, struct vol_node *node)
{
	uint32_t *head = bucket(volume, node->ino, node->level, node->index);
	bool is_new;

	vol_lock(volume, &volume->arena->nodes);
	is_new = !node_find(volume, node->ino, node->level, node->index);
	if (is_new) {
		__atomic_store_n(&node->next, *head, __ATOMIC_RELEASE);
		__atomic_store_n(&node->is_used, 1, __ATOMIC_RELEASE);
		__atomic_store_n(head, node_slot(volume, node), __ATOMIC_RELEASE);
	}
	vol_unlock(volume, &volume->arena->nodes);
	return is_new;
}

static void unlist(struct volume *volume, struct vol_node *node)
{
	uint32_t *from = bucket(volume, node->ino, node->level, node->index), slot = node_slot(volume, node);

	vol_lock(volume, &volume->arena->nodes);
	for (int i = 0; *from && i < CHAIN_MAX; i++) {
		if (*from == slot) {
			__atomic_store_n(from, node->next, __ATOMIC_RELEASE);
			break;
		}
		from = &volume->arena->node[*from].next;
	}
	__atomic_store_n(&node->is_used, 0, __ATOMIC_RELEASE);
	vol_unlock(volume, &volume->arena->nodes);
}

/* Its chunks are no longer cached. The window's memory is given back, unless the slot is free then and there is little of such:
 * the next node finds it, and no page has to be made anew. */
static void empty(struct volume *volume, struct vol_node *node, bool is_freed)
{
	struct volume_arena *arena = volume->arena;

	node_begin(node);
	__atomic_fetch_sub(&arena->cached, mask_count(&node->valid), __ATOMIC_RELAXED);
	node->valid = (struct mask){ 0 };
	if (is_freed && counter(&arena->spare) + node->touched <= arena->cache_size / 16) {
		__atomic_fetch_add(&arena->spare, node->touched, __ATOMIC_RELAXED);
	} else if (node->touched) {
		volume->host->forget(volume->context, node_window(volume, node), WINDOW);
		node->touched = 0;
	}
	node_end(node);
}

void node_drop(struct volume *volume, struct vol_node *node)
{
	struct volume_arena *arena = volume->arena;
	uint32_t slot = node_slot(volume, node);

	if (node->is_used)
		unlist(volume, node);
	empty(volume, node, true);
	__atomic_fetch_sub(&arena->dirty, mask_count(&node->dirty), __ATOMIC_RELAXED);
	node->dirty = (struct mask){ 0 };
	bit_clear(arena->node_pending, slot);
	if (bit_clear(arena->node_changed, slot))
		__atomic_fetch_sub(&arena->changed_nodes, 1, __ATOMIC_RELAXED);
	node->flags = 0;
	bit_clear(arena->node_taken, slot);
	vol_unlock(volume, &node->lock);
}

static bool is_idle(struct volume *volume, const struct vol_node *node)
{
	return __atomic_load_n(&node->is_used, __ATOMIC_ACQUIRE) && !(node->flags & (NODE_CHANGED | NODE_LOADING)) &&
	       !bit_test(volume->arena->node_pending, node_slot(volume, node));
}

/* Whether a mapping holds its window. What one that is gone wrote there is dirty from here on. */
static bool is_mapped(struct volume *volume, struct vol_node *node)
{
	struct vol_inode *inode;

	if (!(node->flags & NODE_MAPPED))
		return false;
	inode = inode_find(volume, node->ino);
	if (inode && __atomic_load_n(&inode->mapped, __ATOMIC_ACQUIRE))
		return true;
	window_scan(volume, node);
	if (!mask_any(&node->dirty))
		node->flags &= ~(uint32_t)NODE_MAPPED;
	return mask_any(&node->dirty);
}

/* The hand looks at one slot. `is_slot_wanted`: only whole nodes count, also those without chunks. */
static bool evict_one(struct volume *volume, struct vol_node *node, bool is_slot_wanted)
{
	if (!node->is_used || (is_slot_wanted ? !is_idle(volume, node) : !mask_any(&node->valid)) ||
	    !vol_try_lock(volume, &node->lock))
		return false;
	if (!node->is_used || node->flags & NODE_LOADING || is_mapped(volume, node) || mask_any(&node->dirty) ||
	    (is_slot_wanted && !is_idle(volume, node))) {
		node_unlock(volume, node);
		return false;
	}
	if (is_idle(volume, node)) {
		node_drop(volume, node);
		return true;
	}
	empty(volume, node, false);
	node_unlock(volume, node);
	return true;
}

/* Up to two rounds: the first one takes the marks of use away. */
static bool evict_next(struct volume *volume, bool is_slot_wanted)
{
	struct volume_arena *arena = volume->arena;

	for (uint32_t i = 0; i < 2 * NODE_SLOTS; i++) {
		struct vol_node *node = &arena->node[__atomic_fetch_add(&arena->node_hand, 1, __ATOMIC_RELAXED) % NODE_SLOTS];

		if (__atomic_exchange_n(&node->referenced, 0, __ATOMIC_RELAXED) == 0 &&
		    evict_one(volume, node, is_slot_wanted))
			return true;
	}
	return false;
}

void node_evict(struct volume *volume, uint64_t chunks)
{
	while (counter(&volume->arena->cached) > chunks)
		if (!evict_next(volume, false))
			return;
}

/* Slot 0 stands for none. */
long node_take_slot(struct volume *volume, struct vol_node **node)
{
	struct volume_arena *arena = volume->arena;
	bool is_more = true;

	while (is_more) {
		uint64_t slot = bits_next_clear(arena->node_taken, 1, NODE_SLOTS);

		if (slot < NODE_SLOTS && bit_set(arena->node_taken, slot)) {
			*node = &arena->node[slot];
			vol_lock(volume, &(*node)->lock);
			if (slot >= __atomic_load_n(&arena->node_end, __ATOMIC_RELAXED))
				__atomic_store_n(&arena->node_end, (uint32_t)slot + 1, __ATOMIC_RELAXED);
			__atomic_fetch_sub(&arena->spare, (*node)->touched, __ATOMIC_RELAXED);
			return 0;
		}
		if (slot == NODE_SLOTS)
			is_more = evict_next(volume, true);
	}
	return -ENOMEM;
}

long node_new_top(struct volume *volume, struct node_key key, struct vol_node **node)
{
	struct vol_node *found = node_find(volume, key.inode->ino, key.level, key.index);

	if (found) {	/* of one who was killed while he did the same; nobody else finds it */
		vol_lock(volume, &found->lock);
		node_drop(volume, found);
	}
	VOL_TRY(node_take_slot(volume, node));
	node_shape(volume, key, *node);
	memset(node_entries(volume, *node), 0, VOLUME_FAN * sizeof(struct volume_entry));
	if (!node_list(volume, *node)) {
		node_drop(volume, *node);
		return -EIO;
	}
	(*node)->flags &= ~(uint32_t)NODE_LOADING;
	node_changed(volume, *node);
	return 0;
}
