/*
 * names_change.c - making and removing names.
 *
 * Owns: the order of checks and errors, which is Linux's, links and times of what is changed. Must never: change a word of
 * the arena or a byte of a directory without noting what it was (undo.h), or free an inode with the tree's lock held. Called
 * by: enclave/volume_*.c, by names.h; names_rename.c.
 */
#include "names_tree.h"

enum { NEW_LINK_MODE = TYPE_LINK | 0777, TARGET_MAX = 4095 };

void links_set(struct volume *volume, struct vol_inode *inode, int32_t count, uint64_t parent)
{
	undo_links(&tree_of(volume)->undo, inode);
	vol_lock(volume, &inode->lock);
	inode->record.nlink += (uint32_t)count;
	inode->record.parent = parent;
	inode->record.changed = volume->host->now(volume->context);
	inode_changed(volume, inode);
	vol_unlock(volume, &inode->lock);
}

void links_add(struct volume *volume, struct vol_inode *inode, int32_t count)
{
	links_set(volume, inode, count, inode->record.parent);
}

long may_add(const struct vol_inode *directory, const struct vol_who *who)
{
	if (!directory->record.nlink)
		return -ENOENT;
	return names_permit(&directory->record, who, VOL_MAY_WRITE | VOL_MAY_EXECUTE);
}

long may_remove(const struct vol_inode *directory, const struct vol_inode *inode, bool is_directory_wanted,
		const struct vol_who *who)
{
	VOL_TRY(names_permit(&directory->record, who, VOL_MAY_WRITE | VOL_MAY_EXECUTE));
	if (directory->record.mode & BIT_STICKY && who->uid && who->uid != inode->record.uid &&
	    who->uid != directory->record.uid)
		return -EPERM;
	if (is_directory_wanted)
		return is_directory(inode) ? 0 : -ENOTDIR;
	return is_directory(inode) ? -EISDIR : 0;
}

/* A name that isn't there yet: 0; -EEXIST. */
static long find_none(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size)
{
	struct place place;
	long result = tree_find(volume, directory, name, name_size, &place);

	if (result == -ENOENT)
		return 0;
	return result < 0 ? result : -EEXIST;
}

/* The name, its link, the directory's link that `..` of a new directory is. */
static long enter(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
		  struct vol_inode *inode)
{
	struct names_tree *tree = tree_of(volume);
	bool is_new_directory = is_directory(inode);
	uint64_t position;
	long result;

	tree_begin(volume);
	links_set(volume, inode, is_new_directory ? 2 : 1, is_new_directory ? directory->ino : 0);
	if (is_new_directory)
		links_add(volume, directory, 1);
	result = directory_add(volume, directory, name, name_size, inode, &position);
	if (!result && index_is_listed(tree, directory->ino))
		index_add(volume, index_hash(tree, directory->ino, name, name_size), position);
	if (!result && is_new_directory)
		index_known(tree, inode->ino)->listed = tree->generation;
	return tree_end(volume, result);
}

static long create(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
		   const struct volume_record *record, const char *target, const struct vol_who *who,
		   struct vol_inode **inode)
{
	struct volume_record fresh = *record;
	uint64_t size = target ? plain_size(target, TARGET_MAX) : 0;
	long result;

	VOL_TRY(find_none(volume, directory, name, name_size));
	VOL_TRY(may_add(directory, who));
	if ((record->mode & TYPE_MASK) == TYPE_DIRECTORY && directory->record.nlink >= LINKS_MAX)
		return -EMLINK;
	names_inherit(&directory->record, who, &fresh);
	VOL_TRY(inode_new(volume, &fresh, inode));
	if (target) {
		vol_lock(volume, &(*inode)->lock);
		result = inode_write_locked(volume, *inode, target, size, 0);
		vol_unlock(volume, &(*inode)->lock);
		if (result != (long)size)
			return result < 0 ? result : -ENOSPC;
	}
	return enter(volume, directory, name, name_size, *inode);
}

static long create_locked(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
			  const struct volume_record *record, const char *target, const struct vol_who *who,
			  struct vol_inode **inode)
{
	long result;

