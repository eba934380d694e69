/*
 * names.c - who may what, names of directories as programs are told them.
 *
 * Owns: permissions, getdents64, the way from a directory back to its path. Must never: change a directory. Called by:
 * enclave/volume_*.c, by names.h; names_walk.c, names_change.c.
 */
#include "names_tree.h"

enum { LIST_DOT, LIST_UP, LIST_NAMES, LOOKS = 4, DEPTH_MAX = 4096, TYPE_DIR = 4 };

/* struct linux_dirent64. */
struct listed {
	uint64_t ino;
	int64_t  next;
	uint16_t size;
	uint8_t  type;
	char     name[];
};
enum { LISTED_NAME = 19 };

static bool is_in_group(const struct vol_who *who, uint32_t gid)
{
	bool is_in = who->gid == gid;

	for (uint32_t i = 0; i < who->group_count && i < sizeof who->groups / sizeof *who->groups; i++)
		is_in |= who->groups[i] == gid;
	return is_in;
}

long names_permit(const struct volume_record *record, const struct vol_who *who, uint32_t wanted)
{
	uint32_t mode = record->mode;

	if (!who->uid) {
		bool is_executable = (mode & TYPE_MASK) == TYPE_DIRECTORY || mode & 0111;

		return wanted & VOL_MAY_EXECUTE && !is_executable ? -EACCES : 0;
	}
	if (who->uid == record->uid)
		mode >>= 6;
	else if (is_in_group(who, record->gid))
		mode >>= 3;
	return wanted & ~mode & 7 ? -EACCES : 0;
}

void names_inherit(const struct volume_record *directory, const struct vol_who *who, struct volume_record *record)
{
	if (!(directory->mode & BIT_SETGID))
		return;
	record->gid = directory->gid;
	if ((record->mode & TYPE_MASK) == TYPE_DIRECTORY)
		record->mode |= BIT_SETGID;
	else if (record->mode & BIT_GROUP_EXECUTE && who->uid && !is_in_group(who, directory->gid))
		record->mode &= ~(uint32_t)BIT_SETGID;
}

long names_find(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size, uint64_t *ino)
{
	struct vol_inode *inode;

	VOL_TRY(name_check(directory, name_size));
	VOL_TRY(tree_get(volume, directory, name, name_size, &inode));
	*ino = inode->ino;
	inode_put(volume, inode);
	return 0;
}

long names_readlink(struct volume *volume, struct vol_inode *inode, char *to, uint64_t size)
{
	return inode_read(volume, inode, to, size, 0);
}

/* A chunk as it was at one moment. */
static long chunk_look(struct volume *volume, struct vol_inode *directory, uint64_t index, struct chunk *chunk)
{
	struct names_tree *tree = tree_of(volume);
	uint32_t sequence;
	long result;

	for (int i = 0; i < LOOKS && tree_look(tree, &sequence); i++) {
		result = chunk_read(volume, directory, index, chunk);
		if (tree_is_same(tree, sequence))
			return result;
	}
	VOL_TRY(names_lock(volume));
	result = chunk_read(volume, directory, index, chunk);
	names_unlock(volume);
	return result;
}

struct listing {
	uint8_t *to;
	uint64_t size, used;
};

/* false: it doesn't fit. */
static bool list(struct listing *listing, uint64_t ino, uint64_t next, uint8_t type, const char *name, uint32_t name_size)
{
	struct listed *entry = (struct listed *)(listing->to + listing->used);
	uint64_t size = (LISTED_NAME + name_size + 1 + 7) & ~7UL;

	if (listing->size - listing->used < size)
		return false;
	entry->ino = ino;
	entry->next = (int64_t)next;
	entry->size = (uint16_t)size;
	entry->type = type;
	plain_copy((uint8_t *)entry + LISTED_NAME, name, name_size);
	plain_clear((uint8_t *)entry + LISTED_NAME + name_size, size - LISTED_NAME - name_size);
	listing->used += size;
	return true;
}

/* Names from *position on, up to the chunk's end: 1; 0: the room is full. A position within a record, where others were once,
 * stands for the next record. */
