/*
 * maintain.c - what is done from time to time, and told.
 *
 * Owns: when commits and checkpoints are made without being asked for. Must never: do so with a lock held. Called by: the runtime
 * host's maintainer; every change, by volume_make_room.
 */
#include "blocks.h"
#include "cache.h"
#include "commit.h"

enum { COMMIT_AFTER_S = 5 };

static uint64_t get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Whether what only a checkpoint lets go of may fill the pools, or the log. */
static bool is_checkpoint_due(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	bool is_due = counter(&arena->changed_nodes) > NODE_SLOTS / 2 || counter(&arena->changed_inodes) > INODE_SLOTS / 2;

	for (int kind = 0; kind < FREED_KINDS; kind++)
		is_due |= get(&arena->freed[kind].tail) - get(&arena->freed[kind].head) > FREED_MAX / 2;
	return is_due;
}

/* The log is so full, or so much waits to be free, that it is time; nothing breaks if it is not done yet. */
static bool is_checkpoint_wanted(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	return __atomic_load_n(&arena->log_used, __ATOMIC_RELAXED) > arena->log_blocks / 2 || is_checkpoint_due(volume);
}

/* Are there blocks that a checkpoint makes free? */
static bool has_freed(struct volume_arena *arena)
{
	bool is_any = false;

	for (int kind = 0; kind < FREED_KINDS; kind++)
		is_any |= get(&arena->freed[kind].tail) != get(&arena->freed[kind].head);
	return is_any;
}

long volume_make_room(struct volume *volume)
{
	bool is_scarce;
	long result;

	VOL_TRY(arena_may_change(volume));
	is_scarce = blocks_reserve(volume, 0, ROOM_FOR_DATA) == -ENOSPC && has_freed(volume->arena);
	result = is_scarce || is_checkpoint_due(volume) ? volume_checkpoint(volume, false) : 0;

	return is_scarce ? 0 : result;	/* the change itself says whether that was enough */
}

static bool is_commit_due(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	int64_t since = __atomic_load_n(&arena->waiting_since, __ATOMIC_RELAXED);
	int64_t scanned = __atomic_load_n(&arena->windows, __ATOMIC_RELAXED) ? __atomic_load_n(&arena->scanned, __ATOMIC_RELAXED) : 0;
	int64_t now = volume->host->now(volume->context).seconds;

	return (since && now - since >= COMMIT_AFTER_S) || (scanned && now - scanned >= COMMIT_AFTER_S);
}

static uint64_t count_cached(struct volume_arena *arena, uint64_t slot)
{
	return bit_test(arena->node_taken, slot) ? mask_count(&arena->node[slot].valid) : 0;
}

static uint64_t count_dirty(struct volume_arena *arena, uint64_t slot)
{
	return bit_test(arena->node_taken, slot) ? mask_count(&arena->node[slot].dirty) : 0;
}

static uint64_t count_spare(struct volume_arena *arena, uint64_t slot)
{
	return bit_test(arena->node_taken, slot) ? 0 : arena->node[slot].touched;
}

/* Over all nodes that ever were; kept only if nobody counted meanwhile. */
static void count_nodes(struct volume_arena *arena, uint64_t *counter, uint64_t (*count)(struct volume_arena *, uint64_t))
{
	uint64_t before = __atomic_load_n(counter, __ATOMIC_ACQUIRE), sum = 0;

	for (uint64_t slot = 1; slot < arena->node_end; slot++)
		sum += count(arena, slot);
	__atomic_compare_exchange_n(counter, &before, sum, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static void count_marks(uint64_t *counter, const uint64_t *bits, uint64_t end)
{
	uint64_t before = __atomic_load_n(counter, __ATOMIC_ACQUIRE);

	__atomic_compare_exchange_n(counter, &before, bits_count(bits, end), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* Killed processes leave counters wrong by a little. */
static void count_anew(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	count_nodes(arena, &arena->cached, count_cached);
	count_nodes(arena, &arena->dirty, count_dirty);
	count_nodes(arena, &arena->spare, count_spare);
	count_marks(&arena->changed_nodes, arena->node_changed, NODE_SLOTS);
	count_marks(&arena->changed_inodes, arena->inode_changed, INODE_SLOTS);
}

/* Buffers of killed threads, and the blocks that these had taken. */
static void take_back(struct volume *volume)
{
	for (uint32_t i = 0; i < STAGINGS; i++) {
		struct vol_lock *lock = &volume->arena->staging[i];

		if (!vol_lock_is_dead(volume, lock))
			continue;
		vol_lock(volume, lock);
		blocks_give_up(volume, i);
		vol_unlock(volume, lock);
	}
}

long volume_maintain(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	long result = 0;

	if (arena->is_readonly) {
		node_evict(volume, arena->cache_size);
		return 0;
	}
	VOL_TRY(arena_may_change(volume));
	take_back(volume);
	count_anew(volume);
	if (is_checkpoint_wanted(volume))
		result = volume_checkpoint(volume, false);
	else if (is_commit_due(volume))
		result = volume_commit(volume);
	if (counter(&arena->dirty) > cache_dirty_limit(volume) && result >= 0)
		result = cache_flush_to(volume, cache_dirty_limit(volume) / 2);
	node_evict(volume, arena->cache_size);
	return result;
}

void volume_usage(struct volume *volume, struct volume_usage *usage)
{
	struct volume_arena *arena = volume->arena;

	*usage = (struct volume_usage){
		.blocks = __atomic_load_n(&arena->block_count, __ATOMIC_RELAXED),
		.inodes_used = get(&arena->inodes_used), .cached = counter(&arena->cached), .dirty = counter(&arena->dirty),
		.cache_size = arena->cache_size * VOLUME_BLOCK,
	};
	usage->blocks_used = usage->blocks - __atomic_load_n(&arena->block_free, __ATOMIC_RELAXED) + usage->dirty;
}
