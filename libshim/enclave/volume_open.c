/*
 * volume_open.c - open(2) and its like in a volume.
 *
 * Owns: what may be opened by whom, and what is made. Must never: give out a number before all of that is decided. Called by:
 * volume_serve.c.
 */
#include <linux/openat2.h>
#include <linux/stat.h>
#include "volume_inner.h"

enum { OPEN_TRIES = 16, LARGE_FILE = 0100000,
       OWN_FLAGS = O_CLOEXEC | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC };	/* what F_GETFL does not tell */

static uint32_t flags_of(const struct frame *frame, uint32_t *mode)
{
	struct open_how how = { 0 };

	*mode = 0;
	switch (frame->nr) {
	case __NR_open:
		*mode = (uint32_t)frame->arg[2];
		return (uint32_t)frame->arg[1];
	case __NR_openat:
		*mode = (uint32_t)frame->arg[3];
		return (uint32_t)frame->arg[2];
	case __NR_openat2:
		if (copy_guarded(&how, (const void *)frame->arg[2], sizeof how) < 0)
			return 0;
		*mode = (uint32_t)how.mode;
		return (uint32_t)how.flags;
	default:
		*mode = (uint32_t)frame->arg[1];
		return O_CREAT | O_WRONLY | O_TRUNC;
	}
}

uint32_t open_walk_flags(const struct frame *frame)
{
	uint32_t mode, flags = flags_of(frame, &mode);
	bool is_new = flags & O_CREAT && flags & O_EXCL && !(flags & O_PATH);

	return flags & O_NOFOLLOW || is_new ? 0 : WALK_FOLLOW;
}

static bool is_writing(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

static long access_check(const struct mount *mount, const struct vol_inode *inode, uint32_t flags)
{
	uint32_t wanted = (flags & O_ACCMODE) == O_WRONLY ? VOL_MAY_WRITE :
			  (flags & O_ACCMODE) == O_RDONLY ? VOL_MAY_READ : VOL_MAY_READ | VOL_MAY_WRITE;

	if (is_link(inode))
		return flags & O_PATH ? 0 : -ELOOP;
	if (flags & O_DIRECTORY && !is_directory(inode))
		return -ENOTDIR;
	if (flags & O_PATH)
		return 0;
	if (is_directory(inode) && (is_writing(flags) || flags & O_CREAT))
		return -EISDIR;
	if (flags & O_TRUNC)
		wanted |= VOL_MAY_WRITE;
	TRY(names_permit(&inode->record, who_asks(), wanted));
	if (is_writing(flags) && mount->is_readonly)
		return -EROFS;
	if (flags & O_NOATIME && who_asks()->uid && who_asks()->uid != inode->record.uid)
		return -EPERM;
	return 0;
}

static long file_open(struct mount *mount, struct vol_inode *inode, struct vol_inode *directory, uint32_t flags)
{
	struct vol_file *file;
	uint32_t flags_kept;
	long result;

	inode_share(inode);
	flags_kept = (flags & ~(uint32_t)OWN_FLAGS) | (flags & O_PATH ? 0 : LARGE_FILE);
	result = file_new(&mount->volume, inode, directory, flags_kept, &file);
	if (result < 0) {
		inode_put(&mount->volume, inode);
		return result;
	}
	return open_file_install(mount, file, flags & ~(uint32_t)O_TMPFILE_);
}

static struct volume_record record_of(uint32_t mode)
{
	const struct vol_who *who = who_asks();

	return (struct volume_record){ .mode = S_IFREG | (mode & 07777 & ~file_mask), .uid = who->uid, .gid = who->gid };
}

/* O_TMPFILE: one without a name. */
static long open_nameless(struct spot *spot, uint32_t flags, uint32_t mode)
{
	struct mount *mount = spot->mount;
	struct volume_record record;
	struct vol_inode *inode;
	long result;

	if (!is_directory(spot->where.inode))
		return -ENOTDIR;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	if (mount->is_readonly)
		return -EROFS;
	TRY(names_permit(&spot->where.inode->record, who_asks(), VOL_MAY_WRITE | VOL_MAY_EXECUTE));
	record = record_of(mode);
	names_inherit(&spot->where.inode->record, who_asks(), &record);
	if (flags & O_EXCL)
		record.parent = NAMES_WAS_NAMED;
	TRY(inode_new(&mount->volume, &record, &inode));
	result = file_open(mount, inode, spot->where.inode, flags);
	inode_put(&mount->volume, inode);
	return result;
}

/* The name is not there. */
static long open_new(struct spot *spot, uint32_t flags, uint32_t mode)
{
	struct mount *mount = spot->mount;
	struct volume_record record;
	struct vol_inode *inode;
	long result;

	if (!(flags & O_CREAT))
		return -ENOENT;
	if (spot->where.must_be_directory)
		return -EISDIR;
	if (mount->is_readonly)
		return -EROFS;
	record = record_of(mode);
	TRY(names_create(&mount->volume, spot->where.directory, spot->where.name, spot->where.name_size, &record, who_asks(),
			 &inode));
	result = file_open(mount, inode, spot->where.directory, flags);
	inode_put(&mount->volume, inode);
	return result;
}

/* Another made the name meanwhile: is it there now? */
static bool name_appeared(struct spot *spot)
{
	struct volume *volume = &spot->mount->volume;
	uint64_t ino;

	return names_find(volume, spot->where.directory, spot->where.name, spot->where.name_size, &ino) == 0 &&
	       inode_get(volume, ino, &spot->where.inode) == 0;
}

long serve_open(struct frame *frame, struct spot *spot)
{
	uint32_t mode, flags = flags_of(frame, &mode);
	struct vol_inode *inode;
	long result;

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if (flags & O_TMPFILE_ && spot->where.inode)
		return open_nameless(spot, flags, mode);
	for (int tries = 0; !spot->where.inode; tries++) {
		result = open_new(spot, flags, mode);
		if (result != -EEXIST || flags & O_EXCL || tries == OPEN_TRIES)
			return result;
		if (!name_appeared(spot))
			spot->where.inode = NULL;
	}
	inode = spot->where.inode;
	if (flags & O_CREAT && flags & O_EXCL)
		return -EEXIST;
	if (spot->where.must_be_directory && !is_directory(inode))
		return -ENOTDIR;
	TRY(access_check(spot->mount, inode, flags));
	if (flags & O_TRUNC)
		TRY(inode_truncate(&spot->mount->volume, inode, 0));
	return file_open(spot->mount, inode, spot->where.directory, flags);
}
