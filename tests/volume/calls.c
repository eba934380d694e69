/*
 * calls.c - system calls on names of a volume, as the shim serves them, for tests.
 *
 * Owns: what a call does around names.h. Must never: know the kernel's answers. Used by: names_oracle.c, names_cases.c,
 * names_kill.c.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "calls.h"

#define MOUNT "/data"

bool call_went_out;
#define PUT __attribute__((cleanup(where_put)))

struct led { struct vol_where where; struct volume *volume; };

static void where_put(struct led *led)
{
	names_release(led->volume, &led->where);
}

/* Outside there is "/" with "data" in it and nothing else. A path that comes back into the volume is put into `path`: 1. */
static long outside(char *path)
{
	char *at = path, *end;

	for (;;) {
		at += strspn(at, "/");
		end = at + strcspn(at, "/");
		if (end == at)
			return 0;
		if (end - at > 255)
			return -ENAMETOOLONG;
		if (end - at == 4 && !memcmp(at, "data", 4)) {
			memmove(path, *end ? end : "/", *end ? strlen(end) + 1 : 2);
			while (path[0] == '/' && path[1] == '.' && path[2] == '.' && (path[3] == '/' || !path[3]))
				return memmove(path, path + 3, strlen(path + 3) + 1), outside(path);
			return 1;
		}
		if (strncmp(at, ".", (size_t)(end - at)) && strncmp(at, "..", (size_t)(end - at)))
			return -ENOENT;
		at = end;
	}
}

enum { OUTSIDE = -10000 };		/* it leads to "/" itself */

static long walk(const struct caller *caller, const char *path, uint32_t flags, struct led *led)
{
	char left[4096 + 8];
	long result;

	led->volume = caller->volume;
	led->where.inode = led->where.directory = NULL;
	result = names_walk(caller->volume, caller->directory, path, MOUNT, flags, &caller->who, &led->where);
	for (int i = 0; !result && !led->where.directory; i++) {
		if (i == 40)
			return -ELOOP;
		strcpy(left, led->where.path);
		result = outside(left);
		call_went_out |= result <= 0 || !strcmp(left, "/");
		if (result <= 0)
			return result ? result : OUTSIDE;
		result = names_walk(caller->volume, caller->directory, left, MOUNT, flags, &caller->who, &led->where);
	}
	return result;
}

/* A place for a new name. */
static long walk_new(const struct caller *caller, const char *path, bool is_directory, struct led *led)
{
	uint64_t ino;
	long result = walk(caller, path, WALK_PARENT_ONLY, led);

	if (result)
		return result == OUTSIDE ? -EEXIST : result;
	if (!led->where.name_size)
		return -EEXIST;
	if (led->where.must_be_directory && !is_directory) {
		result = names_find(caller->volume, led->where.directory, led->where.name, led->where.name_size, &ino);
		return result ? result : -EEXIST;
	}
	return 0;
}

static long create(const struct caller *caller, const struct vol_where *where, uint32_t mode)
{
	struct volume_record record = { .mode = mode, .uid = caller->who.uid, .gid = caller->who.gid };
	struct vol_inode *inode;
	long result = names_create(caller->volume, where->directory, where->name, where->name_size, &record, &caller->who,
				   &inode);

	if (!result)
		inode_put(caller->volume, inode);
	return result;
}

long call_mknod(const struct caller *caller, const char *path, uint32_t mode)
{
	PUT struct led led;
	long result = walk_new(caller, path, false, &led);

	return result ? result : create(caller, &led.where, mode);
}

long call_mkdir(const struct caller *caller, const char *path, uint32_t mode)
{
	PUT struct led led;
	long result = walk_new(caller, path, true, &led);

	return result ? result : create(caller, &led.where, S_IFDIR | mode);
}

