/*
 * blocks.c - which blocks of the container are free.
 *
 * Owns: the map of used blocks, the lists of those that become free, the container's size. Must never: give a block out that
 * something durable still names. Called by: cache.c, nodes.c, cut.c, commit.c, checkpoint.c, mount.c.
 *
 * Low blocks are preferred: they were written before, and a sync of such needs no metadata of the host's file system. Big
 * amounts look for room in one piece first.
 */
#include "blocks.h"

enum { GROW_MIN = 256, GROW_MAX = 16384, PIECE = 64, DISCARD_MIN = 2048, LOOK_MAX = 2048, LAP = 256 };

/* Blocks that stay free on a full disk: so that names can be removed there, and what that frees be checkpointed. */
static const uint32_t slack[] = {
	[ROOM_FOR_DATA]   = 192,
	[ROOM_FOR_INODES] = 128,
	[ROOM_FOR_NAMES]  = 48,
};

static void lower(uint32_t *hint, uint32_t block)
{
	if (block < *hint)
		*hint = block;
}

/* Marks as used; the allocator's lock is held. */
static void occupy(struct volume_arena *arena, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		bit_set(arena->used, first + i);
	arena->block_free -= count < arena->block_free ? count : arena->block_free;	/* a killed one may have missed some */
}

static void vacate(struct volume_arena *arena, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (bit_clear(arena->used, first + i))
			arena->block_free++;
	lower(&arena->lowest, first);
	lower(&arena->lowest_word, first / 64);
}

/* The container becomes longer by a 16th, at least by `need`. */
static long grow(struct volume *volume, uint64_t need)
{
	struct volume_arena *arena = volume->arena;
	uint64_t step = arena->block_count / 16, count;

	if (need > BLOCKS_MAX)
		return -ENOSPC;
	step = step < GROW_MIN ? GROW_MIN : step > GROW_MAX ? GROW_MAX : step;
	for (int i = 0; i < 2; i++, step = need) {
		count = arena->block_count + (step > need ? step : need);
		if (count > BLOCKS_MAX)
			continue;
		long result = volume->host->grow(volume->context, count * VOLUME_BLOCK);

		if (result < 0 && result != -ENOSPC)
			return result;
		if (result == 0) {
			arena->block_free += (uint32_t)count - arena->block_count;
			__atomic_store_n(&arena->block_count, (uint32_t)count, __ATOMIC_RELEASE);
			return 0;
		}
	}
	return -ENOSPC;
}

/* 64 free blocks beside each other, or block_count. */
static uint32_t find_piece(struct volume_arena *arena)
{
	uint32_t words = arena->block_count / 64;

	while (arena->lowest_word < words && arena->used[arena->lowest_word])
		arena->lowest_word++;
	return arena->lowest_word < words ? arena->lowest_word * 64 : arena->block_count;
}

/* `want` free blocks beside each other, going round from where the last ones were; block_count: not found near. A commit's few
 * chunks are one write then, and the same blocks come again soon. */
static uint32_t find_run(struct volume_arena *arena, uint32_t want)
{
	uint32_t at = arena->runs++ % LAP ? arena->next_run : arena->lowest, count = 0;

	for (uint32_t i = 0; i < LOOK_MAX; i++, at++) {
		if (at >= arena->block_count)
			at = VOLUME_LOG_BLOCK + arena->log_blocks, count = 0;
		count = bit_test(arena->used, at) ? 0 : count + 1;
		if (count == want) {
			arena->next_run = at + 1;
			return at + 1 - want;
		}
	}
	arena->next_run = at;
	return arena->block_count;
}

static uint32_t find_any(struct volume_arena *arena)
{
	arena->lowest = (uint32_t)bits_next_clear(arena->used, arena->lowest, arena->block_count);
	return arena->lowest;
}

/* Takes the lock, and ends what its last holder was killed in. */
static void lock_blocks(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	vol_lock(volume, &arena->blocks);
	if (arena->is_taking) {
		vacate(arena, arena->taking.block, arena->taking.count);
		arena->block_use[arena->taking_for].run.count = 0;
		__atomic_store_n(&arena->is_taking, 0, __ATOMIC_SEQ_CST);
	}
	if (arena->is_releasing) {
		vacate(arena, arena->releasing.block, arena->releasing.count);
		arena->freed[arena->releasing_kind].head = arena->releasing_head;
		__atomic_store_n(&arena->is_releasing, 0, __ATOMIC_SEQ_CST);
	}
}

/* Marks them as used and as the buffer's, in such an order that a killed holder leaves them neither. */
static void take_run(struct volume_arena *arena, struct block_run run, uint32_t staging)
{
	arena->taking = run;
	arena->taking_for = staging;
	__atomic_store_n(&arena->is_taking, 1, __ATOMIC_SEQ_CST);
	occupy(arena, run.block, run.count);
	arena->block_use[staging] = (struct block_use){ .run = run };
	__atomic_store_n(&arena->is_taking, 0, __ATOMIC_SEQ_CST);
}

static long take_locked(struct volume *volume, uint32_t want, uint32_t staging, uint32_t *first)
{
	struct volume_arena *arena = volume->arena;
	uint32_t at = want >= PIECE ? find_piece(arena) : want > 1 ? find_run(arena, want) : arena->block_count, count = 0;

	if (at == arena->block_count)
		at = find_any(arena);
	if (at == arena->block_count) {
		VOL_TRY(grow(volume, want));
		at = find_any(arena);
	}
	while (count < want && at + count < arena->block_count && !bit_test(arena->used, at + count))
		count++;
	if (!count)
		return -ENOSPC;
	take_run(arena, (struct block_run){ at, count }, staging);
	*first = at;
	return count;
}

