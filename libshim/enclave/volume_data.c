/*
 * volume_data.c - the data of a volume's files, by descriptor.
 *
 * Owns: offsets, O_APPEND, O_SYNC, the time of access. Must never: know where bytes are kept. Called by: volume_file.c.
 */
#include <linux/falloc.h>
#include "volume_inner.h"

enum { SEEK_SET_, SEEK_CUR_, SEEK_END_, SEEK_DATA_, SEEK_HOLE_, RWF_DSYNC_ = 2, RWF_SYNC_ = 4, RWF_APPEND_ = 16,
       RWF_KNOWN = 0x1f, SIGXFSZ_ = 25 };

#define TRANSFER_MAX 0x7ffff000UL

static bool time_is_before(const struct volume_time *a, const struct volume_time *b)
{
	return a->seconds < b->seconds || (a->seconds == b->seconds && a->nanoseconds < b->nanoseconds);
}

/* As relatime has it, but for once a day. */
static void access_note(struct open_file *open)
{
	struct vol_inode *inode = open->inode;
	const struct volume_record *record = &inode->record;

	if (likely(time_is_before(&record->modified, &record->accessed) && time_is_before(&record->changed, &record->accessed)))
		return;
	if (open->mount->is_readonly || open->file->flags & O_NOATIME)
		return;
	vol_lock(volume_of(open), &inode->lock);
	inode->record.accessed = time_now();
	inode_changed(volume_of(open), inode);
	vol_unlock(volume_of(open), &inode->lock);
}

