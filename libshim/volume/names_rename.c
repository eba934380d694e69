/*
 * names_rename.c - rename(2) with its flags.
 *
 * Owns: the order of its checks and errors, which is Linux's. Must never: leave a name of both or of neither place, also when
 * it is killed. Called by: enclave/volume_*.c, by names.h.
 */
#include <linux/fs.h>
#include "names_tree.h"

enum { DEPTH_MAX = 1 << 20 };

struct end {
	struct vol_inode *directory;
	const char *name;
	uint32_t name_size;
	struct place place;
	struct vol_inode *inode;	/* NULL: nothing has that name */
};

struct rename {
	struct volume *volume;
	const struct vol_who *who;
	uint32_t flags;
	struct end old, new;
};

static long end_find(struct volume *volume, struct end *end)
{
	long result;

	VOL_TRY(tree_find(volume, end->directory, end->name, end->name_size, &end->place));
	result = inode_get(volume, end->place.ino, &end->inode);
	return result == -ENOENT ? -EIO : result;
}

/* 1: `inode` is `directory` or stands above it. */
static long is_above(struct volume *volume, const struct vol_inode *inode, struct vol_inode *directory)
{
	struct vol_inode *at = directory, *parent;
	long result = 0;

	inode_share(at);
	for (int depth = 0; !result; depth++) {
		if (at->ino == inode->ino)
			result = 1;
		if (result || at->ino == VOLUME_ROOT_INO || !at->record.nlink)
			break;
		result = depth < DEPTH_MAX ? inode_get(volume, at->record.parent, &parent) : -EIO;
		if (result)
			break;
		inode_put(volume, at);
		at = parent;
	}
	inode_put(volume, at);
	return result;
}

/* Neither goes into itself. */
static long check_ancestors(const struct rename *rename)
{
	const struct end *old = &rename->old, *new = &rename->new;
	long result = 0;

	if (old->directory == new->directory)
		return 0;
	if (is_directory(old->inode))
		result = is_above(rename->volume, old->inode, new->directory);
	if (result)
		return result < 0 ? result : -EINVAL;
	if (new->inode && is_directory(new->inode))
		result = is_above(rename->volume, new->inode, old->directory);
	if (result > 0)
		return rename->flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	return result;
}

static long check_permissions(const struct rename *rename)
{
	const struct end *old = &rename->old, *new = &rename->new;
	const struct vol_who *who = rename->who;
	bool is_exchange = rename->flags & RENAME_EXCHANGE, is_moved = old->directory != new->directory;
	bool is_old_directory = is_directory(old->inode), is_new_directory = new->inode && is_directory(new->inode);

	VOL_TRY(may_remove(old->directory, old->inode, is_old_directory, who));
	if (!new->inode)
		VOL_TRY(may_add(new->directory, who));
	else
		VOL_TRY(may_remove(new->directory, new->inode, is_exchange ? is_new_directory : is_old_directory, who));
	/* Its ".." is written, too. */
	if (is_moved && is_old_directory)
		VOL_TRY(names_permit(&old->inode->record, who, VOL_MAY_WRITE));
	if (is_moved && is_exchange && is_new_directory)
		VOL_TRY(names_permit(&new->inode->record, who, VOL_MAY_WRITE));
	if (is_moved && is_old_directory && !is_new_directory && new->directory->record.nlink >= LINKS_MAX)
		return -EMLINK;
	if (is_moved && is_exchange && !is_old_directory && is_new_directory && old->directory->record.nlink >= LINKS_MAX)
		return -EMLINK;
	return 0;
}

/* Links that the two directories have by `..` of what moves. */
static void move_links(struct volume *volume, const struct end *old, const struct end *new, bool is_exchange)
{
	bool is_old_directory = is_directory(old->inode), is_new_directory = new->inode && is_directory(new->inode);
	int32_t from = -(int32_t)is_old_directory, to = is_old_directory - is_new_directory;

	if (is_exchange)
		from += is_new_directory;
	if (old->directory == new->directory) {
		from += to;
		to = 0;
	}
	if (from)
		links_add(volume, old->directory, from);
	if (to)
		links_add(volume, new->directory, to);
	links_set(volume, old->inode, 0, is_old_directory ? new->directory->ino : 0);
}