long call_open(const struct caller *caller, const char *path, uint32_t flags, uint32_t mode)
{
	PUT struct led led;
	bool is_new = flags & O_CREAT, is_nofollow = flags & O_NOFOLLOW || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
	uint32_t wanted = (flags & O_ACCMODE) == O_RDONLY ? VOL_MAY_READ : VOL_MAY_WRITE;
	long result;

	result = walk(caller, path, (is_nofollow ? 0 : WALK_FOLLOW) | (is_new ? WALK_CREATE : 0), &led);
	if (result)
		return result != OUTSIDE ? result : is_new ? (flags & O_EXCL ? -EEXIST : -EISDIR) : flags & O_ACCMODE ? -EISDIR : 0;
	if (!led.where.inode)
		return is_new ? create(caller, &led.where, S_IFREG | mode) : -ENOENT;
	if (is_new && flags & O_EXCL)
		return -EEXIST;
	if (S_ISLNK(led.where.inode->record.mode))
		return -ELOOP;
	if (S_ISDIR(led.where.inode->record.mode) && (is_new || wanted == VOL_MAY_WRITE))
		return -EISDIR;
	return names_permit(&led.where.inode->record, &caller->who, wanted);
}

/* fs.protected_hardlinks. */
static bool may_link(const struct caller *caller, const struct vol_inode *inode)
{
	uint32_t mode = inode->record.mode;

	if (!caller->who.uid || caller->who.uid == inode->record.uid)
		return true;
	return S_ISREG(mode) && !(mode & S_ISUID) && (mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP) &&
	       !names_permit(&inode->record, &caller->who, VOL_MAY_READ | VOL_MAY_WRITE);
}

long call_link(const struct caller *caller, const char *old, const char *new, bool is_followed)
{
	PUT struct led from;
	PUT struct led to = { .volume = caller->volume };
	long result = walk(caller, old, is_followed ? WALK_FOLLOW : 0, &from);

	if (!result && !from.where.inode)
		return -ENOENT;
	if (result && result != OUTSIDE)
		return result;
	if (result == OUTSIDE) {
		result = walk_new(caller, new, false, &to);
		return result ? result : -EXDEV;
	}
	result = walk_new(caller, new, false, &to);
	if (result)
		return result;
	if (!may_link(caller, from.where.inode) && to.where.directory->record.nlink) {
		uint64_t ino;

		result = names_find(caller->volume, to.where.directory, to.where.name, to.where.name_size, &ino);
		return result == -ENOENT ? -EPERM : result ? result : -EEXIST;
	}
	return names_link(caller->volume, from.where.inode, to.where.directory, to.where.name, to.where.name_size, &caller->who);
}

long call_symlink(const struct caller *caller, const char *target, const char *path)
{
	PUT struct led led = { .volume = caller->volume };
	long result = !*target ? -ENOENT : strlen(target) > 4095 ? -ENAMETOOLONG : 0;

	if (!result)
		result = walk_new(caller, path, false, &led);
	if (result)
		return result;
	return names_symlink(caller->volume, led.where.directory, led.where.name, led.where.name_size, target, &caller->who);
}

static long remove_name(const struct caller *caller, const char *path, bool is_rmdir)
{
	PUT struct led led;
	uint64_t ino;
	long result = walk(caller, path, WALK_PARENT_ONLY, &led);

	if (result)
		return result != OUTSIDE ? result : is_rmdir ? -EBUSY : -EISDIR;
	if (!is_rmdir && led.where.name_size && led.where.must_be_directory) {
		struct vol_inode *inode;

		result = names_find(caller->volume, led.where.directory, led.where.name, led.where.name_size, &ino);
		if (result)
			return result;
		result = inode_get(caller->volume, ino, &inode);
		if (result)
			return result;
		result = S_ISDIR(inode->record.mode) ? -EISDIR : -ENOTDIR;
		inode_put(caller->volume, inode);
		return result;
	}
	return names_unlink(caller->volume, led.where.directory, led.where.name, led.where.name_size, is_rmdir, &caller->who);
}

long call_unlink(const struct caller *caller, const char *path)
{
	return remove_name(caller, path, false);
}

long call_rmdir(const struct caller *caller, const char *path)
{
	return remove_name(caller, path, true);
}

/* 1: it is a directory, 0: something else, or an error. */
static long is_directory_at(const struct caller *caller, const struct vol_where *where)
{
	struct vol_inode *inode;
	uint64_t ino;
	long result = names_find(caller->volume, where->directory, where->name, where->name_size, &ino);

	if (result)
		return result;
	result = inode_get(caller->volume, ino, &inode);
	if (result)
		return result;
	result = S_ISDIR(inode->record.mode);
	inode_put(caller->volume, inode);
	return result;
}