static long read_check(const struct open_file *open)
{
	uint32_t flags = open->file->flags;

	if ((flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
		return -EBADF;
	return is_directory(open->inode) ? -EISDIR : 0;
}

static long parts_read(struct open_file *open, const struct io_part *parts, uint64_t count, uint64_t at)
{
	uint64_t done = 0;

	for (uint64_t i = 0; i < count && done < TRANSFER_MAX; i++) {
		uint64_t size = parts[i].size < TRANSFER_MAX - done ? parts[i].size : TRANSFER_MAX - done;
		long result = inode_read(volume_of(open), open->inode, (void *)parts[i].base, size, at + done);

		if (result < 0)
			return done ? (long)done : result;
		done += (uint64_t)result;
		if ((uint64_t)result < size)
			break;
	}
	return (long)done;
}

long file_read(struct open_file *open, const struct io_part *parts, uint64_t count, int64_t at)
{
	struct vol_file *file = open->file;
	long result;

	TRY(read_check(open));
	if (at != OFFSET_OWN) {
		if (at < 0)
			return -EINVAL;
		result = parts_read(open, parts, count, (uint64_t)at);
	} else {
		vol_lock(volume_of(open), &file->lock);
		result = parts_read(open, parts, count, file->offset);
		if (result > 0)
			file->offset += (uint64_t)result;
		vol_unlock(volume_of(open), &file->lock);
	}
	if (result > 0)
		access_note(open);
	return result;
}

/* How much may be written from `at` on: RLIMIT_FSIZE counts here, too. 0: nothing, and the signal was sent. */
static uint64_t room_from(uint64_t at)
{
	if (likely(file_limit == ~0ULL))
		return TRANSFER_MAX;
	if (at >= file_limit) {
		gate3(__NR_tgkill, gate0(__NR_getpid), thread_number(), SIGXFSZ_);
		return 0;
	}
	return file_limit - at < TRANSFER_MAX ? file_limit - at : TRANSFER_MAX;
}

/* Several parts that nothing may come between. */
static long parts_append(struct open_file *open, const struct io_part *parts, uint64_t count, uint64_t room,
			 uint64_t *end)
{
	struct vol_inode *inode = open->inode;
	uint64_t done = 0, at;
	long result = 0;

	TRY(volume_make_room(volume_of(open)));
	vol_lock(volume_of(open), &inode->lock);
	at = inode->record.size;
	for (uint64_t i = 0; i < count && result >= 0; i++) {
		uint64_t size = parts[i].size < room - done ? parts[i].size : room - done;

		result = size ? inode_write_locked(volume_of(open), inode, (const void *)parts[i].base, size, at + done) : 0;
		done += result > 0 ? (uint64_t)result : 0;
		if (result >= 0 && (uint64_t)result < size)
			break;
	}
	vol_unlock(volume_of(open), &inode->lock);
	*end = at + done;
	return done ? (long)done : result;
}

static long parts_write(struct open_file *open, const struct io_part *parts, uint64_t count, uint64_t room, uint64_t at,
			uint64_t *end)
{
	uint64_t done = 0;

	*end = at;
	for (uint64_t i = 0; i < count && done < room; i++) {
		uint64_t size = parts[i].size < room - done ? parts[i].size : room - done;
		long result;

		if (!size)
			continue;
		result = inode_write(volume_of(open), open->inode, (const void *)parts[i].base, size,
				     at == INODE_APPEND ? at : at + done, end);
		if (result < 0)
			return done ? (long)done : result;
		done += (uint64_t)result;
		if ((uint64_t)result < size)
			break;
	}
	return (long)done;
}

static long write_check(const struct open_file *open, uint32_t flags)
{
	if ((open->file->flags & O_ACCMODE) == O_RDONLY || open->file->flags & O_PATH)
		return -EBADF;
	return flags & ~(uint32_t)RWF_KNOWN ? -EOPNOTSUPP : open->mount->is_readonly ? -EROFS : 0;
}

static long write_at(struct open_file *open, const struct io_part *parts, uint64_t count, int64_t at, bool is_append)
{
	struct vol_file *file = open->file;
	uint64_t end, room;
	long result;

	if (at < OFFSET_OWN)
		return -EINVAL;
	room = room_from(is_append ? open->inode->record.size : at == OFFSET_OWN ? file->offset : (uint64_t)at);
	if (!room)
		return -EFBIG;
	if (at != OFFSET_OWN && !is_append)
		return parts_write(open, parts, count, room, (uint64_t)at, &end);
	if (at == OFFSET_OWN)
		vol_lock(volume_of(open), &file->lock);
	if (is_append && count > 1)
		result = parts_append(open, parts, count, room, &end);
	else
		result = parts_write(open, parts, count, room, is_append ? INODE_APPEND : file->offset, &end);
	if (at == OFFSET_OWN) {
		if (result > 0)
			file->offset = end;
		vol_unlock(volume_of(open), &file->lock);
	}
	return result;
}

long file_write(struct open_file *open, const struct io_part *parts, uint64_t count, int64_t at, uint32_t flags)
{
	bool is_append = open->file->flags & O_APPEND || flags & RWF_APPEND_;
	bool is_sync = open->file->flags & O_DSYNC || flags & (RWF_DSYNC_ | RWF_SYNC_);
	long result;

	TRY(write_check(open, flags));
	result = write_at(open, parts, count, at, is_append);
	if (unlikely(open->inode->mapped && result > 0))
		maps_grow(open->inode);
	if (is_sync && result > 0)
		TRY(file_sync(open));
	return result;
}

/* A directory's offset is names_list's position. */
static long seek_place(struct open_file *open, int64_t distance, int whence)
{
	struct vol_file *file = open->file;
	long found;

	switch (whence) {
	case SEEK_SET_:
		return distance < 0 ? -EINVAL : distance;
	case SEEK_CUR_:
		return (int64_t)file->offset + distance < 0 ? -EINVAL : (int64_t)file->offset + distance;
	case SEEK_END_:
		found = (int64_t)open->inode->record.size;
		return found + distance < 0 ? -EINVAL : found + distance;
	case SEEK_DATA_:
	case SEEK_HOLE_:
		if (distance < 0 || (uint64_t)distance >= open->inode->record.size)
			return -ENXIO;
		return inode_seek(volume_of(open), open->inode, (uint64_t)distance, whence == SEEK_DATA_);
	default:
		return -EINVAL;
	}
}

long file_seek(struct open_file *open, int64_t distance, int whence)
{
	struct vol_file *file = open->file;
	long at;

	if (file->flags & O_PATH)
		return -EBADF;
	vol_lock(volume_of(open), &file->lock);
	at = seek_place(open, distance, whence);
	if (at >= 0)
		file->offset = (uint64_t)at;
	vol_unlock(volume_of(open), &file->lock);
	return at;
}

long file_cut(struct open_file *open, int64_t size)
{
	if (size < 0)
		return -EINVAL;
	if (open->file->flags & O_PATH)
		return -EBADF;
	if ((open->file->flags & O_ACCMODE) == O_RDONLY || is_directory(open->inode))
		return -EINVAL;
	if (open->mount->is_readonly)
		return -EROFS;
	if ((uint64_t)size > open->inode->record.size && (uint64_t)size > file_limit && room_from((uint64_t)size) == 0)
		return -EFBIG;
	TRY(inode_truncate(volume_of(open), open->inode, (uint64_t)size));
	if (open->inode->mapped)
		maps_grow(open->inode);
	return 0;
}

/* Room is not kept for what is written later. */
static long allocate(struct open_file *open, uint32_t mode, uint64_t at, uint64_t size)
{
	long result;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		return inode_punch(volume_of(open), open->inode, at, at + size);
	if (mode & FALLOC_FL_ZERO_RANGE)
		TRY(inode_punch(volume_of(open), open->inode, at, at + size));
	if (!(mode & FALLOC_FL_KEEP_SIZE) && at + size > open->inode->record.size)
		return inode_truncate(volume_of(open), open->inode, at + size);
	vol_lock(volume_of(open), &open->inode->lock);
	result = inode_truncate_locked(volume_of(open), open->inode, open->inode->record.size);	/* for its times */
	vol_unlock(volume_of(open), &open->inode->lock);
	return result;
}

long file_allocate(struct open_file *open, uint32_t mode, int64_t at, int64_t size)
{
	if ((open->file->flags & O_ACCMODE) == O_RDONLY || open->file->flags & O_PATH)
		return -EBADF;
	if (at < 0 || size <= 0)
		return -EINVAL;
	if (at > INT64_MAX - size)
		return -EFBIG;
	if (mode & ~(uint32_t)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) ||
	    (mode & FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE)))
		return -EOPNOTSUPP;
	if (open->mount->is_readonly)
		return -EROFS;
	return is_directory(open->inode) ? -EISDIR : allocate(open, mode, (uint64_t)at, (uint64_t)size);
}

long file_sync(struct open_file *open)
{
	if (open->file->flags & O_PATH)
		return -EBADF;
	return open->mount->is_readonly ? 0 : inode_commit(volume_of(open), open->inode);
}

/* It has no errors: who wants them makes an fsync. */
void volumes_sync(void)
{
	for (uint32_t i = 0; i < mount_count; i++)
		if (!mounts[i].is_readonly && volume_commit(&mounts[i].volume) < 0)
			continue;
}
