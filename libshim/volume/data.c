/*
 * data.c - reading and writing what inodes hold.
 *
 * Owns: inode_read, inode_write. Must never: take a lock for a read of cached chunks. Called by: names.c, the shim, inodes.c.
 */
#include "blocks.h"
#include "cache.h"
#include "data.h"
#include "inodes.h"
#include "through.h"

enum { QUICK_TRIES = 3, FIRST_AHEAD = 16, TYPE_MASK = 0170000, TYPE_DIRECTORY = 0040000 };
#define OFFSET_MAX (1ULL << 47)	/* what a tree of VOLUME_HEIGHT_MAX reaches */

const uint8_t data_zeros[VOLUME_BLOCK] __attribute__((aligned(64)));

/* Bytes within one window. */
struct piece { uint64_t at, size; uint32_t first, last; };

static struct piece piece_at(uint64_t at, uint64_t size)
{
	uint64_t room = WINDOW - at % WINDOW;
	struct piece piece = { at, size < room ? size : room, (uint32_t)(at % WINDOW / VOLUME_BLOCK), 0 };

	piece.last = (uint32_t)((at % WINDOW + piece.size - 1) / VOLUME_BLOCK);
	return piece;
}

static bool all_valid(const struct vol_node *node, uint32_t first, uint32_t last)
{
	for (uint32_t at = first; at <= last; at++)
		if (!mask_test(&node->valid, at))
			return false;
	return true;
}

/* Copies without a lock: 0, -EFAULT; 1: not all is there, or it changed meanwhile. */
static long read_quick(struct volume *volume, uint64_t ino, const struct vol_node *node, struct piece piece, void *to)
{
	uint32_t sequence = __atomic_load_n(&node->sequence, __ATOMIC_ACQUIRE);
	long result;

	if (sequence & 1 || !node->is_used || node->ino != ino || node->level != 1 || node->index != piece.at / WINDOW ||
	    node->flags & NODE_LOADING || !all_valid(node, piece.first, piece.last))
		return 1;
	result = volume->host->copy(volume->context, to, node_window(volume, node) + piece.at % WINDOW, piece.size);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&node->sequence, __ATOMIC_RELAXED) != sequence)
		return 1;
	return result;
}

static long copy_zeros(struct volume *volume, void *to, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		uint64_t part = size - done < VOLUME_BLOCK ? size - done : VOLUME_BLOCK;

		VOL_TRY(volume->host->copy(volume->context, (uint8_t *)to + done, data_zeros, part));
		done += part;
	}
	return 0;
}

/* Up to which chunk to read at a miss: a reader that goes on where the last one ended gets the rest of the node. */
static uint32_t ahead(const struct vol_inode *inode, struct piece piece)
{
	uint32_t more = piece.at == inode->read_next ? piece.at ? VOLUME_FAN : FIRST_AHEAD : 0;

	return piece.last + more < VOLUME_FAN ? piece.last + more : VOLUME_FAN - 1;
}

/* Copies from a locked node, chunk by chunk where some are holes. */
static long read_locked(struct volume *volume, struct vol_inode *inode, struct vol_node *node, struct piece piece, void *to)
{
	const struct volume_entry *entries = node_entries(volume, node);
	uint32_t last = ahead(inode, piece);
	uint64_t done = 0;
	long loaded = 0;

	if (!all_valid(node, piece.first, piece.last)) {
		/* a chunk that was only read ahead may be damaged: what is asked for is looked at below */
		loaded = cache_load(volume, node, piece.first, last, false);
		__atomic_store_n(&inode->read_next, piece.at / WINDOW * WINDOW + ((uint64_t)last + 1) * VOLUME_BLOCK,
				 __ATOMIC_RELAXED);
	}
	while (done < piece.size) {
		uint64_t at = piece.at + done, room = VOLUME_BLOCK - at % VOLUME_BLOCK;
		uint64_t part = piece.size - done < room ? piece.size - done : room;
		uint32_t chunk = (uint32_t)(at % WINDOW / VOLUME_BLOCK);
		const uint8_t *from = node_window(volume, node) + at % WINDOW;

		if (!mask_test(&node->valid, chunk)) {
			if (!entry_is_hole(&entries[chunk]))
				return loaded < 0 ? loaded : -EIO;
			from = data_zeros;
		}
		VOL_TRY(volume->host->copy(volume->context, (uint8_t *)to + done, from, part));
		done += part;
	}
	return 0;
}

