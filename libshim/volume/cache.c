/*
 * cache.c - chunks in windows: read from the container, and written to it.
 *
 * Owns: which chunks are valid and dirty. Must never: make a chunk valid whose tag is wrong, or seal what another process can
 * change meanwhile (a mapped window): that is copied first. Called by: see cache.h.
 */
#include "blocks.h"
#include "cache.h"
#include "cipher.h"
#include "window.h"

enum { FAN_BITS = 7 };

/* Chunks of one node, one behind the other in the container. */
struct run { uint32_t at, count; };

void cache_validate(struct volume *volume, struct vol_node *node, uint32_t at)
{
	if (mask_test(&node->valid, at))
		return;
	node->touched += node->touched < VOLUME_FAN;
	__atomic_fetch_add(&volume->arena->cached, 1, __ATOMIC_RELAXED);
	mask_set(&node->valid, at);
}

void cache_dirty(struct volume *volume, struct vol_node *node, uint32_t at)
{
	if (mask_test(&node->dirty, at))
		return;
	__atomic_fetch_add(&volume->arena->dirty, 1, __ATOMIC_RELAXED);
	mask_set(&node->dirty, at);
	node_pends(volume, node);
}

static void tell(struct volume *volume, const struct vol_node *node, uint32_t at, uint32_t count, const char *why)
{
	volume->host->report(volume->context, node->ino, ((node->index << FAN_BITS) + at) * VOLUME_BLOCK,
			     (uint64_t)count * VOLUME_BLOCK, why);
}

/* Opens what was read of one run; -EIO if a tag is wrong. */
static long open_run(struct volume *volume, struct vol_node *node, struct run run, const uint8_t *bytes)
{
	const struct volume_entry *entries = node_entries(volume, node);
	uint64_t chunk = node->index << FAN_BITS;
	struct mask wrong = { 0 };

	cipher_begin(volume);
	for (uint32_t i = 0; i < run.count; i++) {
		uint32_t at = run.at + i;

		if (!cipher_open_block(volume, cipher_place(node->ino, 0, chunk + at), node->flags & NODE_PLAIN,
				       bytes + (uint64_t)i * VOLUME_BLOCK,
				       node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK, &entries[at]))
			mask_set(&wrong, at);
	}
	cipher_end(volume);
	for (uint32_t at = run.at; at < run.at + run.count; at++) {
		if (mask_test(&wrong, at))
			tell(volume, node, at, 1, "damaged, or changed by somebody else");
		else
			cache_validate(volume, node, at);
	}
	return mask_any(&wrong) ? -EIO : 0;
}

static long read_run(struct volume *volume, struct vol_node *node, struct run run)
{
	uint32_t block = node_entries(volume, node)[run.at].block, staging = staging_take(volume);
	uint8_t *bytes = volume->arena->staging_bytes[staging];
	long result = volume->host->read(volume->context, bytes, (uint64_t)run.count * VOLUME_BLOCK,
					 (uint64_t)block * VOLUME_BLOCK);

	if (result >= 0)
		result = open_run(volume, node, run, bytes);
	else
		tell(volume, node, run.at, run.count, "can't be read");
	staging_give(volume, staging);
	return result < 0 ? -EIO : 0;
}

/* How many chunks from `at` on are not in memory and stand one behind the other. */
static struct run next_run(const struct vol_node *node, const struct volume_entry *entries, uint32_t at, uint32_t last)
{
	struct run run = { at, 1 };

	while (at + run.count <= last && !mask_test(&node->valid, at + run.count) &&
	       entries[at + run.count].block == entries[at].block + run.count)
		run.count++;
	return run;
}

long cache_load(struct volume *volume, struct vol_node *node, uint32_t first, uint32_t last, bool with_holes)
{
	const struct volume_entry *entries = node_entries(volume, node);
	long result = 0;

	if (counter(&volume->arena->cached) > volume->arena->cache_size)
		node_evict(volume, volume->arena->cache_size - volume->arena->cache_size / 16);
	for (uint32_t at = first; at <= last; at++) {
		struct run run;

		if (mask_test(&node->valid, at) || (entry_is_hole(&entries[at]) && !with_holes))
			continue;
		if (entry_is_hole(&entries[at])) {
			memset(node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK, 0, VOLUME_BLOCK);
			cache_validate(volume, node, at);
			continue;
		}
		run = next_run(node, entries, at, last);
		if (read_run(volume, node, run) < 0)
			result = -EIO;
		at += run.count - 1;
	}
	return result;
}

/* The dirty chunks' numbers. */
static uint32_t dirty_chunks(const struct vol_node *node, uint8_t chunks[VOLUME_FAN])
{
	uint32_t count = 0;

	for (uint32_t at = 0; at < VOLUME_FAN; at++)
		if (mask_test(&node->dirty, at))
			chunks[count++] = (uint8_t)at;
	return count;
}

/* Chunks of a node that are to be written: from its window, or from the buffer where they stand already. */
struct chunks { const uint8_t *numbers; uint32_t count; bool are_staged; };

/* Seals chunks into the buffer, with their new entries. A mapped one is copied first, and its copy's hash is kept. */
static void seal_chunks(struct volume *volume, struct vol_node *node, const struct chunks *chunks, uint32_t count, uint8_t *bytes,
			struct volume_entry *entries)
{
	uint64_t first = node->index << FAN_BITS;

