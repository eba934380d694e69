/*
 * inodes.h - inodes in memory, and the table that they come from: what the core has beside inode.h.
 *
 * Owns: the pool of inodes, which numbers are free. Must never: drop one whose record or nodes are not saved. Called by: data.c,
 * cut.c, commit.c, checkpoint.c, mount.c.
 */
#ifndef SCONE_VOLUME_INODES_H
#define SCONE_VOLUME_INODES_H

#include "arena.h"

/* It if it is in memory, else NULL: no user is counted. */
struct vol_inode *inode_find(struct volume *volume, uint64_t ino);

/* As inode_get, but the number may be free. */
VOL_NODISCARD long inode_take(struct volume *volume, uint64_t ino, struct vol_inode **inode);

/* Its nodes (is_logged: its record, too) are not what the disk has: it stays in memory until a checkpoint. */
void inode_mark(struct volume *volume, struct vol_inode *inode, bool is_logged);

/* Data of an inode (the table too) between offsets, to and from trusted memory. Whoever calls sees to the locks. */
VOL_NODISCARD long data_get(struct volume *volume, struct vol_inode *inode, void *to, uint64_t size, uint64_t at);
VOL_NODISCARD long data_put(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at);

/* Chunks from `first` on are holes (the inode is locked, or nobody else's): their blocks are freed. -EIO: a node could not be read. */
VOL_NODISCARD long data_cut(struct volume *volume, struct vol_inode *inode, uint64_t first);

#endif
