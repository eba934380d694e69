/*
 * cache.h - chunks in windows: read from the container, and written to it.
 *
 * Owns: which chunks are valid and dirty. Must never: make a chunk valid whose tag is wrong. Called by: data.c, cut.c, window.c,
 * commit.c, checkpoint.c.
 */
#ifndef SCONE_VOLUME_CACHE_H
#define SCONE_VOLUME_CACHE_H

#include "nodes.h"

/* Makes chunks first..last of a locked node valid, holes too if `with_holes`. -EIO: one is damaged or was tampered with (reported):
 * the others are valid. */
VOL_NODISCARD long cache_load(struct volume *volume, struct vol_node *node, uint32_t first, uint32_t last, bool with_holes);

/* One chunk of a locked node is valid, whatever it held: its bytes are the caller's. */
void cache_validate(struct volume *volume, struct vol_node *node, uint32_t at);

/* One chunk of a locked node is about to be changed: blocks were reserved. */
void cache_dirty(struct volume *volume, struct vol_node *node, uint32_t at);

/* Seals a locked node's dirty chunks and writes them to free blocks: what was dirty is unlogged then. -ENOSPC, -EIO: what was
 * not written is dirty still. */
VOL_NODISCARD long cache_flush(struct volume *volume, struct vol_node *node);

/* Seals and writes chunks of a locked node, none of them in memory, that stand in a staging buffer of the caller's: how many were
 * written and are unlogged now, at least 1; -ENOSPC, -EIO. The buffer no longer holds what it held. */
VOL_NODISCARD long cache_write_staged(struct volume *volume, struct vol_node *node, uint32_t first, uint32_t count,
				      uint32_t staging);

/* Flushes nodes, in turn, until at most so many chunks are dirty. None of them is locked by the caller. */
VOL_NODISCARD long cache_flush_to(struct volume *volume, uint64_t chunks);

/* Flushes the inode table's. */
VOL_NODISCARD long cache_flush_table(struct volume *volume);

/* How many dirty chunks are too many: writers flush then. */
uint64_t cache_dirty_limit(const struct volume *volume);

#endif
