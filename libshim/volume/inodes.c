/*
 * inodes.c - inodes in memory, and the numbers that are free.
 *
 * Owns: the pool of inodes, its buckets, the map of numbers. Must never: drop one whose record or nodes are not saved, or
 * hold the list's lock while the container is read. Called by: names.c, the shim, the core.
 *
 * A record is saved into the table by checkpoints only; until then the log has it. So an inode that was changed stays here.
 */
#include "blocks.h"
#include "inodes.h"

enum { CHAIN_MAX = 4096, TRIES_MAX = 1000, SMALL_CUT = 1 };

static uint32_t *bucket(struct volume *volume, uint64_t ino)
{
	return &volume->arena->inode_bucket[(ino * 0x9e3779b97f4a7c15ULL) >> 47];
}

_Static_assert(INODE_BUCKETS == 1 << 17, "bucket() gives 17 bits");

uint32_t inode_index(const struct volume *volume, const struct vol_inode *inode)
{
	return (uint32_t)(inode - volume->arena->inode);
}

struct vol_inode *inode_at(const struct volume *volume, uint32_t index)
{
	return &volume->arena->inode[index % INODE_SLOTS];
}

static bool is_taken(const struct volume *volume, const struct vol_inode *inode)
{
	return bit_test(volume->arena->inode_taken, inode_index(volume, inode));
}

struct vol_inode *inode_find(struct volume *volume, uint64_t ino)
{
	uint32_t slot = __atomic_load_n(bucket(volume, ino), __ATOMIC_ACQUIRE);

	if (ino == VOLUME_TABLE_INO)
		return &volume->arena->table;
	for (int i = 0; slot && i < CHAIN_MAX; i++) {
		struct vol_inode *inode = inode_at(volume, slot);

		if (__atomic_load_n(&inode->ino, __ATOMIC_ACQUIRE) == ino && is_taken(volume, inode))
			return inode;
		slot = __atomic_load_n(&inode->next, __ATOMIC_ACQUIRE);
	}
	return NULL;
}

void inode_mark(struct volume *volume, struct vol_inode *inode, bool is_logged)
{
	struct volume_arena *arena = volume->arena;
	uint32_t flags = INODE_CHANGED | (is_logged ? INODE_UNLOGGED : 0), slot;

	if (inode == &arena->table)
		return;
	slot = inode_index(volume, inode);
	__atomic_fetch_add(&inode->changes, 1, __ATOMIC_RELAXED);
	__atomic_fetch_or(&inode->flags, flags, __ATOMIC_ACQ_REL);
	if (bit_set(arena->inode_changed, slot))
		__atomic_fetch_add(&arena->changed_inodes, 1, __ATOMIC_RELAXED);
	if (is_logged && bit_set(arena->inode_pending, slot))
		arena_waits(volume);
}

void inode_changed(struct volume *volume, struct vol_inode *inode)
{
	inode_mark(volume, inode, true);
}

void inode_share(struct vol_inode *inode)
{
	__atomic_fetch_add(&inode->users, 1, __ATOMIC_RELAXED);
}

/* The list's lock is held, as in all down to inode_take. */
static void unlist(struct volume *volume, struct vol_inode *inode)
{
	uint32_t *from = bucket(volume, inode->ino), slot = inode_index(volume, inode);

	for (int i = 0; *from && i < CHAIN_MAX; i++) {
		if (*from == slot) {
			__atomic_store_n(from, inode->next, __ATOMIC_RELEASE);
			break;
		}
		from = &inode_at(volume, *from)->next;
	}
	bit_clear(volume->arena->inode_taken, slot);
	volume->arena->inode_generation++;
}

static bool is_idle(const struct vol_inode *inode)
{
	return !__atomic_load_n(&inode->users, __ATOMIC_ACQUIRE) && !__atomic_load_n(&inode->flags, __ATOMIC_ACQUIRE) &&
	       !inode->mapped && !inode->lock.word;
}

/* A free slot, or that of an inode that nobody uses and that is as the disk has it. */
static long take_slot(struct volume *volume, uint32_t *slot)
{
	struct volume_arena *arena = volume->arena;

	*slot = (uint32_t)bits_next_clear(arena->inode_taken, 1, INODE_SLOTS);
	for (uint32_t i = 0; *slot == INODE_SLOTS && i < INODE_SLOTS; i++) {
		uint32_t at = arena->inode_hand++ % INODE_SLOTS;

		if (at && is_idle(inode_at(volume, at))) {
			unlist(volume, inode_at(volume, at));
			*slot = at;
		}
	}
	return *slot == INODE_SLOTS ? -ENFILE : 0;
}

static long insert(struct volume *volume, uint64_t ino, const struct volume_record *record, struct vol_inode **inode)
{
	uint32_t slot, *head = bucket(volume, ino);
	struct vol_inode *new;

	VOL_TRY(take_slot(volume, &slot));
	new = inode_at(volume, slot);
	memset(new, 0, sizeof *new);
	new->record = *record;
	new->users = 1;
	new->next = *head;
	__atomic_store_n(&new->ino, ino, __ATOMIC_RELEASE);
	bit_set(volume->arena->inode_taken, slot);
	__atomic_store_n(head, slot, __ATOMIC_RELEASE);
	*inode = new;
	return 0;
}