/* As far as it goes past the cache: the chunks that a read takes whole. What is left of the piece is in *piece. */
static long read_through(struct volume *volume, struct vol_inode *inode, struct vol_node *node, struct piece *piece, void **to)
{
	struct through through = { inode, node, piece->first, (uint32_t)(piece->size / VOLUME_BLOCK) };
	uint64_t size = (uint64_t)through.count * VOLUME_BLOCK;

	if (piece->at % VOLUME_BLOCK || !through_reads(volume, &through))
		return 0;
	VOL_TRY(through_read(volume, &through, *to));
	*to = (uint8_t *)*to + size;
	*piece = size < piece->size ? piece_at(piece->at + size, piece->size - size) : (struct piece){ 0 };
	return 0;
}

static long read_slowly(struct volume *volume, struct vol_inode *inode, struct piece piece, void *to)
{
	struct vol_node *node;
	long result;

	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, piece.at / WINDOW }, false, &node));
	if (!node)
		return copy_zeros(volume, to, piece.size);
	result = read_through(volume, inode, node, &piece, &to);
	if (result >= 0 && piece.size)
		result = read_locked(volume, inode, node, piece, to);
	__atomic_store_n(&inode->last_node, node_slot(volume, node), __ATOMIC_RELAXED);
	node_unlock(volume, node);
	return result;
}

static long read_piece(struct volume *volume, struct vol_inode *inode, struct piece piece, void *to)
{
	struct vol_node *node = &volume->arena->node[__atomic_load_n(&inode->last_node, __ATOMIC_RELAXED) % NODE_SLOTS];
	long result = 1;

	if (node->ino != inode->ino || node->index != piece.at / WINDOW || !node->is_used || node->level != 1) {
		node = node_find(volume, inode->ino, 1, piece.at / WINDOW);
		if (!node)
			return read_slowly(volume, inode, piece, to);
		__atomic_store_n(&inode->last_node, node_slot(volume, node), __ATOMIC_RELAXED);
	}
	for (int i = 0; i < QUICK_TRIES && result == 1; i++)
		result = read_quick(volume, inode->ino, node, piece, to);
	if (result == 1)
		return read_slowly(volume, inode, piece, to);
	if (!__atomic_load_n(&node->referenced, __ATOMIC_RELAXED))
		__atomic_store_n(&node->referenced, 1, __ATOMIC_RELAXED);
	return result;
}

static long read_pieces(struct volume *volume, struct vol_inode *inode, void *to, uint64_t size, uint64_t at)
{
	uint64_t done = 0;

	while (done < size) {
		struct piece piece = piece_at(at + done, size - done);
		long result = read_piece(volume, inode, piece, (uint8_t *)to + done);

		if (result < 0)
			return done ? (long)done : result;
		done += piece.size;
	}
	return (long)done;
}

long inode_read(struct volume *volume, struct vol_inode *inode, void *to, uint64_t size, uint64_t at)
{
	uint64_t end = __atomic_load_n(&inode->record.size, __ATOMIC_ACQUIRE);

	if (at >= end)
		return 0;
	return read_pieces(volume, inode, to, size < end - at ? size : end - at, at);
}

/* How a piece is filled: from the program's memory, from ours, or with zeros. */
struct source { const void *from; bool is_program; };

static long fill(struct volume *volume, struct source source, uint8_t *to, uint64_t size)
{
	if (source.is_program)
		return volume->host->copy(volume->context, to, source.from, size);
	if (source.from)
		memcpy(to, source.from, size);
	else
		memset(to, 0, size);
	return 0;
}

/* Chunks that the piece covers in part are read first, or start as zeros. */
static long load_edges(struct volume *volume, struct vol_node *node, struct piece piece)
{
	if (piece.at % VOLUME_BLOCK || piece.size < VOLUME_BLOCK)
		VOL_TRY(cache_load(volume, node, piece.first, piece.first, true));
	if ((piece.at + piece.size) % VOLUME_BLOCK)
		VOL_TRY(cache_load(volume, node, piece.last, piece.last, true));
	return 0;
}

