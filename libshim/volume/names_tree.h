/*
 * names_tree.h - what names.c and its parts share: the tree's lock, the index of names, the bytes of directories.
 *
 * Owns: struct names_tree, the beginning of VOL_REGION_NAMES. Must never: be included by others than those parts.
 * Used by: names*.c, names_tree.c, name_index.c, directory.c, names_link.c.
 *
 * Whoever changes a name holds the lock and makes `sequence` odd meanwhile. Lookups take no lock: they note the sequence, look,
 * and believe what they saw if it is the same afterwards. An odd sequence when the lock is taken means that its last holder
 * was killed: the undo record is played back, and the index starts anew.
 */
#ifndef SCONE_VOLUME_NAMES_TREE_H
#define SCONE_VOLUME_NAMES_TREE_H

#include "names.h"
#include "undo.h"
#include "plain.h"

enum {
	CHUNK_HEAD = sizeof(struct volume_name),
	KNOWN_SETS = 16384, KNOWN_WAYS = 4,	/* directories about which the index knows something */
	INDEX_BITS_FIRST = 12, INDEX_BITS_MAX = 23,	/* 64 KiB; 128 MiB, which hold 4 million names */
	INDEXED_CHUNKS_MAX = (1 << (INDEX_BITS_MAX - 1)) / (VOLUME_BLOCK / 24),	/* so that a directory always fits in it alone */
	NO_ROOM_TRIES = 8,		/* chunks that are searched for room before a directory grows */
	LINKS_MAX = 65000,
	TYPE_MASK = 0170000, TYPE_DIRECTORY = 0040000, TYPE_LINK = 0120000,
	BIT_SETGID = 02000, BIT_STICKY = 01000, BIT_GROUP_EXECUTE = 010,
};

/* Where a name is: where its directory's record stands, and a hash of the directory's number and the name; 0: nobody's. */
struct index_slot { uint64_t hash, position; };

/* What is known of a directory. */
struct known {
	uint64_t ino;
	uint32_t listed;		/* names_tree.generation in which all of its names were put into the index */
	uint32_t room;			/* chunks before this one are taken to be full */
};

struct names_tree {
	struct vol_lock lock;
	uint32_t victim;		/* which way of a full set of known[] goes next */
	uint64_t reserved[7];
	/* what lookups read, in cache lines of its own */
	uint32_t sequence;		/* odd: a change is under way */
	uint32_t generation;		/* of the index: counts its new starts; 0: there is none */
	uint64_t seed;			/* of its hashes: names may be chosen by an enemy of the program */
	uint32_t index_bits;
	uint32_t index_used;
	uint64_t reserved_2[5];
	struct undo undo;
	struct known known[KNOWN_SETS][KNOWN_WAYS] __attribute__((aligned(64)));
};

enum { INDEX_AT = 16 << 20 };		/* in the region: what the index begins at */
_Static_assert(sizeof(struct names_tree) <= INDEX_AT, "the index stands behind it");

static inline struct names_tree *tree_of(struct volume *volume)
{
	return volume_region(volume, VOL_REGION_NAMES);
}

static inline bool is_directory(const struct vol_inode *inode)
{
	return (inode->record.mode & TYPE_MASK) == TYPE_DIRECTORY;
}

/* Nothing is looked up in a directory that was removed. */
static inline long name_check(const struct vol_inode *directory, uint32_t size)
{
	if (size <= VOLUME_NAME_MAX)
		return 0;
	return directory->record.nlink ? -ENAMETOOLONG : -ENOENT;
}

/* ---- names_tree.c ---- */

/* names_lock, with room made before for what a change leaves in memory. */
VOL_NODISCARD long tree_lock_to_change(struct volume *volume);

/* Around everything that changes names, records of links or the index, with the lock held. When `result` is an error what was
 * changed since tree_begin is taken back. Hands `result` on. */
void tree_begin(struct volume *volume);
VOL_NODISCARD long tree_end(struct volume *volume, long result);

/* Around a lookup without the lock: false: not now. Afterwards: whether what was seen counts. */
bool tree_look(struct names_tree *tree, uint32_t *sequence);
bool tree_is_same(struct names_tree *tree, uint32_t sequence);

/* Where a name was found. */
struct place {
	uint64_t ino;
	uint64_t position;		/* of its record in the directory */
};

/* Looks a name up, with the lock held: 0, -ENOENT, -EIO. */
VOL_NODISCARD long tree_find(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
			     struct place *place);