/* True: it is in memory, and has a user more. */
static bool take_found(struct volume *volume, uint64_t ino, struct vol_inode **inode)
{
	*inode = inode_find(volume, ino);
	if (*inode)
		inode_share(*inode);
	return *inode;
}

/* The record is read without the lock: an eviction meanwhile may have made it old, so that is counted. */
long inode_take(struct volume *volume, uint64_t ino, struct vol_inode **inode)
{
	struct volume_arena *arena = volume->arena;
	struct volume_record record;
	long result = 1;

	if (ino == VOLUME_TABLE_INO || ino >= INODES_MAX)
		return -ENOENT;
	for (int i = 0; i < TRIES_MAX && result == 1; i++) {
		uint64_t generation;
		bool is_found;

		vol_lock(volume, &arena->inodes);
		is_found = take_found(volume, ino, inode);
		generation = arena->inode_generation;
		vol_unlock(volume, &arena->inodes);
		if (is_found)
			return 0;
		VOL_TRY(data_get(volume, &arena->table, &record, sizeof record, ino * sizeof record));
		vol_lock(volume, &arena->inodes);
		if (take_found(volume, ino, inode))
			result = 0;
		else if (arena->inode_generation == generation)
			result = insert(volume, ino, &record, inode);
		vol_unlock(volume, &arena->inodes);
	}
	return result == 1 ? -ENFILE : result;
}

long inode_get(struct volume *volume, uint64_t ino, struct vol_inode **inode)
{
	VOL_TRY(inode_take(volume, ino, inode));
	if ((*inode)->record.mode)
		return 0;
	__atomic_fetch_sub(&(*inode)->users, 1, __ATOMIC_RELEASE);
	return -ENOENT;
}

/* The record first says that it is an orphan (its nlink is 0 already), last that it is free; a mount frees what is left. */
static void free_inode(struct volume *volume, struct vol_inode *inode)
{
	struct volume_arena *arena = volume->arena;
	uint64_t ino = inode->ino;
	uint32_t generation = inode->record.generation;

	inode_changed(volume, inode);
	if (data_cut(volume, inode, 0) < 0)
		return;		/* reported; the number and what is left of its blocks stay used until the next mount */
	inode->record = (struct volume_record){ .generation = generation, .height = inode->record.height };
	inode->read_next = inode->last_node = 0;
	inode_changed(volume, inode);
	vol_lock(volume, &arena->inodes);
	bit_clear(arena->ino_used, ino);
	if (ino < arena->ino_lowest)
		arena->ino_lowest = ino;
	__atomic_fetch_sub(&arena->inodes_used, 1, __ATOMIC_RELAXED);
	vol_unlock(volume, &arena->inodes);
}

/* The last user keeps its own count until the inode is free, so that nobody else finds it idle. */
void inode_put(struct volume *volume, struct vol_inode *inode)
{
	bool is_last;

	vol_lock(volume, &volume->arena->inodes);
	is_last = inode->users == 1 && !inode->record.nlink && inode->record.mode && !volume->arena->is_readonly &&
		  !volume->arena->is_broken;
	if (!is_last)
		__atomic_fetch_sub(&inode->users, 1, __ATOMIC_RELEASE);
	vol_unlock(volume, &volume->arena->inodes);
	if (!is_last)
		return;
	free_inode(volume, inode);
	__atomic_fetch_sub(&inode->users, 1, __ATOMIC_RELEASE);
}

static long take_number(struct volume *volume, uint64_t *ino)
{
	struct volume_arena *arena = volume->arena;
	uint64_t at;

	vol_lock(volume, &arena->inodes);
	at = bits_next_clear(arena->ino_used, arena->ino_lowest, INODES_MAX);
	if (at < INODES_MAX) {
		bit_set(arena->ino_used, at);
		arena->ino_lowest = at + 1;
		__atomic_fetch_add(&arena->inodes_used, 1, __ATOMIC_RELAXED);
	}
	vol_unlock(volume, &arena->inodes);
	*ino = at;
	return at < INODES_MAX ? 0 : -ENOSPC;
}

long inode_new(struct volume *volume, const struct volume_record *record, struct vol_inode **inode)
{
	struct volume_time now = volume->host->now(volume->context);
	struct volume_record *own;
	uint64_t ino;
	long result;

	VOL_TRY(arena_may_change(volume));
	VOL_TRY(blocks_reserve(volume, 1, ROOM_FOR_INODES));
	VOL_TRY(take_number(volume, &ino));
	result = inode_take(volume, ino, inode);
	if (result < 0) {
		bit_clear(volume->arena->ino_used, ino);
		return result;
	}
	vol_lock(volume, &(*inode)->lock);
	own = &(*inode)->record;
	own->uid = record->uid;
	own->gid = record->gid;
	own->device = record->device;
	own->parent = record->parent;
	own->accessed = own->modified = own->changed = own->born = now;
	own->nlink = 0;
	own->size = own->chunks = 0;
	own->generation++;
	own->mode = record->mode;
	inode_changed(volume, *inode);
	vol_unlock(volume, &(*inode)->lock);
	return 0;
}
