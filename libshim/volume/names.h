/*
 * names.h - directories: names, and the paths made of them.
 *
 * Owns: what directories hold, the index of names in the arena, permissions along a path, the tree's lock. Must never:
 * touch data but by inode.h. Used by: enclave/volume_*.c; tests/volume.
 *
 * A thread that is killed with the tree's lock leaves an undo record in the arena: who takes the lock over undoes the
 * unfinished change (undo.h), so directories, link counts and parents always agree.
 */
#ifndef SCONE_VOLUME_NAMES_H
#define SCONE_VOLUME_NAMES_H

#include "inode.h"

/* Who asks. uid 0 stands for the capabilities that go past permissions. */
struct vol_who {
	uint32_t uid, gid;		/* of the file system's kind: fsuid, fsgid */
	uint32_t group_count;
	uint32_t groups[64];
};

enum { VOL_MAY_EXECUTE = 1, VOL_MAY_WRITE = 2, VOL_MAY_READ = 4 };	/* as access(2) */

/* 0 or -EACCES. */
VOL_NODISCARD long names_permit(const struct volume_record *record, const struct vol_who *who, uint32_t wanted);

/* What a new inode has from its directory: of a setgid one its group, and a directory that bit as well. names_create does
 * it by itself; for O_TMPFILE. */
void names_inherit(const struct volume_record *directory, const struct vol_who *who, struct volume_record *record);

/* record.parent of what is no directory, has no name (nlink 0), and gets none by names_link: it had one, or O_TMPFILE came with
 * O_EXCL. */
#define NAMES_WAS_NAMED (~0ULL)

/* Where a path led. `name` ends with a NUL. For the root, "." and ".." name_size is 0, `name` is "", "." or "..", and the directory
 * is what is named, too. */
struct vol_where {
	struct vol_inode *directory;	/* that the last name is in; the caller's to put. NULL once it led out */
	struct vol_inode *inode;	/* that it names, NULL: there is none (then directory and name say where it would be) */
	const char *name;		/* the last name, in `path`; "" for the root, "." and ".." */
	uint32_t name_size;
	uint32_t must_be_directory;	/* the path ended in a slash */
	char path[4096];		/* what is left to be walked; when directory is NULL: the absolute path outside, to be
					 * walked by others */
};

enum {
	WALK_FOLLOW = 1,		/* the last name, too, if it is a link */
	WALK_PARENT_ONLY = 2,		/* don't look the last name up */
	WALK_CREATE = 4,		/* open(2) with O_CREAT: a slash behind the last name is -EISDIR */
	WALK_NAME = 8,			/* the last name itself: a slash behind it neither follows a link nor is -ENOTDIR (but
					 * must_be_directory is set): for calls that make, move or remove a name */
};

/*
 * Walks `path`, relative to `start`, or to the volume's root if it begins with "/" (the caller has taken the volume's place
 * off). Links are followed, at most 40 (-ELOOP). It leads out, to the absolute path in where->path, by a link with an absolute target
 * that doesn't begin with the volume's own place `mount`, and by ".." at the volume's root; what is behind that
 * is kept as it was written. With mount "/data":
 *
 *	etc -> /etc		"etc/passwd/"	/etc/passwd/		in -> /data/d		"in/f"		f in d
 *	up (in d) -> ../../x	"d/up/y"	/data/../x/y		near -> /database	"near"		/database
 *	""			-ENOENT					"d/none"		d, "none", no inode
 *	"d/none/f"		-ENOENT					"f/", "f/.."		-ENOTDIR
 *	"../d"			/data/../d				"/", "d/.."		root, name of no size
 *
 * 0; -ENOENT (for an inner name), -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG (a name, the path, or a link's target with the rest
 * of the path), -EISDIR (WALK_CREATE), -EIO. After an error where holds nothing. With WALK_PARENT_ONLY where->inode is NULL but
 * for "/". A removed directory has ".", ".." as long as its parent is there, and no other name.
 */
VOL_NODISCARD long names_walk(struct volume *volume, struct vol_inode *start, const char *path, const char *mount,
			      uint32_t flags, const struct vol_who *who, struct vol_where *where);

/* Gives back what a walk took. */
void names_release(struct volume *volume, struct vol_where *where);

/* The inode that `name` is in `directory`: 0 and *ino, or -ENOENT. No permission is asked. */
VOL_NODISCARD long names_find(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
			      uint64_t *ino);

/*
 * Changes. `who` needs write permission for the directory (sticky bits count); errors are those of the call, in Linux's order. All
 * take the tree's lock and make room for it before (inode.h): the caller holds no lock. Names as they came from names_walk: of no
 * size are the root, "." and "..", which `name` tells apart. A new inode has one user, the caller.
 */
VOL_NODISCARD long names_create(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
				const struct volume_record *record, const struct vol_who *who, struct vol_inode **inode);
/* A symbolic link to `target` (1 to 4095 bytes). */
VOL_NODISCARD long names_symlink(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
				 const char *target, const struct vol_who *who);
/* Another name for an inode that is no directory; the first one for what O_TMPFILE made. */
VOL_NODISCARD long names_link(struct volume *volume, struct vol_inode *inode, struct vol_inode *directory, const char *name,
			      uint32_t name_size, const struct vol_who *who);
/* Takes a name away: unlink(2), or rmdir(2). What had its last name then goes with its last user. */
VOL_NODISCARD long names_unlink(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
				bool is_rmdir, const struct vol_who *who);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE. */
VOL_NODISCARD long names_rename(struct volume *volume, struct vol_inode *from, const char *old, uint32_t old_size,
				struct vol_inode *to, const char *new, uint32_t new_size, uint32_t flags,
				const struct vol_who *who);

/* What a symbolic link holds: its size, cut at `size`. */
VOL_NODISCARD long names_readlink(struct volume *volume, struct vol_inode *inode, char *to, uint64_t size);

/* getdents64: fills `to` (trusted memory) with struct linux_dirent64 from *position on, "." and ".." first; bytes, 0 at the
 * end, -EINVAL when not one fits. Names that stay are given once whatever else changes meanwhile. */
VOL_NODISCARD long names_list(struct volume *volume, struct vol_inode *directory, uint64_t *position, void *to, uint64_t size);

/* The absolute path of a directory below the volume's root, "/" for that: its size, or -ENOENT (removed), -ERANGE. */
VOL_NODISCARD long names_path(struct volume *volume, struct vol_inode *directory, char *to, uint64_t size);

/* The same for any inode that has a name, by the directory it was opened in: for /proc/self/fd. */
VOL_NODISCARD long names_path_in(struct volume *volume, struct vol_inode *directory, struct vol_inode *inode, char *to,
				 uint64_t size);

#endif
