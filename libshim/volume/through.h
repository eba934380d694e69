/*
 * through.h - big transfers that go past the cache.
 *
 * Owns: nothing. Must never: be used where a chunk is in the cache. Called by: data.c, with the node locked.
 */
#ifndef SCONE_VOLUME_THROUGH_H
#define SCONE_VOLUME_THROUGH_H

#include "nodes.h"

/* Whole chunks of one node, between the container and the program's memory. */
struct through { struct vol_inode *inode; struct vol_node *node; uint32_t first, count; };

/* Whether a read of `count` whole chunks from `first` on goes past the cache: it is big, none of them is in memory, or was read so
 * before, unless the file is too big to be kept. */
bool through_reads(struct volume *volume, const struct through *through);

/* The same for a write. */
bool through_writes(const struct through *through);

/* Reads them: 0, -EIO (damaged or tampered with; reported), -EFAULT. */
VOL_NODISCARD long through_read(struct volume *volume, const struct through *through, void *to);

/* Writes them to free blocks: they are unlogged then. Blocks were reserved. How many were written, at least one; -EFAULT, -ENOSPC,
 * -EIO. */
VOL_NODISCARD long through_write(struct volume *volume, const struct through *through, const void *from);

#endif