static long list_chunk(struct volume *volume, struct vol_inode *directory, uint64_t *position, struct listing *listing)
{
	uint64_t from = *position - LIST_NAMES, base = from - from % VOLUME_BLOCK;
	struct volume_name *entry;
	struct chunk chunk;
	long size;

	VOL_TRY(chunk_look(volume, directory, base / VOLUME_BLOCK, &chunk));
	for (uint32_t at = 0; at < VOLUME_BLOCK; at += (uint32_t)size) {
		size = chunk_record(&chunk, at, &entry);
		VOL_TRY(size);
		if (!entry->ino || base + at < from)
			continue;
		if (!list(listing, entry->ino, base + at + CHUNK_HEAD + LIST_NAMES, entry->type, (char *)(entry + 1),
			  entry->name_size))
			return 0;
		*position = base + at + CHUNK_HEAD + LIST_NAMES;
	}
	*position = base + VOLUME_BLOCK + LIST_NAMES;
	return 1;
}

long names_list(struct volume *volume, struct vol_inode *directory, uint64_t *position, void *to, uint64_t size)
{
	uint64_t parent = directory->ino == VOLUME_ROOT_INO ? VOLUME_ROOT_INO : directory->record.parent;
	struct listing listing = { .to = to, .size = size };
	long result = 1;

	if (!directory->record.nlink)
		return -ENOENT;
	if (*position == LIST_DOT && list(&listing, directory->ino, LIST_UP, TYPE_DIR, ".", 1))
		*position = LIST_UP;
	if (*position == LIST_UP && list(&listing, parent, LIST_NAMES, TYPE_DIR, "..", 2))
		*position = LIST_NAMES;
	if (*position < LIST_NAMES)
		return listing.used ? (long)listing.used : -EINVAL;
	while (result == 1 && (*position - LIST_NAMES) / VOLUME_BLOCK < directory_chunks(directory))
		result = list_chunk(volume, directory, position, &listing);
	if (listing.used)
		return (long)listing.used;
	return result == 0 ? -EINVAL : result < 0 ? result : 0;
}

/* Puts "/name" in front of what stands at the end of `to`. `left`: bytes before it. */
static long prepend(char *to, uint64_t *left, const char *name, uint32_t name_size)
{
	if (*left < name_size + 1)
		return -ERANGE;
	*left -= name_size + 1;
	to[*left] = '/';
	plain_copy(to + *left + 1, name, name_size);
	return 0;
}

/* The names from the root down to `directory` (one user of it is taken over), in front of what is there. */
static long climb(struct volume *volume, struct vol_inode *directory, char *to, uint64_t *left)
{
	char name[VOLUME_NAME_MAX + 1];
	struct vol_inode *parent;
	long result = 0;

	for (int depth = 0; !result && directory->ino != VOLUME_ROOT_INO; depth++) {
		result = !directory->record.nlink ? -ENOENT : depth == DEPTH_MAX ? -ERANGE : 0;
		if (!result)
			result = inode_get(volume, directory->record.parent, &parent);
		if (result < 0)
			break;
		result = directory_name_of(volume, parent, directory->ino, name);
		if (result > 0)
			result = prepend(to, left, name, (uint32_t)result);
		inode_put(volume, directory);
		directory = parent;
	}
	inode_put(volume, directory);
	return result;
}

/* Moves what was put at the end of `to` to its beginning, with a NUL. */
static long settle(char *to, uint64_t size, uint64_t left)
{
	uint64_t used = size - 1 - left;

	if (!used) {
		if (size < 2)
			return -ERANGE;
		to[0] = '/';
		to[1] = '\0';
		return 1;
	}
	plain_copy(to, to + left, used);
	to[used] = '\0';
	return (long)used;
}

long names_path(struct volume *volume, struct vol_inode *directory, char *to, uint64_t size)
{
	uint64_t left = size - 1;
	long result;

	if (!size)
		return -ERANGE;
	VOL_TRY(names_lock(volume));
	inode_share(directory);
	result = climb(volume, directory, to, &left);
	names_unlock(volume);
	return result < 0 ? result : settle(to, size, left);
}

long names_path_in(struct volume *volume, struct vol_inode *directory, struct vol_inode *inode, char *to, uint64_t size)
{
	char name[VOLUME_NAME_MAX + 1];
	uint64_t left = size - 1;
	long result;

	if (is_directory(inode))
		return names_path(volume, inode, to, size);
	if (!size)
		return -ERANGE;
	VOL_TRY(names_lock(volume));
	result = directory_name_of(volume, directory, inode->ino, name);
	if (result > 0)
		result = prepend(to, &left, name, (uint32_t)result);
	if (!result) {
		inode_share(directory);
		result = climb(volume, directory, to, &left);
	}
	names_unlock(volume);
	return result < 0 ? result : settle(to, size, left);
}