long call_rename(const struct caller *caller, const char *old, const char *new, uint32_t flags)
{
	PUT struct led from;
	PUT struct led to = { .volume = caller->volume };
	long result, is_old, is_new;
	bool old_out;

	from.volume = caller->volume;
	from.where.inode = from.where.directory = NULL;
	if (flags > 2)
		return -EINVAL;
	result = walk(caller, old, WALK_PARENT_ONLY, &from);
	old_out = result == OUTSIDE;
	if (result && !old_out)
		return result;
	result = walk(caller, new, WALK_PARENT_ONLY, &to);
	if (result && result != OUTSIDE)
		return result;
	if (old_out || !from.where.name_size)
		return -EBUSY;
	if (result == OUTSIDE || !to.where.name_size)
		return flags & 1 ? -EEXIST : -EBUSY;
	is_old = is_directory_at(caller, &from.where);
	is_new = is_directory_at(caller, &to.where);
	if (is_old == 0 && (is_new >= 0 || is_new == -ENOENT) && !(flags & 1 && is_new >= 0) && !(flags & 2 && is_new < 0)) {
		if (from.where.must_be_directory || (!(flags & 2) && to.where.must_be_directory))
			return -ENOTDIR;
	}
	if (flags & 2 && is_old >= 0 && is_new == 0 && to.where.must_be_directory)
		return -ENOTDIR;
	return names_rename(caller->volume, from.where.directory, from.where.name, from.where.name_size, to.where.directory,
			    to.where.name, to.where.name_size, flags, &caller->who);
}

static long found(const struct caller *caller, const char *path, bool is_followed, struct led *led)
{
	long result = walk(caller, path, is_followed ? WALK_FOLLOW : 0, led);

	return result ? result : led->where.inode ? 0 : -ENOENT;
}

long call_stat(const struct caller *caller, const char *path, bool is_followed, struct facts *facts)
{
	PUT struct led led;
	long result = found(caller, path, is_followed, &led);

	memset(facts, 0, sizeof *facts);
	if (result)
		return result == OUTSIDE ? 0 : result;
	*facts = (struct facts){
		.ino = led.where.inode->ino, .mode = led.where.inode->record.mode, .nlink = led.where.inode->record.nlink,
		.uid = led.where.inode->record.uid, .gid = led.where.inode->record.gid, .size = led.where.inode->record.size,
	};
	return 0;
}

long call_readlink(const struct caller *caller, const char *path, char *to, uint64_t size)
{
	PUT struct led led;
	long result = found(caller, path, false, &led);

	if (result)
		return result == OUTSIDE ? -EINVAL : result;
	return S_ISLNK(led.where.inode->record.mode) ? names_readlink(caller->volume, led.where.inode, to, size) : -EINVAL;
}

long call_chmod(const struct caller *caller, const char *path, uint32_t mode)
{
	PUT struct led led;
	struct vol_inode *inode;
	long result = found(caller, path, true, &led);

	if (result)
		return result == OUTSIDE ? -EPERM : result;
	inode = led.where.inode;
	vol_lock(caller->volume, &inode->lock);
	inode->record.mode = (inode->record.mode & S_IFMT) | mode;
	inode_changed(caller->volume, inode);
	vol_unlock(caller->volume, &inode->lock);
	return 0;
}

long call_chown(const struct caller *caller, const char *path, uint32_t uid, uint32_t gid)
{
	PUT struct led led;
	struct vol_inode *inode;
	long result = found(caller, path, false, &led);

	if (result)
		return result == OUTSIDE ? -EPERM : result;
	inode = led.where.inode;
	vol_lock(caller->volume, &inode->lock);
	inode->record.uid = uid;
	inode->record.gid = gid;
	if (!S_ISDIR(inode->record.mode))
		inode->record.mode &= ~(inode->record.mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID);
	inode_changed(caller->volume, inode);
	vol_unlock(caller->volume, &inode->lock);
	return 0;
}
