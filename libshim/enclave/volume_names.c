/*
 * volume_names.c - calls that change the names of a volume, and those that only a name can make.
 *
 * Owns: their errors, as the kernel has them, before and after names.h. Must never: make what a volume can't keep. Called by:
 * volume_serve.c.
 */
#include <linux/fs.h>
#include <linux/stat.h>
#include "volume_inner.h"

enum { REMOVEDIR = 0x200, LINK_MAX_ = 4096, RENAME_KNOWN = RENAME_NOREPLACE | RENAME_EXCHANGE };

/* A name that is there, and is a directory if it ended in a slash. */
static long found(const struct spot *spot)
{
	if (!spot->where.inode)
		return -ENOENT;
	return spot->where.must_be_directory && !is_directory(spot->where.inode) ? -ENOTDIR : 0;
}

/* A name that is to be made: 0 or the error. */
static long is_free(const struct spot *spot, bool may_be_directory)
{
	if (spot->where.inode || !spot->where.name_size)
		return -EEXIST;
	if (spot->mount->is_readonly)
		return -EROFS;
	return spot->where.must_be_directory && !may_be_directory ? -ENOENT : 0;
}

long serve_mkdir(struct frame *frame, struct spot *spot)
{
	const struct vol_who *who = who_asks();
	uint32_t mode = (uint32_t)frame->arg[frame->nr == __NR_mkdirat ? 2 : 1];
	struct vol_inode *inode;
	struct volume_record record = { .mode = S_IFDIR | (mode & 01777 & ~file_mask), .uid = who->uid, .gid = who->gid };

	TRY(is_free(spot, true));
	TRY(names_create(&spot->mount->volume, spot->where.directory, spot->where.name, spot->where.name_size, &record, who,
			 &inode));
	inode_put(&spot->mount->volume, inode);
	return 0;
}

/* The error of a path that ends in "." or "..", or is the volume's root. */
static long nameless_error(const struct spot *spot, bool is_rmdir)
{
	const char *name = spot->where.name;

	if (!is_rmdir)
		return -EISDIR;
	return spot->where.inode == spot->mount->root ? -EBUSY : name[0] == '.' && name[1] == '.' ? -ENOTEMPTY : -EINVAL;
}

long serve_unlink(struct frame *frame, struct spot *spot)
{
	bool is_rmdir = frame->nr == __NR_rmdir || (frame->nr == __NR_unlinkat && frame->arg[2] & REMOVEDIR);

	if (frame->nr == __NR_unlinkat && frame->arg[2] & ~(uint64_t)REMOVEDIR)
		return -EINVAL;
	TRY(found(spot));
	if (!spot->where.name_size || !spot->where.directory)
		return nameless_error(spot, is_rmdir);
	if (spot->mount->is_readonly)
		return -EROFS;
	return names_unlink(&spot->mount->volume, spot->where.directory, spot->where.name, spot->where.name_size, is_rmdir,
			    who_asks());
}

long serve_symlink(struct frame *frame, struct spot *spot)
{
	char target[LINK_MAX_];
	long size = copy_string(target, (const char *)frame->arg[0], sizeof target);

	TRY(size);
	if (!size)
		return -ENOENT;
	TRY(is_free(spot, false));
	return names_symlink(&spot->mount->volume, spot->where.directory, spot->where.name, spot->where.name_size, target,
			     who_asks());
}

/* What /proc/self/fd/N, or cwd, says: its size. */
static long descriptor_path(struct spot *spot, char to[LINK_MAX_])
{
	struct mount *mount = spot->mount;
	struct text text = { to, 0, LINK_MAX_ };
	struct vol_inode *inode = spot->where.inode, *directory = NULL;
	struct use use = { 0 };
	char below[LINK_MAX_];
	long result;

	if (use_begin(&use, spot->descriptor))
		directory = file_directory(&mount->volume, use.open->file);
	if (is_directory(inode))
		result = names_path(&mount->volume, inode, below, sizeof below - 1);
	else
		result = directory ? names_path_in(&mount->volume, directory, inode, below, sizeof below - 1) : -ENOENT;
	use_end(&use);
	below[result > 0 ? result : 0] = 0;
	text_add(&text, mount->place);
	text_add(&text, result == 1 ? "" : result > 1 ? below : "/? (deleted)");
	return (long)text.size;
}

