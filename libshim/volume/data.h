/*
 * data.h - what data.c and cut.c have for each other.
 *
 * Owns: nothing. Must never: be included outside of the core. Called by: data.c, cut.c, mount.c. The inode is locked in all of them.
 */
#ifndef SCONE_VOLUME_DATA_H
#define SCONE_VOLUME_DATA_H

#include "nodes.h"

extern const uint8_t data_zeros[VOLUME_BLOCK];

/* Bytes from..to, within one chunk, become zeros, unless it is a hole. */
VOL_NODISCARD long data_zero(struct volume *volume, struct vol_inode *inode, uint64_t from, uint64_t to);

/* Before the file gets longer, up to `end`: what stands behind its present end is zeros. */
VOL_NODISCARD long data_extend(struct volume *volume, struct vol_inode *inode, uint64_t end);

/* Ends the cut of somebody who was killed in it. */
VOL_NODISCARD long data_recut(struct volume *volume, struct vol_inode *inode);

/* The data was changed just now. */
void data_touch(struct volume *volume, struct vol_inode *inode);

/* After a change gave that, the first time (tries 0): whether it may be different now. No lock is held. */
bool data_tries_again(struct volume *volume, long result, int tries);

/* The next node of that level from `index` on that exists: 0 and *index, 1: none; or -EIO. */
VOL_NODISCARD long node_next(struct volume *volume, struct vol_inode *inode, uint32_t level, uint64_t *index);

#endif