	*inode = NULL;
	if (!name_size)
		return -EEXIST;
	VOL_TRY(name_check(directory, name_size));
	VOL_TRY(tree_lock_to_change(volume));
	result = create(volume, directory, name, name_size, record, target, who, inode);
	names_unlock(volume);
	if (result < 0 && *inode) {
		inode_put(volume, *inode);
		*inode = NULL;
	}
	return result;
}

long names_create(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
		  const struct volume_record *record, const struct vol_who *who, struct vol_inode **inode)
{
	return create_locked(volume, directory, name, name_size, record, NULL, who, inode);
}

long names_symlink(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
		   const char *target, const struct vol_who *who)
{
	struct volume_record record = { .mode = NEW_LINK_MODE, .uid = who->uid, .gid = who->gid };
	uint64_t size = plain_size(target, TARGET_MAX + 1);
	struct vol_inode *inode;

	if (!size || size > TARGET_MAX)
		return size ? -ENAMETOOLONG : -ENOENT;
	VOL_TRY(create_locked(volume, directory, name, name_size, &record, target, who, &inode));
	inode_put(volume, inode);
	return 0;
}

static long link_locked(struct volume *volume, struct vol_inode *inode, struct vol_inode *directory, const char *name,
			uint32_t name_size, const struct vol_who *who)
{
	VOL_TRY(find_none(volume, directory, name, name_size));
	VOL_TRY(may_add(directory, who));
	if (is_directory(inode))
		return -EPERM;
	if (!inode->record.nlink && inode->record.parent == NAMES_WAS_NAMED)
		return -ENOENT;
	if (inode->record.nlink >= LINKS_MAX)
		return -EMLINK;
	return enter(volume, directory, name, name_size, inode);
}

long names_link(struct volume *volume, struct vol_inode *inode, struct vol_inode *directory, const char *name,
		uint32_t name_size, const struct vol_who *who)
{
	long result;

	if (!name_size)
		return -EEXIST;
	VOL_TRY(name_check(directory, name_size));
	VOL_TRY(tree_lock_to_change(volume));
	result = link_locked(volume, inode, directory, name, name_size, who);
	names_unlock(volume);
	return result;
}

static long remove(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
		   const struct place *place, struct vol_inode *inode)
{
	struct names_tree *tree = tree_of(volume);
	bool is_last = inode->record.nlink == 1;
	long result;

	tree_begin(volume);
	if (is_directory(inode)) {
		links_add(volume, inode, -(int32_t)inode->record.nlink);
		links_add(volume, directory, -1);
	} else {
		links_set(volume, inode, -1, is_last ? NAMES_WAS_NAMED : 0);
	}
	result = directory_remove(volume, directory, place->position);
	if (!result) {
		index_remove(tree, index_hash(tree, directory->ino, name, name_size), place->position);
		if (is_directory(inode))
			index_forget(tree, inode->ino);
	}
	return tree_end(volume, result);
}

/* *inode is the caller's to put, also after an error. */
static long unlink_locked(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size,
			  bool is_rmdir, const struct vol_who *who, struct vol_inode **inode)
{
	struct place place;
	long result;

	VOL_TRY(tree_find(volume, directory, name, name_size, &place));
	result = inode_get(volume, place.ino, inode);
	if (result < 0)
		return result == -ENOENT ? -EIO : result;
	VOL_TRY(may_remove(directory, *inode, is_rmdir, who));
	if (is_rmdir) {
		result = directory_is_empty(volume, *inode);
		VOL_TRY(result);
		if (!result)
			return -ENOTEMPTY;
	}
	return remove(volume, directory, name, name_size, &place, *inode);
}

/* Of the root, "." and "..", which come as names of no size. */
static long unlink_special(const char *name, bool is_rmdir)
{
	if (!is_rmdir)
		return -EISDIR;
	if (name[0] != '.')
		return -EBUSY;
	return name[1] == '.' ? -ENOTEMPTY : -EINVAL;
}

long names_unlink(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t name_size, bool is_rmdir,
		  const struct vol_who *who)
{
	struct vol_inode *inode = NULL;
	long result;

	if (!name_size)
		return unlink_special(name, is_rmdir);
	VOL_TRY(name_check(directory, name_size));
	VOL_TRY(tree_lock_to_change(volume));
	result = unlink_locked(volume, directory, name, name_size, is_rmdir, who, &inode);
	names_unlock(volume);
	if (inode)
		inode_put(volume, inode);
	return result;
}