/* Chunks that were valid are dirty before they change; others become valid once they are whole. */
static long write_chunks(struct volume *volume, struct vol_inode *inode, struct vol_node *node, struct piece piece,
			 struct source source)
{
	const struct volume_entry *entries = node_entries(volume, node);
	uint64_t new = 0;
	long result;

	for (uint32_t at = piece.first; at <= piece.last; at++) {
		new += !mask_test(&node->dirty, at) && entry_is_hole(&entries[at]);
		if (mask_test(&node->valid, at))
			cache_dirty(volume, node, at);
	}
	node_begin(node);
	result = fill(volume, source, node_window(volume, node) + piece.at % WINDOW, piece.size);
	for (uint32_t at = piece.first; at <= piece.last && result >= 0; at++) {
		cache_validate(volume, node, at);
		cache_dirty(volume, node, at);
	}
	node_end(node);
	__atomic_fetch_add(&inode->record.chunks, new, __ATOMIC_RELAXED);
	return result;
}

/* Whole chunks past the cache; the piece becomes what could be written. */
static long write_through(struct volume *volume, struct through *through, struct piece *piece, struct source source)
{
	const struct volume_entry *entries = node_entries(volume, through->node);
	uint8_t was_hole[VOLUME_FAN];
	uint64_t new = 0;
	long count;

	for (uint32_t i = 0; i < through->count; i++)
		was_hole[i] = entry_is_hole(&entries[through->first + i]);
	count = through_write(volume, through, source.from);
	VOL_TRY(count);
	for (long i = 0; i < count; i++)
		new += was_hole[i];
	__atomic_fetch_add(&through->inode->record.chunks, new, __ATOMIC_RELAXED);
	piece->size = (uint64_t)count * VOLUME_BLOCK;
	return 0;
}

static long write_locked(struct volume *volume, struct vol_inode *inode, struct vol_node *node, struct piece *piece,
			 struct source source)
{
	struct through through = { inode, node, piece->first, (uint32_t)(piece->size / VOLUME_BLOCK) };

	if (piece->at % VOLUME_BLOCK == 0 && piece->size % VOLUME_BLOCK == 0 && source.is_program && through_writes(&through))
		return write_through(volume, &through, piece, source);
	VOL_TRY(load_edges(volume, node, *piece));
	return write_chunks(volume, inode, node, *piece, source);
}

static long write_piece(struct volume *volume, struct vol_inode *inode, struct piece *piece, struct source source)
{
	bool is_directory = (inode->record.mode & TYPE_MASK) == TYPE_DIRECTORY;
	struct vol_node *node;
	long result;

	VOL_TRY(node_reach(volume, inode, (piece->at + piece->size - 1) / VOLUME_BLOCK));
	if (inode->ino != VOLUME_TABLE_INO)	/* its room is kept by all others' reserves */
		VOL_TRY(blocks_reserve(volume, piece->last - piece->first + 1, is_directory ? ROOM_FOR_NAMES : ROOM_FOR_DATA));
	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, piece->at / WINDOW }, true, &node));
	if (!node)
		return -EIO;
	result = write_locked(volume, inode, node, piece, source);
	__atomic_store_n(&inode->last_node, node_slot(volume, node), __ATOMIC_RELAXED);
	node_unlock(volume, node);
	VOL_TRY(result);
	if (counter(&volume->arena->cached) > volume->arena->cache_size)
		node_evict(volume, volume->arena->cache_size - volume->arena->cache_size / 16);
	return 0;
}

/* Too much dirty data is written now. If that fails it stays dirty, and a commit will tell; but not without end. */
static long flush_excess(struct volume *volume, struct vol_inode *inode)
{
	uint64_t limit = cache_dirty_limit(volume);
	long result;

	if (counter(&volume->arena->dirty) <= limit || inode->ino == VOLUME_TABLE_INO)
		return 0;
	result = cache_flush_to(volume, limit - limit / 4);
	return counter(&volume->arena->dirty) > 2 * limit ? result : 0;
}

