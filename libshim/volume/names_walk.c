/*
 * names_walk.c - paths: which inode one leads to, or where it leaves the volume.
 *
 * Owns: how a path is walked: names, ".", "..", links, slashes at its end. Must never: change anything, or give an inode to whom
 * the directories on the way don't let through. Called by: enclave/volume_*.c, by names.h.
 *
 * where->path holds what is left to be walked; a link's target is put in front of it. Each step holds one user of the directory
 * that it is in.
 */
#include "names_tree.h"

enum { LINKS_FOLLOWED_MAX = 40, PATH_SIZE = 4096 };

struct walk {
	struct volume *volume;
	struct vol_where *where;
	const struct vol_who *who;
	const char *mount;
	uint32_t flags;
	uint32_t links;			/* that were followed */
	struct vol_inode *directory;	/* where it is: one user is the walk's */
	char *at, *end;			/* the name in question, in where->path; `end` is a slash or NUL */
	bool is_last;
};

static void step_into(struct walk *walk, struct vol_inode *directory)
{
	inode_put(walk->volume, walk->directory);
	walk->directory = directory;
}

/* `name_size` 0: the name is "", "." or "..". */
static long arrive(struct walk *walk, struct vol_inode *inode, uint32_t name_size)
{
	struct vol_where *where = walk->where;

	where->directory = walk->directory;
	where->inode = inode;
	where->name = walk->at;
	where->name_size = name_size;
	*walk->end = '\0';
	walk->directory = NULL;
	return 0;
}

/* The directory itself. */
static long arrive_here(struct walk *walk)
{
	inode_share(walk->directory);
	return arrive(walk, walk->directory, 0);
}

/* where->path becomes `head_size` bytes that are there already, or are `head`, and what follows the name. */
static long splice(struct walk *walk, const char *head, uint64_t head_size)
{
	char *path = walk->where->path;
	uint64_t rest = plain_size(walk->end, PATH_SIZE), from = (uint64_t)(walk->end - path);

	if (head_size + rest >= PATH_SIZE)
		return -ENAMETOOLONG;
	if (head_size > from)
		plain_copy_up(path + head_size, walk->end, rest + 1);
	else
		plain_copy(path + head_size, walk->end, rest + 1);
	plain_copy(path, head, head_size);
	walk->at = path;
	return 0;
}

static long lead_out(struct walk *walk)
{
	inode_put(walk->volume, walk->directory);
	walk->directory = NULL;
	return 0;
}

/* Past the volume's root: what is left is mount, "..", the rest. */
static long step_out(struct walk *walk)
{
	static const char up[] = "/..";
	uint64_t size = plain_size(walk->mount, PATH_SIZE);
	char *path = walk->where->path;

	if (size == 1)			/* "/": it is its own parent */
		return 1;
	VOL_TRY(splice(walk, up, sizeof up - 1));
	walk->end = path;
	VOL_TRY(splice(walk, walk->mount, size));
	return lead_out(walk);
}

/* 1: inside the volume, and there. */
static long step_up(struct walk *walk)
{
	struct vol_inode *parent;

	if (walk->directory->ino == VOLUME_ROOT_INO)
		return step_out(walk);
	VOL_TRY(tree_parent(walk->volume, walk->directory, &parent));
	step_into(walk, parent);
	return 1;
}

/* How much of an absolute path is the volume's own place; 0: it leads elsewhere. */
static uint64_t inside_size(const char *path, const char *mount)
{
	uint64_t size = plain_size(mount, PATH_SIZE);

	if (size == 1)
		return 1;
	if (plain_size(path, size) < size || !plain_equal(path, mount, size))
		return 0;
	return path[size] == '/' || !path[size] ? size : 0;
}

static long step_root(struct walk *walk)
{
	struct vol_inode *root;

	VOL_TRY(inode_get(walk->volume, VOLUME_ROOT_INO, &root));
	step_into(walk, root);
	return 1;
}

/* 1: the walk goes on at where->path, 0: it leads out. `link` is put by the caller. */
static long follow(struct walk *walk, struct vol_inode *link)
{
	uint64_t size = link->record.size, inside;
	char *path = walk->where->path;
	long got;

	if (++walk->links > LINKS_FOLLOWED_MAX)
		return -ELOOP;
	if (!size || size >= PATH_SIZE)
		return -EIO;
	VOL_TRY(splice(walk, path, size));	/* makes room: its own bytes stay where they are */
	got = inode_read(walk->volume, link, path, size, 0);
	VOL_TRY(got);
	if (got != (long)size || plain_size(path, size) != size)
		return -EIO;
	if (path[0] != '/')
		return 1;
	inside = inside_size(path, walk->mount);
	if (!inside)
		return lead_out(walk);
	walk->at = path + inside;
	return step_root(walk);
}

