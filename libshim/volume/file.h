/*
 * file.h - open files and their locks, shared by the processes of a volume.
 *
 * Owns: struct vol_file (what open(2) makes: one offset, one set of flags, any number of descriptors), locks by flock(2) and
 * fcntl(2). Must never: know a process's descriptor numbers. Used by: enclave/volume_*.c.
 */
#ifndef SCONE_VOLUME_FILE_H
#define SCONE_VOLUME_FILE_H

#include "names.h"

struct vol_file {
	uint32_t users;			/* descriptors, mappings and calls under way, in all processes; 0: free */
	uint32_t flags;			/* of open(2), as F_GETFL tells them */
	struct vol_lock lock;		/* of the offset: a read or write that moves it holds it */
	uint32_t number;		/* its own index */
	uint64_t offset;		/* of a directory: names_list's position */
	uint32_t inode, directory;	/* store's handles (inode_index) of what it names and of where that was opened; 0: none */
	uint64_t place_device, place_number;	/* of the kernel's file that stands for it: a descriptor that came by exec or by
						 * SCM_RIGHTS is recognised by it */
	uint32_t next_by_place;
	uint32_t owner_kind;		/* F_SETOWN and the like: kept, never acted upon */
	int32_t  owner;
	uint32_t reserved;
};

/* A new open file of `inode` (one user of it is taken over), with one user. `directory` (NULL: not known) is shared. -ENFILE. */
VOL_NODISCARD long file_new(struct volume *volume, struct vol_inode *inode, struct vol_inode *directory, uint32_t flags,
			    struct vol_file **file);

/* Which kernel file stands for it. */
void file_place(struct volume *volume, struct vol_file *file, uint64_t device, uint64_t number);

/* The open file for which that kernel file stands, one user more; NULL: none. */
struct vol_file *file_at_place(struct volume *volume, uint64_t device, uint64_t number);

/* One user more. */
void file_share(struct vol_file *file);

/* One user less; the last one gives its flock and its OFD locks back, and its inode. */
void file_put(struct volume *volume, struct vol_file *file);

/* What it names, and the directory in which that was opened (NULL: not known), as long as the caller is a user of it. */
struct vol_inode *file_inode(struct volume *volume, const struct vol_file *file);
struct vol_inode *file_directory(struct volume *volume, const struct vol_file *file);

/* A byte range lock as fcntl(2) has it. Owners: a process (F_SETLK), or an open file (F_OFD_SETLK). */
struct vol_range {
	uint64_t start, end;		/* the last byte; ~0: to the end, however far that goes */
	uint32_t type;			/* F_RDLCK, F_WRLCK, F_UNLCK */
	uint32_t pid;			/* 0: owned by the open file */
	uint32_t file;			/* vol_file.number, when pid is 0 */
	uint32_t reserved;
};

/* Sets or takes back (F_UNLCK) without waiting: 0, -EAGAIN (someone else has it), -ENOLCK. Locks of dead processes don't count. */
VOL_NODISCARD long lock_set(struct volume *volume, struct vol_inode *inode, const struct vol_range *range);

/* The first lock that conflicts with `range` is put there; none: its type becomes F_UNLCK. */
void lock_test(struct volume *volume, struct vol_inode *inode, struct vol_range *range);

/* Waits until the range may be free, or about 50 ms: to try again. 0; -EDEADLK when the processes that wait for one another
 * would never end. Signals may end it early: whether one came is the caller's to know. */
VOL_NODISCARD long lock_wait(struct volume *volume, struct vol_inode *inode, const struct vol_range *range);

/* All of a process's fcntl locks on the inode go: it has closed a descriptor of it. */
void lock_drop(struct volume *volume, struct vol_inode *inode, uint32_t pid);

/* All of a process's fcntl locks on all inodes go: it is dead. Also where pids are used again, before a new one is let in. */
void lock_forget(struct volume *volume, uint32_t pid);

/* flock(2): LOCK_SH, LOCK_EX, LOCK_UN; without waiting: 0, -EAGAIN (a lock of the other kind that the file had is gone then, as
 * natively), -ENOLCK. LOCK_NB is no concern of it. */
VOL_NODISCARD long lock_flock(struct volume *volume, struct vol_file *file, uint32_t operation);

/* As lock_wait, for lock_flock. */
void lock_flock_wait(struct volume *volume, struct vol_file *file, uint32_t operation);

/* What an open file owns goes: its flock and its OFD locks. By file_put. */
void lock_release(struct volume *volume, struct vol_inode *inode, uint32_t file);

#endif
