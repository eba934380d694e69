/*
 * volume_file.c - calls on descriptors of a volume's files.
 *
 * Owns: who serves each of them. Must never: let one that needs the file's bytes reach the kernel, which has an empty file.
 * Called by: shield.c for every call on such a descriptor.
 */
#include <linux/fs.h>
#include "volume_inner.h"

enum { VECTORS_MAX = 1024, FIONREAD_ = 0x541b, LISTING_SIZE = 16384, POSITION_NONE = -2 };

static long vector(struct open_file *open, const uint64_t *arg, int64_t at, bool is_write, uint32_t flags)
{
	struct io_part parts[VECTORS_MAX];		/* as much as the kernel takes */
	uint64_t sum = 0;

	if (arg[2] > VECTORS_MAX)
		return -EINVAL;
	TRY(copy_guarded(parts, (const void *)arg[1], arg[2] * sizeof *parts));
	for (uint64_t i = 0; i < arg[2]; i++) {
		sum += parts[i].size;
		if ((int64_t)parts[i].size < 0 || (int64_t)sum < 0)
			return -EINVAL;
	}
	return is_write ? file_write(open, parts, arg[2], at, flags) : file_read(open, parts, arg[2], at);
}

/* As an argument: -1 is no place, but for the calls that give it a meaning. */
static int64_t place_of(uint64_t offset)
{
	return (int64_t)offset == OFFSET_OWN ? POSITION_NONE : (int64_t)offset;
}

static long listing(struct open_file *open, uint64_t to, uint64_t size)
{
	uint8_t entries[LISTING_SIZE] __attribute__((aligned(8)));
	struct vol_file *file = open->file;
	uint64_t position;
	long result;

	if (file->flags & O_PATH)
		return -EBADF;
	if (!is_directory(open->inode))
		return -ENOTDIR;
	vol_lock(volume_of(open), &file->lock);
	position = file->offset;
	result = names_list(volume_of(open), open->inode, &position, entries, size < sizeof entries ? size : sizeof entries);
	if (result > 0 && copy_guarded((void *)to, entries, (uint64_t)result) < 0)
		result = -EFAULT;
	if (result >= 0)
		file->offset = position;
	vol_unlock(volume_of(open), &file->lock);
	return result;
}

static long device_control(struct open_file *open, const struct frame *frame)
{
	uint64_t offset, size;
	int32_t rest;

	switch ((uint32_t)frame->arg[1]) {
	case FIONREAD_:
		if (is_directory(open->inode))
			return -ENOTTY;
		offset = open->file->offset;
		size = open->inode->record.size;
		rest = offset < size ? (int32_t)(size - offset < INT32_MAX ? size - offset : INT32_MAX) : 0;
		return copy_guarded((void *)frame->arg[2], &rest, sizeof rest);
	case 0x5450:		/* FIONCLEX, FIOCLEX, FIONBIO, FIOASYNC: the kernel's own flags of the number */
	case 0x5451:
	case 0x5421:
	case 0x5452:
		return -SHIELD_PLAIN;
	default:
		return -ENOTTY;
	}
}

static long change_directory(struct open_file *open)
{
	if (!is_directory(open->inode))
		return -ENOTDIR;
	TRY(names_permit(&open->inode->record, who_asks(), VOL_MAY_EXECUTE));
	return current_set(open->mount, open->inode);
}

/* What changes nothing but what is said of the inode. */
static long attributes(struct open_file *open, struct frame *frame)
{
	const uint64_t *arg = frame->arg;

	if (open->file->flags & O_PATH)
		return -EBADF;
	switch (frame->nr) {
	case __NR_fchmod:
		return mode_set(open->mount, open->inode, (uint32_t)arg[1]);
	case __NR_fchown:
		return owner_set(open->mount, open->inode, (uint32_t)arg[1], (uint32_t)arg[2]);
	default:
		return -EOPNOTSUPP;		/* extended attributes */
	}
}

static long advise(const struct open_file *open)
{
	return open->file->flags & O_PATH ? -EBADF : 0;
}

/* What moves data to or from another descriptor, or is about the open file as such. */
static long call_rare(struct open_file *open, struct frame *frame, uint32_t at)
{
	const uint64_t *arg = frame->arg;

	switch (frame->nr) {
	case __NR_sendfile:
		return file_sendfile(frame);
	case __NR_splice:
		return file_splice(frame);
	case __NR_copy_file_range:
		return file_copy_range(frame);
	case __NR_tee:
	case __NR_vmsplice:
		return -EINVAL;
	case __NR_fchmod:
	case __NR_fchown:
	case __NR_fsetxattr:
	case __NR_fgetxattr:
	case __NR_flistxattr:
	case __NR_fremovexattr:
		return attributes(open, frame);
	case __NR_fstatfs:
		return statfs_give(open->mount, arg[1]);
	case __NR_fchdir:
		return change_directory(open);
	case __NR_flock:
		return file_flock(open, (uint32_t)arg[1]);
	case __NR_fadvise64:
	case __NR_readahead:
		return advise(open);
	case __NR_cachestat:
	case __NR_quotactl_fd:
		return -EOPNOTSUPP;
	case __NR_getdents:
		return volume_refuse(open->mount, __NR_getdents, "only getdents64 lists a volume's directory", -ENOSYS);
	case __NR_io_uring_register:
	case __NR_io_submit:
		return -EOPNOTSUPP;
	default:
		(void)at;
		return -SHIELD_PLAIN;
	}
}

long open_file_call(struct open_file *open, struct frame *frame, uint32_t at)
{
	const uint64_t *arg = frame->arg;
	struct io_part one = { arg[1], arg[2] };

	switch (frame->nr) {
	case __NR_read:
		return file_read(open, &one, 1, OFFSET_OWN);
	case __NR_write:
		return file_write(open, &one, 1, OFFSET_OWN, 0);
	case __NR_pread64:
		return file_read(open, &one, 1, place_of(arg[3]));
	case __NR_pwrite64:
		return file_write(open, &one, 1, place_of(arg[3]), 0);
	case __NR_readv:
	case __NR_writev:
		return vector(open, arg, OFFSET_OWN, frame->nr == __NR_writev, 0);
	case __NR_preadv:
	case __NR_pwritev:
		return vector(open, arg, place_of(arg[3]), frame->nr == __NR_pwritev, 0);
	case __NR_preadv2:
	case __NR_pwritev2:
		return vector(open, arg, (int64_t)arg[3], frame->nr == __NR_pwritev2, (uint32_t)arg[5]);
	case __NR_lseek:
		return file_seek(open, (int64_t)arg[1], (int)arg[2]);
	case __NR_fstat:
		return status_give(open->mount, open->inode, arg[1]);
	case __NR_fsync:
	case __NR_fdatasync:
	case __NR_syncfs:
	case __NR_sync_file_range:
		return file_sync(open);
	case __NR_fcntl:
		return file_control(open, frame);
	case __NR_getdents64:
		return listing(open, arg[1], (uint32_t)arg[2]);
	case __NR_ftruncate:
		return file_cut(open, (int64_t)arg[1]);
	case __NR_fallocate:
		return file_allocate(open, (uint32_t)arg[1], (int64_t)arg[2], (int64_t)arg[3]);
	case __NR_mmap:
		return arg[3] & 0x20 /* MAP_ANONYMOUS */ ? -SHIELD_PLAIN : file_map(open, frame);
	case __NR_ioctl:
		return device_control(open, frame);
	default:
		return call_rare(open, frame, at);
	}
}