static long write_pieces(struct volume *volume, struct vol_inode *inode, struct source source, uint64_t size, uint64_t at)
{
	uint64_t done = 0;

	while (done < size) {
		struct piece piece = piece_at(at + done, size - done);
		struct source part = { source.from ? (const uint8_t *)source.from + done : NULL, source.is_program };
		long result = flush_excess(volume, inode);

		if (result >= 0)
			result = write_piece(volume, inode, &piece, part);
		if (result < 0)
			return done ? (long)done : result;
		done += piece.size;
	}
	return (long)done;
}

long data_zero(struct volume *volume, struct vol_inode *inode, uint64_t from, uint64_t to)
{
	struct piece piece;
	struct vol_node *node;
	uint32_t at = (uint32_t)(from % WINDOW / VOLUME_BLOCK);
	bool is_hole;

	if (from >= to)
		return 0;
	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, from / WINDOW }, false, &node));
	if (!node)
		return 0;
	is_hole = !mask_test(&node->valid, at) && entry_is_hole(&node_entries(volume, node)[at]);
	node_unlock(volume, node);
	if (is_hole)
		return 0;
	piece = piece_at(from, to - from);
	return write_piece(volume, inode, &piece, (struct source){ 0 });
}

/* Behind the end of a file a chunk may hold what a mapping wrote there, or what a crash left: it must not come to light. */
long data_extend(struct volume *volume, struct vol_inode *inode, uint64_t end)
{
	uint64_t size = inode->record.size, rest = (VOLUME_BLOCK - size % VOLUME_BLOCK) % VOLUME_BLOCK;

	VOL_TRY(data_recut(volume, inode));
	return end > size ? data_zero(volume, inode, size, size + rest) : 0;
}

long data_get(struct volume *volume, struct vol_inode *inode, void *to, uint64_t size, uint64_t at)
{
	struct vol_node *node;
	struct piece piece = piece_at(at, size);
	long result;

	VOL_TRY(node_lock(volume, (struct node_key){ inode, 1, at / WINDOW }, false, &node));
	if (!node) {
		memset(to, 0, size);
		return 0;
	}
	result = cache_load(volume, node, piece.first, piece.last, true);
	if (result >= 0)
		memcpy(to, node_window(volume, node) + at % WINDOW, size);
	node_unlock(volume, node);
	return result;
}

long data_put(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at)
{
	struct piece piece = piece_at(at, size);

	VOL_TRY(write_piece(volume, inode, &piece, (struct source){ from, false }));
	if (at + size > inode->record.size)
		inode->record.size = at + size;
	return 0;
}

void data_touch(struct volume *volume, struct vol_inode *inode)
{
	inode->record.modified = inode->record.changed = volume->host->now(volume->context);
	inode_changed(volume, inode);
}

long inode_write_locked(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at)
{
	long result;

	VOL_TRY(arena_may_change(volume));
	if (at == INODE_APPEND)
		at = inode->record.size;
	if (at >= OFFSET_MAX || size > OFFSET_MAX - at)
		return -EFBIG;
	if (!size)
		return 0;
	inode_changed(volume, inode);
	VOL_TRY(data_extend(volume, inode, at + size));
	result = write_pieces(volume, inode, (struct source){ from, true }, size, at);
	if (result > 0 && at + (uint64_t)result > inode->record.size)
		__atomic_store_n(&inode->record.size, at + (uint64_t)result, __ATOMIC_RELEASE);
	if (result > 0)
		data_touch(volume, inode);
	return result;
}

/* When there is no room, blocks may wait to be free: a checkpoint makes them so, once. */
bool data_tries_again(struct volume *volume, long result, int tries)
{
	return result == -ENOSPC && !tries && volume_checkpoint(volume, false) >= 0;
}

long inode_write(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at, uint64_t *end)
{
	long result = 0;

	VOL_TRY(volume_make_room(volume));
	for (int i = 0; i < 2; i++) {
		uint64_t begin;

		vol_lock(volume, &inode->lock);
		begin = at == INODE_APPEND ? inode->record.size : at;
		result = inode_write_locked(volume, inode, from, size, begin);
		vol_unlock(volume, &inode->lock);
		if (result >= 0 && end)
			*end = begin + (uint64_t)result;
		if (!data_tries_again(volume, result, i))
			return result;
	}
	return result;
}