long serve_readlink(struct frame *frame, struct spot *spot)
{
	bool is_at = frame->nr == __NR_readlinkat;
	uint64_t to = frame->arg[is_at ? 2 : 1], size = frame->arg[is_at ? 3 : 2];
	char target[LINK_MAX_];
	long result;

	if ((int32_t)size <= 0)
		return -EINVAL;
	TRY(found(spot));
	if (spot->descriptor != NO_DESCRIPTOR)
		result = descriptor_path(spot, target);
	else if (!is_link(spot->where.inode))
		return -EINVAL;
	else
		result = names_readlink(&spot->mount->volume, spot->where.inode, target, sizeof target);
	TRY(result);
	result = (uint64_t)result < size ? result : (long)size;
	TRY(copy_guarded((void *)to, target, (uint64_t)result));
	return result;
}

long serve_mknod(struct frame *frame, struct spot *spot)
{
	uint32_t mode = (uint32_t)frame->arg[frame->nr == __NR_mknodat ? 2 : 1];
	const struct vol_who *who = who_asks();
	struct volume_record record;
	struct vol_inode *inode;

	TRY(is_free(spot, false));
	if ((mode & S_IFMT) && (mode & S_IFMT) != S_IFREG)
		return volume_refuse(spot->mount, (uint32_t)frame->nr, "a volume keeps no pipes, sockets and devices", -EPERM);
	record = (struct volume_record){ .mode = S_IFREG | (mode & 07777 & ~file_mask), .uid = who->uid, .gid = who->gid };
	TRY(names_create(&spot->mount->volume, spot->where.directory, spot->where.name, spot->where.name_size, &record, who,
			 &inode));
	inode_put(&spot->mount->volume, inode);
	return 0;
}

long serve_chdir(struct frame *frame, struct spot *spot)
{
	(void)frame;
	TRY(found(spot));
	if (!is_directory(spot->where.inode))
		return -ENOTDIR;
	TRY(names_permit(&spot->where.inode->record, who_asks(), VOL_MAY_EXECUTE));
	return current_set(spot->mount, spot->where.inode);
}

long serve_truncate(struct frame *frame, struct spot *spot)
{
	if ((int64_t)frame->arg[1] < 0)
		return -EINVAL;
	TRY(found(spot));
	if (is_directory(spot->where.inode))
		return -EISDIR;
	TRY(names_permit(&spot->where.inode->record, who_asks(), VOL_MAY_WRITE));
	if (spot->mount->is_readonly)
		return -EROFS;
	return inode_truncate(&spot->mount->volume, spot->where.inode, frame->arg[1]);
}

long serve_xattr(struct frame *frame, struct spot *spot)
{
	(void)frame;
	TRY(found(spot));
	return -EOPNOTSUPP;
}

long serve_link(struct frame *frame, struct spot *from, struct spot *to)
{
	(void)frame;
	TRY(found(from));
	TRY(is_free(to, false));
	if (is_directory(from->where.inode))
		return -EPERM;
	return names_link(&to->mount->volume, from->where.inode, to->where.directory, to->where.name, to->where.name_size,
			  who_asks());
}

long serve_rename(struct frame *frame, struct spot *from, struct spot *to)
{
	uint32_t flags = frame->nr == __NR_renameat2 ? (uint32_t)frame->arg[4] : 0;

	if (flags & ~(uint32_t)RENAME_KNOWN || flags == RENAME_KNOWN)
		return -EINVAL;
	TRY(found(from));
	if (!from->where.name_size || !to->where.name_size || !from->where.directory || !to->where.directory)
		return -EBUSY;
	if (from->mount->is_readonly)
		return -EROFS;
	if (to->where.must_be_directory && !is_directory(from->where.inode))
		return -ENOTDIR;
	return names_rename(&from->mount->volume, from->where.directory, from->where.name, from->where.name_size,
			    to->where.directory, to->where.name, to->where.name_size, flags, who_asks());
}
