/*
 * inode.h - inodes and their data.
 *
 * Owns: struct vol_inode, in the arena; reading, writing, cutting what an inode holds. Must never: know names or
 * descriptors. Used by: names.c, enclave/volume_*.c.
 *
 * Locks, in this order: the commit's, the tree's (names.h), an inode's, a node's (a child's before its parent's), an inode's
 * root's, a staging buffer's, the lists' and the allocator's. So a commit is never started while one of the others is held.
 */
#ifndef SCONE_VOLUME_INODE_H
#define SCONE_VOLUME_INODE_H

#include "volume.h"

/* A lock in the arena. Its holder's thread number is in it: whoever waits for a thread that is dead takes it over. */
struct vol_lock { uint32_t word; };
void vol_lock(struct volume *volume, struct vol_lock *lock);
void vol_unlock(struct volume *volume, struct vol_lock *lock);

struct vol_inode {
	struct vol_lock lock;		/* of writers of data, size, record */
	uint32_t users;			/* open files, current directories, calls under way */
	uint64_t ino;
	uint32_t flags;			/* store's: what is to be logged and saved */
	uint32_t next;			/* in its hash bucket */
	uint32_t mapped;		/* shared mappings of it in all processes: its chunks are not evicted */
	uint32_t last_node;		/* hint of data.c */
	uint32_t mapped_writable;	/* those of `mapped` that can be written: a commit scans them (inode_scan) */
	struct vol_lock root;		/* of record.height and record.entry */
	uint32_t changes;		/* of the record: whether it changed while it was saved */
	uint32_t reserved;
	uint64_t cut, cut_logging;	/* chunks from there on were cut: to be logged, being logged; plus one, 0: none */
	uint64_t read_next;		/* where the last read ended: reads on from there are read ahead */
	struct volume_record record;	/* as it is now. size and mtime: under lock; others change under the tree's, too */
};

/* The tree's lock: names.c's, who takes it over from a dead thread undoes what that one left undone. A commit holds it while it
 * collects what is to be logged, so that no half of a change is. An error (of the store, while undoing): the lock is not held. */
VOL_NODISCARD long names_lock(struct volume *volume);
void names_unlock(struct volume *volume);

/* Before a change, and before any lock is taken: commits, or makes a checkpoint, when so much waits for one that what is kept
 * in memory until then may fill up. 0, or why that failed (then the change may fail, too: -ENOSPC, -EIO, -EROFS). */
VOL_NODISCARD long volume_make_room(struct volume *volume);

/* Its handle, the same in all processes while it has users; never 0. And back. */
uint32_t inode_index(const struct volume *volume, const struct vol_inode *inode);
struct vol_inode *inode_at(const struct volume *volume, uint32_t index);

/* Takes an inode: loads its record unless it is in memory. -ENOENT: the number is free. */
VOL_NODISCARD long inode_get(struct volume *volume, uint64_t ino, struct vol_inode **inode);

/* One user more. */
void inode_share(struct vol_inode *inode);

/* Gives it back. The last user of one without a name frees its data and its number. */
void inode_put(struct volume *volume, struct vol_inode *inode);

/* A new inode with the record's mode, owner and device, nlink 0, all times now; one user. -ENOSPC. */
VOL_NODISCARD long inode_new(struct volume *volume, const struct volume_record *record, struct vol_inode **inode);

/* Its record was changed by the caller, who holds its lock: the next commit has it. */
void inode_changed(struct volume *volume, struct vol_inode *inode);

/* From the program's point of view (host->copy). Bytes, less at the end of the file; -EFAULT, -EIO (tampered; reported). Does
 * not change the time of access. Takes no lock when all is in the cache. */
VOL_NODISCARD long inode_read(struct volume *volume, struct vol_inode *inode, void *to, uint64_t size, uint64_t at);

enum { INODE_APPEND = ~0ULL };	/* as `at`: where the file ends */

/* Writes and sets mtime and ctime; *end, unless NULL, is the offset behind what was written. Bytes, or -EFBIG, -ENOSPC,
 * -EFAULT, -EIO, -EROFS. */
VOL_NODISCARD long inode_write(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size, uint64_t at,
			       uint64_t *end);

/* The same where the caller holds the inode's lock. */
VOL_NODISCARD long inode_write_locked(struct volume *volume, struct vol_inode *inode, const void *from, uint64_t size,
				      uint64_t at);

/* Sets the size: longer by a hole, or cut. Times as ftruncate sets them. */
VOL_NODISCARD long inode_truncate(struct volume *volume, struct vol_inode *inode, uint64_t size);
VOL_NODISCARD long inode_truncate_locked(struct volume *volume, struct vol_inode *inode, uint64_t size);

/* Bytes from..to read as zeros; the size stays. */
VOL_NODISCARD long inode_punch(struct volume *volume, struct vol_inode *inode, uint64_t from, uint64_t to);

/* SEEK_DATA (is_data) and SEEK_HOLE: where the next one begins, or -ENXIO. */
VOL_NODISCARD long inode_seek(struct volume *volume, struct vol_inode *inode, uint64_t at, bool is_data);

/* Where the 512 KiB from chunk 128 * index on lie in the arena, all of them valid (read and checked; holes are zeros), for a
 * shared mapping; inode->mapped (and mapped_writable) are the caller's to count first. -EIO, -ENOMEM. */
VOL_NODISCARD long inode_window(struct volume *volume, struct vol_inode *inode, uint64_t index, void **window);

/* As volume_commit, but of what mappings changed only this inode's is looked for: what fsync(2) asks for. */
VOL_NODISCARD long inode_commit(struct volume *volume, struct vol_inode *inode);

/* Chunks of mapped windows may have changed without a call: those that differ from what was last written are dirty now. */
VOL_NODISCARD long inode_scan(struct volume *volume, struct vol_inode *inode);

#endif
