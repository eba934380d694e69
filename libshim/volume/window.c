/*
 * window.c - windows that programs map: their chunks change without a call.
 *
 * Owns: the hashes of mapped chunks as they were last written. Must never: take a changed chunk for an unchanged one (but for
 * one in 2^64). Called by: cache.c, node_pool.c, commit.c; the shim by inode_window and inode_scan.
 *
 * 8 bytes a chunk of mapped windows: 1 KiB for 512. The hash need not withstand an attacker, who can't choose what a program
 * writes; its start is random all the same.
 */
#include "blocks.h"
#include "cache.h"
#include "inodes.h"
#include "window.h"

enum { FAN_BITS = 7, WORDS = VOLUME_BLOCK / 8, LANES = 4 };

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Four chains, so that multiplications overlap. Words may change while they are read: each is read once. */
static uint64_t chunk_hash(const struct volume *volume, const void *bytes)
{
	static const uint64_t odd[LANES] = { 0xa0761d6478bd642fULL, 0xe7037ed1a0b428dbULL, 0x8ebc6af09c88c6e3ULL,
					     0x589965cc75374cc3ULL };
	const volatile uint64_t *words = bytes;
	uint64_t lane[LANES];

	for (int i = 0; i < LANES; i++)
		lane[i] = odd[i] ^ volume->arena->nonce_high;
	for (int at = 0; at < WORDS; at += 2 * LANES)
		for (int i = 0; i < LANES; i++)
			lane[i] = mix(words[at + 2 * i] ^ lane[i], words[at + 2 * i + 1] ^ odd[i]);
	return mix(lane[0] ^ lane[1], lane[2] ^ odd[0]) ^ mix(lane[3] ^ odd[1], lane[0] ^ odd[2]);
}

void window_note(struct volume *volume, struct vol_node *node, uint32_t at, const void *bytes)
{
	volume->arena->hash[node_slot(volume, node)][at] = chunk_hash(volume, bytes);
}

/* The file was changed by a mapping. Its lock comes before the node's, so the times are set without it: at worst the seconds of
 * one change stand there with the nanoseconds of another. */
static void tell_inode(struct volume *volume, const struct vol_node *node, uint64_t new)
{
	struct vol_inode *inode = inode_find(volume, node->ino);

	if (!inode)
		return;
	__atomic_fetch_add(&inode->record.chunks, new, __ATOMIC_RELAXED);
	inode->record.modified = inode->record.changed = volume->host->now(volume->context);
	inode_changed(volume, inode);
}

/* How many of its chunks the file has: behind its end nothing can be written, for that is a SIGBUS. */
static uint32_t chunks_of_file(struct volume *volume, const struct vol_node *node)
{
	const struct vol_inode *inode = inode_find(volume, node->ino);
	uint64_t first = node->index * WINDOW, size = inode ? __atomic_load_n(&inode->record.size, __ATOMIC_ACQUIRE) : ~0ULL;

	if (size <= first)
		return 0;
	return size - first >= WINDOW ? VOLUME_FAN : (uint32_t)((size - first + VOLUME_BLOCK - 1) / VOLUME_BLOCK);
}

void window_scan(struct volume *volume, struct vol_node *node)
{
	const uint64_t *noted = volume->arena->hash[node_slot(volume, node)];
	uint64_t count = 0, new = 0;
	uint32_t end;

	if (!(node->flags & NODE_MAPPED))
		return;
	end = chunks_of_file(volume, node);
	for (uint32_t at = 0; at < end; at++)
		if (mask_test(&node->valid, at) && !mask_test(&node->dirty, at) &&
		    noted[at] != chunk_hash(volume, node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK)) {
			count++;
			new += entry_is_hole(&node_entries(volume, node)[at]);
			cache_dirty(volume, node, at);
		}
	if (count)
		tell_inode(volume, node, new);
}

static bool is_scanned(struct volume *volume, const struct vol_node *node)
{
	struct vol_inode *inode;

	if (!node->is_used || !(__atomic_load_n(&node->flags, __ATOMIC_RELAXED) & NODE_MAPPED))
		return false;
	inode = inode_find(volume, node->ino);
	return inode && __atomic_load_n(&inode->mapped_writable, __ATOMIC_ACQUIRE);
}

void window_scan_all(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	if (!__atomic_load_n(&arena->windows, __ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&arena->scanned, volume->host->now(volume->context).seconds, __ATOMIC_RELAXED);
	for (uint64_t slot = bits_next(arena->node_taken, 1, NODE_SLOTS); slot < NODE_SLOTS;
	     slot = bits_next(arena->node_taken, slot + 1, NODE_SLOTS)) {
		struct vol_node *node = &arena->node[slot];

		if (!is_scanned(volume, node))
			continue;
		vol_lock(volume, &node->lock);
		if (node->is_used)
			window_scan(volume, node);
		vol_unlock(volume, &node->lock);
	}
}

/* All chunks valid; what is clean is noted as it is. */
static long map_locked(struct volume *volume, struct vol_node *node)
{
	VOL_TRY(cache_load(volume, node, 0, VOLUME_FAN - 1, true));
	if (node->flags & NODE_MAPPED)
		return 0;
	for (uint32_t at = 0; at < VOLUME_FAN; at++)
		if (!mask_test(&node->dirty, at))
			window_note(volume, node, at, node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK);
	__atomic_fetch_or(&node->flags, NODE_MAPPED, __ATOMIC_RELEASE);
	__atomic_store_n(&volume->arena->windows, 1, __ATOMIC_RELEASE);
	return 0;
}

/* A writable one may make every chunk dirty, without a call that could be refused: room for all of them is asked for. */
long inode_window(struct volume *volume, struct vol_inode *inode, uint64_t index, void **window)
{
	struct vol_node *node;
	long result;

	if (inode->mapped_writable) {
		VOL_TRY(arena_may_change(volume));
		VOL_TRY(blocks_reserve(volume, VOLUME_FAN, ROOM_FOR_DATA));
	}
	vol_lock(volume, &inode->lock);
	result = node_reach(volume, inode, (index << FAN_BITS) + VOLUME_FAN - 1);
	vol_unlock(volume, &inode->lock);
	VOL_TRY(result);
	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, index }, true, &node));
	if (!node)
		return -EIO;
	result = map_locked(volume, node);
	*window = node_window(volume, node);
	node_unlock(volume, node);
	return result;
}

long inode_scan(struct volume *volume, struct vol_inode *inode)
{
	uint64_t count = (inode->record.size + WINDOW - 1) / WINDOW;

	for (uint64_t index = 0; index < count; index++) {
		struct vol_node *node = node_find(volume, inode->ino, 1, index);

		if (!node || !(node->flags & NODE_MAPPED))
			continue;
		vol_lock(volume, &node->lock);
		if (node->is_used && node->ino == inode->ino)
			window_scan(volume, node);
		vol_unlock(volume, &node->lock);
	}
	return 0;
}
