/*
 * blocks.h - which blocks of the container are free.
 *
 * Owns: the map of used blocks, the lists of those that become free, the container's size. Must never: give a block out that
 * something durable still names. Called by: cache.c, nodes.c, cut.c, commit.c, checkpoint.c, mount.c.
 */
#ifndef SCONE_VOLUME_BLOCKS_H
#define SCONE_VOLUME_BLOCKS_H

#include "arena.h"

enum { BLOCKS_FOR_LOG_BUFFER = STAGINGS };	/* the commit lock's holder, who saves nodes */

/* Up to `want` adjacent blocks, marked as used: how many, the first in *first. Grows the container if it must. -ENOSPC. They are
 * for what stands in a staging buffer; blocks_placing and blocks_named stand around the naming of each of them, in their order. */
VOL_NODISCARD long blocks_take(struct volume *volume, uint32_t want, uint32_t staging, uint32_t *first);
void blocks_placing(struct volume *volume, uint32_t staging);
void blocks_named(struct volume *volume, uint32_t staging);

/* Those that are not named are free again: after a failure, or the death of who took them. The buffer's lock is held. */
void blocks_give_up(struct volume *volume, uint32_t staging);

/* A block that nothing in memory names any more; it can be used again once a commit (checkpoint) that begins after this is
 * durable. What changed the naming entry was marked as unlogged (changed) before. 0: nothing to do. */
void blocks_free(struct volume *volume, uint32_t block, enum freed_kind kind);

/* Room for `count` chunks more that are about to be dirty, beside all that is dirty and a checkpoint's nodes. -ENOSPC. */
VOL_NODISCARD long blocks_reserve(struct volume *volume, uint64_t count);

/* A commit begins: what was freed before this call becomes free with it, by blocks_release. */
void blocks_mark(struct volume *volume, enum freed_kind kind);
void blocks_release(struct volume *volume, enum freed_kind kind);

/* For a mount: one more block is in use. False: it already was, or lies outside of the data. */
VOL_NODISCARD bool blocks_claim(struct volume *volume, uint32_t block);

/* For a mount: all that comes before the data is in use; the container has so many blocks. And counts what is free. */
void blocks_begin(struct volume *volume, uint32_t block_count);
void blocks_count(struct volume *volume);

#endif