static long exchange(struct volume *volume, const struct end *old, const struct end *new)
{
	move_links(volume, old, new, true);
	links_set(volume, new->inode, 0, is_directory(new->inode) ? old->directory->ino : 0);
	VOL_TRY(directory_replace(volume, old->directory, old->place.position, new->inode));
	return directory_replace(volume, new->directory, new->place.position, old->inode);
}

/* The inode whose name is taken by another. */
static void lose_name(struct volume *volume, struct vol_inode *inode)
{
	if (is_directory(inode))
		links_add(volume, inode, -(int32_t)inode->record.nlink);
	else
		links_set(volume, inode, -1, inode->record.nlink == 1 ? NAMES_WAS_NAMED : 0);
}

static long move(struct volume *volume, struct end *old, struct end *new)
{
	struct names_tree *tree = tree_of(volume);
	bool is_new = !new->inode;

	move_links(volume, old, new, false);
	if (is_new) {
		VOL_TRY(directory_add(volume, new->directory, new->name, new->name_size, old->inode, &new->place.position));
	} else {
		lose_name(volume, new->inode);
		VOL_TRY(directory_replace(volume, new->directory, new->place.position, old->inode));
	}
	VOL_TRY(directory_remove(volume, old->directory, old->place.position));
	index_remove(tree, index_hash(tree, old->directory->ino, old->name, old->name_size), old->place.position);
	if (is_new && index_is_listed(tree, new->directory->ino))
		index_add(volume, index_hash(tree, new->directory->ino, new->name, new->name_size), new->place.position);
	if (!is_new && is_directory(new->inode))
		index_forget(tree, new->inode->ino);
	return 0;
}

static long rename_locked(struct rename *rename)
{
	struct volume *volume = rename->volume;
	struct end *old = &rename->old, *new = &rename->new;
	long result;

	VOL_TRY(end_find(volume, old));
	VOL_TRY(name_check(new->directory, new->name_size));
	result = end_find(volume, new);
	if (result < 0 && (result != -ENOENT || rename->flags & RENAME_EXCHANGE))
		return result;
	if (new->inode && rename->flags & RENAME_NOREPLACE)
		return -EEXIST;
	VOL_TRY(check_ancestors(rename));
	if (old->inode == new->inode)
		return 0;
	VOL_TRY(check_permissions(rename));
	if (rename->flags & RENAME_EXCHANGE) {
		tree_begin(volume);
		return tree_end(volume, exchange(volume, old, new));
	}
	if (new->inode && is_directory(new->inode)) {
		result = directory_is_empty(volume, new->inode);
		VOL_TRY(result);
		if (!result)
			return -ENOTEMPTY;
	}
	tree_begin(volume);
	return tree_end(volume, move(volume, old, new));
}

long names_rename(struct volume *volume, struct vol_inode *from, const char *old, uint32_t old_size, struct vol_inode *to,
		  const char *new, uint32_t new_size, uint32_t flags, const struct vol_who *who)
{
	struct rename rename = {
		.volume = volume, .who = who, .flags = flags,
		.old = { .directory = from, .name = old, .name_size = old_size },
		.new = { .directory = to, .name = new, .name_size = new_size },
	};
	long result;

	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (!old_size)
		return -EBUSY;
	if (!new_size)
		return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	VOL_TRY(name_check(from, old_size));
	VOL_TRY(tree_lock_to_change(volume));
	result = rename_locked(&rename);
	names_unlock(volume);
	if (rename.old.inode)
		inode_put(volume, rename.old.inode);
	if (rename.new.inode)
		inode_put(volume, rename.new.inode);
	return result;
}