long blocks_take(struct volume *volume, uint32_t want, uint32_t staging, uint32_t *first)
{
	long result;

	if (volume->arena->block_use[staging].run.count)
		blocks_give_up(volume, staging);
	lock_blocks(volume);
	result = take_locked(volume, want, staging, first);
	vol_unlock(volume, &volume->arena->blocks);
	return result;
}

void blocks_placing(struct volume *volume, uint32_t staging)
{
	__atomic_store_n(&volume->arena->block_use[staging].is_placing, 1, __ATOMIC_SEQ_CST);
}

void blocks_named(struct volume *volume, uint32_t staging)
{
	struct block_use *use = &volume->arena->block_use[staging];

	__atomic_store_n(&use->named, use->named + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&use->is_placing, 0, __ATOMIC_SEQ_CST);
	if (use->named == use->run.count)
		__atomic_store_n(&use->run.count, 0, __ATOMIC_RELEASE);
}

/* One that was being placed by somebody who was killed may be named: it stays used until the next mount. */
void blocks_give_up(struct volume *volume, uint32_t staging)
{
	struct block_use *use = &volume->arena->block_use[staging];
	uint32_t kept = use->named + use->is_placing;

	lock_blocks(volume);
	if (kept < use->run.count)
		vacate(volume->arena, use->run.block + kept, use->run.count - kept);
	__atomic_store_n(&use->run.count, 0, __ATOMIC_RELEASE);
	vol_unlock(volume, &volume->arena->blocks);
}

/* When the list is full, the block stays used until the next mount. */
void blocks_free(struct volume *volume, uint32_t block, enum freed_kind kind)
{
	struct volume_arena *arena = volume->arena;
	struct freed *freed = &arena->freed[kind];
	struct block_run *last;

	if (!block || (arena->is_quiet && kind == FREED_BY_COMMIT))
		return;
	lock_blocks(volume);
	if (arena->is_quiet)	/* the checkpoint that is mounted names it: it is kept until the next one */
		bit_set(arena->used, block);
	last = &arena->freed_run[kind][(freed->tail - 1) % FREED_MAX];
	if (freed->tail > freed->mark && last->block + last->count == block) {
		last->count++;
	} else if (freed->tail - freed->head < FREED_MAX) {
		arena->freed_run[kind][freed->tail % FREED_MAX] = (struct block_run){ block, 1 };
		__atomic_store_n(&freed->tail, freed->tail + 1, __ATOMIC_RELEASE);
	}
	vol_unlock(volume, &arena->blocks);
}

/* What all that is dirty takes, and a checkpoint's nodes. */
static uint64_t owed(struct volume_arena *arena)
{
	return counter(&arena->dirty) + counter(&arena->changed_nodes) * 2 + counter(&arena->changed_inodes);
}

long blocks_reserve(struct volume *volume, uint64_t count, enum room room)
{
	struct volume_arena *arena = volume->arena;
	uint64_t need = count + slack[room] + owed(arena);
	long result = 0;

	if (__atomic_load_n(&arena->block_free, __ATOMIC_RELAXED) >= need)
		return 0;
	lock_blocks(volume);
	if (arena->block_free < need)
		result = grow(volume, need - arena->block_free);
	vol_unlock(volume, &arena->blocks);
	return result;
}

void blocks_mark(struct volume *volume, enum freed_kind kind)
{
	lock_blocks(volume);
	volume->arena->freed[kind].mark = volume->arena->freed[kind].tail;
	vol_unlock(volume, &volume->arena->blocks);
}

/* What is being released is noted: who is killed in the midst of it leaves the rest to the next holder of the lock. */
void blocks_release(struct volume *volume, enum freed_kind kind)
{
	struct volume_arena *arena = volume->arena;
	struct freed *freed = &arena->freed[kind];

	lock_blocks(volume);
	while (freed->head < freed->mark) {
		struct block_run run = arena->freed_run[kind][freed->head % FREED_MAX];

		arena->releasing = run;
		arena->releasing_kind = kind;
		arena->releasing_head = freed->head + 1;
		__atomic_store_n(&arena->is_releasing, 1, __ATOMIC_SEQ_CST);
		if (run.count >= DISCARD_MIN)	/* a hint: blocks that are written anew come back */
			(void)volume->host->discard(volume->context, (uint64_t)run.count * VOLUME_BLOCK,
						    (uint64_t)run.block * VOLUME_BLOCK);
		vacate(arena, run.block, run.count);
		freed->head = arena->releasing_head;
		__atomic_store_n(&arena->is_releasing, 0, __ATOMIC_SEQ_CST);
	}
	vol_unlock(volume, &arena->blocks);
}

bool blocks_claim(struct volume *volume, uint32_t block)
{
	struct volume_arena *arena = volume->arena;

	return block >= VOLUME_LOG_BLOCK + arena->log_blocks && block < arena->block_count && bit_set(arena->used, block);
}

void blocks_begin(struct volume *volume, uint32_t block_count)
{
	uint32_t first = VOLUME_LOG_BLOCK + volume->arena->log_blocks;

	volume->arena->block_count = block_count > first ? block_count : first;
	for (uint32_t i = 0; i < first; i++)
		bit_set(volume->arena->used, i);
	volume->arena->lowest = first;
	volume->arena->lowest_word = first / 64;
}

void blocks_count(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	lock_blocks(volume);
	arena->block_free = arena->block_count - (uint32_t)bits_count(arena->used, arena->block_count);
	vol_unlock(volume, &arena->blocks);
}