/* A name that is not special: 1: go on, 0: arrived, or led out. */
static long step_name(struct walk *walk)
{
	uint32_t size = (uint32_t)(walk->end - walk->at);
	struct vol_inode *inode;
	bool must_be_directory;
	uint32_t type;
	long result;

	if (walk->is_last && walk->flags & WALK_PARENT_ONLY)
		return arrive(walk, NULL, size);
	if (walk->is_last && walk->flags & WALK_CREATE && walk->where->must_be_directory)
		return -EISDIR;
	result = name_check(walk->directory, size);
	if (!result)
		result = tree_get(walk->volume, walk->directory, walk->at, size, &inode);
	if (result == -ENOENT && walk->is_last)
		return arrive(walk, NULL, size);
	VOL_TRY(result);
	type = inode->record.mode & TYPE_MASK;
	must_be_directory = !walk->is_last || (walk->where->must_be_directory && !(walk->flags & WALK_NAME));
	if (type == TYPE_LINK && (must_be_directory || walk->flags & WALK_FOLLOW)) {
		result = follow(walk, inode);
		inode_put(walk->volume, inode);
		return result;
	}
	if (type != TYPE_DIRECTORY && must_be_directory) {
		inode_put(walk->volume, inode);
		return -ENOTDIR;
	}
	if (walk->is_last)
		return arrive(walk, inode, size);
	step_into(walk, inode);
	walk->at = walk->end;
	return 1;
}

/* "." and "..", and the end of a path of nothing but slashes. */
static long step_special(struct walk *walk, uint32_t size)
{
	long result = 1;

	if (walk->is_last && walk->flags & WALK_PARENT_ONLY && size)
		return arrive(walk, NULL, 0);
	if (size == 2)
		result = step_up(walk);
	if (result <= 0)
		return result;
	if (walk->is_last)
		return arrive_here(walk);
	walk->at = walk->end;
	return 1;
}

/* One name more. 1: there is more to walk. */
static long step(struct walk *walk)
{
	struct vol_inode *directory = walk->directory;
	uint32_t size;
	char *after;

	while (*walk->at == '/')
		walk->at++;
	for (walk->end = walk->at; *walk->end && *walk->end != '/'; walk->end++)
		;
	for (after = walk->end; *after == '/'; after++)
		;
	size = (uint32_t)(walk->end - walk->at);
	walk->is_last = !*after;
	if (walk->is_last && *walk->end)
		walk->where->must_be_directory = 1;
	if (!size)
		return step_special(walk, 0);
	VOL_TRY(names_permit(&directory->record, walk->who, VOL_MAY_EXECUTE));
	if (walk->at[0] == '.' && (size == 1 || (size == 2 && walk->at[1] == '.')))
		return step_special(walk, size);
	return step_name(walk);
}

long names_walk(struct volume *volume, struct vol_inode *start, const char *path, const char *mount, uint32_t flags,
		const struct vol_who *who, struct vol_where *where)
{
	struct walk walk = { .volume = volume, .where = where, .who = who, .mount = mount, .flags = flags };
	uint64_t size = plain_size(path, PATH_SIZE);
	long result;

	where->directory = where->inode = NULL;
	where->name = where->path;
	where->name_size = where->must_be_directory = 0;
	if (!size || size == PATH_SIZE)
		return size ? -ENAMETOOLONG : -ENOENT;
	plain_copy(where->path, path, size + 1);
	walk.at = walk.end = where->path;
	if (path[0] == '/' && !(start && start->ino == VOLUME_ROOT_INO)) {
		VOL_TRY(inode_get(volume, VOLUME_ROOT_INO, &walk.directory));
	} else {
		if (!is_directory(start))
			return -ENOTDIR;
		inode_share(start);
		walk.directory = start;
	}
	do
		result = step(&walk);
	while (result > 0);
	if (result < 0 && walk.directory)
		inode_put(volume, walk.directory);
	return result;
}

void names_release(struct volume *volume, struct vol_where *where)
{
	if (where->inode)
		inode_put(volume, where->inode);
	if (where->directory)
		inode_put(volume, where->directory);
	where->inode = where->directory = NULL;
}