	cipher_begin(volume);
	for (uint32_t i = 0; i < count; i++, bytes += VOLUME_BLOCK) {
		uint32_t at = chunks->numbers[i];
		const uint8_t *from = chunks->are_staged ? bytes : node_window(volume, node) + (uint64_t)at * VOLUME_BLOCK;

		if (node->flags & NODE_MAPPED) {
			memcpy(bytes, from, VOLUME_BLOCK);
			window_note(volume, node, at, bytes);
			from = bytes;
		}
		cipher_seal_block(volume, cipher_place(node->ino, 0, first + at), node->flags & NODE_PLAIN, from, bytes,
				  &entries[i]);
	}
	cipher_end(volume);
}

/* The chunk's new place counts. Its dirty mark goes last: who is killed before flushes it once more. */
static void settle(struct volume *volume, struct vol_node *node, uint32_t at, const struct volume_entry *entry)
{
	struct volume_entry *own = &node_entries(volume, node)[at];
	uint32_t before = own->block;

	if (node->ino != VOLUME_TABLE_INO)	/* the table's chunks are not logged: its records are */
		mask_set(&node->unlogged, at);
	*own = *entry;
	__asm__ volatile("" : : : "memory");
	if (mask_test(&node->dirty, at))
		__atomic_fetch_sub(&volume->arena->dirty, 1, __ATOMIC_RELAXED);
	mask_clear(&node->dirty, at);
	blocks_free(volume, before, node->ino == VOLUME_TABLE_INO ? FREED_BY_CHECKPOINT : FREED_BY_COMMIT);
}

/* Writes as many of the chunks as there are adjacent blocks: how many. */
static long write_run(struct volume *volume, struct vol_node *node, const struct chunks *chunks, uint32_t staging)
{
	uint8_t *bytes = volume->arena->staging_bytes[staging];
	struct volume_entry entries[VOLUME_FAN];
	uint32_t first;
	long taken = blocks_take(volume, chunks->count, staging, &first), result;

	VOL_TRY(taken);
	seal_chunks(volume, node, chunks, (uint32_t)taken, bytes, entries);
	result = volume->host->write(volume->context, bytes, (uint64_t)taken * VOLUME_BLOCK, (uint64_t)first * VOLUME_BLOCK);
	if (result < 0) {
		blocks_give_up(volume, staging);
		return result;
	}
	node_changed(volume, node);
	for (uint32_t i = 0; i < taken; i++) {
		entries[i].block = first + i;
		blocks_placing(volume, staging);
		settle(volume, node, chunks->numbers[i], &entries[i]);
		blocks_named(volume, staging);
	}
	return taken;
}

long cache_flush(struct volume *volume, struct vol_node *node)
{
	uint8_t chunks[VOLUME_FAN];
	uint32_t count = dirty_chunks(node, chunks), done = 0, staging;
	long result = 0;

	if (!count)
		return 0;
	node_pends(volume, node);
	staging = staging_take(volume);
	while (done < count && result >= 0) {
		struct chunks left = { chunks + done, count - done, false };

		result = write_run(volume, node, &left, staging);
		if (result > 0)
			done += (uint32_t)result;
	}
	staging_give(volume, staging);
	return result < 0 ? result : 0;
}

long cache_write_staged(struct volume *volume, struct vol_node *node, uint32_t first, uint32_t count, uint32_t staging)
{
	uint8_t numbers[VOLUME_FAN];
	struct chunks chunks = { numbers, count, true };

	for (uint32_t i = 0; i < count; i++)
		numbers[i] = (uint8_t)(first + i);
	return write_run(volume, node, &chunks, staging);
}

uint64_t cache_dirty_limit(const struct volume *volume)
{
	return volume->arena->cache_size / 4;
}

long cache_flush_to(struct volume *volume, uint64_t chunks)
{
	struct volume_arena *arena = volume->arena;

	for (uint32_t i = 0; i < NODE_SLOTS && counter(&arena->dirty) > chunks; i++) {
		uint32_t slot = __atomic_fetch_add(&arena->flush_hand, 1, __ATOMIC_RELAXED) % NODE_SLOTS;
		struct vol_node *node = &arena->node[slot];
		long result;

		if (!bit_test(arena->node_pending, slot) || !mask_any(&node->dirty))
			continue;
		vol_lock(volume, &node->lock);
		result = node->is_used ? cache_flush(volume, node) : 0;
		vol_unlock(volume, &node->lock);
		VOL_TRY(result);
	}
	return 0;
}

long cache_flush_table(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;
	long result = 0;

	for (uint64_t slot = bits_next(arena->node_pending, 0, NODE_SLOTS); slot < NODE_SLOTS && result >= 0;
	     slot = bits_next(arena->node_pending, slot + 1, NODE_SLOTS)) {
		struct vol_node *node = &arena->node[slot];

		if (node->ino != VOLUME_TABLE_INO)
			continue;
		vol_lock(volume, &node->lock);
		result = node->is_used && node->ino == VOLUME_TABLE_INO ? cache_flush(volume, node) : 0;
		vol_unlock(volume, &node->lock);
	}
	return result;
}