/* Looks a name up without the lock where that can be, and takes the inode. */
VOL_NODISCARD long tree_get(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
			    struct vol_inode **inode);

/* Takes the parent of a directory; -ENOENT: the directory was removed, and so was its parent. */
VOL_NODISCARD long tree_parent(struct volume *volume, struct vol_inode *directory, struct vol_inode **parent);

/* ---- names_change.c ---- */

/* Links of an inode become more (or fewer); it has changed now. What they were is noted for undoing. */
void links_add(struct volume *volume, struct vol_inode *inode, int32_t count);

/* As links_add, with a new parent: of a directory; or NAMES_WAS_NAMED of what is none. */
void links_set(struct volume *volume, struct vol_inode *inode, int32_t count, uint64_t parent);

/* May a name be put into, or taken out of, the directory? -ENOENT: it was removed; -EACCES. */
VOL_NODISCARD long may_add(const struct vol_inode *directory, const struct vol_who *who);

/* May this name be taken away? As may_add, or -EPERM (sticky); -ENOTDIR, -EISDIR: `is_directory_wanted` isn't so. */
VOL_NODISCARD long may_remove(const struct vol_inode *directory, const struct vol_inode *inode, bool is_directory_wanted,
			      const struct vol_who *who);

/* ---- name_index.c: all with the lock held and the sequence odd, except index_find and index_is_listed ---- */

/* Never 0. */
uint64_t index_hash(const struct names_tree *tree, uint64_t ino, const char *name, uint32_t size);

/* Whether all of a directory's names are in the index. */
bool index_is_listed(const struct names_tree *tree, uint64_t ino);

/* Where a name is. -EAGAIN: without the lock it takes too long. `limit`: slots to be looked at. */
VOL_NODISCARD long index_find(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
			      uint32_t limit, struct place *place);

/* What is known of the directory; made, in another's place, if there is nothing. Never NULL. */
struct known *index_known(struct names_tree *tree, uint64_t ino);

/* Forgets it: the directory was removed. */
void index_forget(struct names_tree *tree, uint64_t ino);

/* Puts a name in, or takes it out. When it is full it starts anew, twice as big; false: that happened. */
bool index_add(struct volume *volume, uint64_t hash, uint64_t position);
void index_remove(struct names_tree *tree, uint64_t hash, uint64_t position);

/* Knows nothing any more. */
void index_restart(struct volume *volume, uint32_t bits);

/* Puts all names of a directory in. -EFBIG: they are too many; -EIO. */
VOL_NODISCARD long index_list(struct volume *volume, struct vol_inode *directory);

/* ---- directory.c ---- */

struct chunk { uint8_t bytes[VOLUME_BLOCK] __attribute__((aligned(8))); };

/* How many chunks its bytes are, the last one perhaps in part. */
uint64_t directory_chunks(const struct vol_inode *directory);

/* Reads one chunk; what is behind the directory's end is unused room. */
VOL_NODISCARD long chunk_read(struct volume *volume, struct vol_inode *directory, uint64_t index, struct chunk *chunk);

/* The record at `at`: its size, with `entry` set, or -EIO when there is none that could be. */
VOL_NODISCARD long chunk_record(struct chunk *chunk, uint32_t at, struct volume_name **entry);

/* Whether the record at `position` has this name: 1 and *ino, 0, -EIO. */
VOL_NODISCARD long directory_match(struct volume *volume, struct vol_inode *directory, uint64_t position, const char *name,
				   uint32_t size, uint64_t *ino);

/* Searches all of it. 0, -ENOENT, -EIO. */
VOL_NODISCARD long directory_scan(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
				  struct place *place);

/* Changes, each of which notes in the undo record what was there. */
VOL_NODISCARD long directory_add(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
				 const struct vol_inode *inode, uint64_t *position);
/* Takes the name at `position` away. */
VOL_NODISCARD long directory_remove(struct volume *volume, struct vol_inode *directory, uint64_t position);
/* The name at `position` becomes another inode's. */
VOL_NODISCARD long directory_replace(struct volume *volume, struct vol_inode *directory, uint64_t position,
				     const struct vol_inode *inode);

/* 1: it has no names; 0; -EIO. */
VOL_NODISCARD long directory_is_empty(struct volume *volume, struct vol_inode *directory);

/* The name that an inode has in it, to `name` (VOLUME_NAME_MAX bytes): its size, -ENOENT, -EIO. */
VOL_NODISCARD long directory_name_of(struct volume *volume, struct vol_inode *directory, uint64_t ino, char *name);

#endif
