/*
 * volume_status.c - what a volume says of its inodes, and changes of that.
 *
 * Owns: stat and its like, permissions, owners, times. Must never: change a record but under the inode's lock. Called by:
 * volume_serve.c, volume_file.c.
 */
#include <linux/stat.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include "volume_inner.h"

enum { DEVICE = 0x5345, BLOCK = 4096, SECTORS = 8, SET_IDS = 06000, NAME_MAX_ = 255, SAVED_FREE = 1 << 20, ACCESS_ALL = 7,
       AT_EACCESS_ = 0x200, MICRO = 1000, NANO_MAX = 999999999, UTIME_NOW_ = (1 << 30) - 1, UTIME_OMIT_ = (1 << 30) - 2 };

static uint64_t device_of(const struct mount *mount)
{
	return DEVICE + (uint64_t)mount->index;
}

long status_give(const struct mount *mount, const struct vol_inode *inode, uint64_t to)
{
	const struct volume_record *record = &inode->record;
	struct stat status = {
		.st_dev = device_of(mount), .st_ino = inode->ino, .st_nlink = record->nlink, .st_mode = record->mode,
		.st_uid = record->uid, .st_gid = record->gid, .st_rdev = record->device, .st_size = (long)record->size,
		.st_blksize = BLOCK, .st_blocks = (long)record->chunks * SECTORS,
		.st_atime = (unsigned long)record->accessed.seconds, .st_atime_nsec = record->accessed.nanoseconds,
		.st_mtime = (unsigned long)record->modified.seconds, .st_mtime_nsec = record->modified.nanoseconds,
		.st_ctime = (unsigned long)record->changed.seconds, .st_ctime_nsec = record->changed.nanoseconds,
	};

	return copy_guarded((void *)to, &status, sizeof status);
}

static struct statx_timestamp stamp(const struct volume_time *time)
{
	return (struct statx_timestamp){ .tv_sec = time->seconds, .tv_nsec = time->nanoseconds };
}

long statx_give(const struct mount *mount, const struct vol_inode *inode, uint64_t to)
{
	const struct volume_record *record = &inode->record;
	struct statx status = {
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME, .stx_blksize = BLOCK, .stx_nlink = record->nlink,
		.stx_uid = record->uid, .stx_gid = record->gid, .stx_mode = (uint16_t)record->mode, .stx_ino = inode->ino,
		.stx_size = record->size, .stx_blocks = record->chunks * SECTORS, .stx_atime = stamp(&record->accessed),
		.stx_btime = stamp(&record->born), .stx_ctime = stamp(&record->changed), .stx_mtime = stamp(&record->modified),
		.stx_rdev_major = record->device >> 8 & 0xfff, .stx_rdev_minor = record->device & 255,
		.stx_dev_major = (uint32_t)(device_of(mount) >> 8), .stx_dev_minor = (uint32_t)(device_of(mount) & 255),
	};

	return copy_guarded((void *)to, &status, sizeof status);
}

/* A name that ends in a slash is a directory's. */
static long found(const struct spot *spot)
{
	if (!spot->where.inode)
		return -ENOENT;
	return spot->where.must_be_directory && !is_directory(spot->where.inode) ? -ENOTDIR : 0;
}

long serve_status(struct frame *frame, struct spot *spot)
{
	TRY(found(spot));
	switch (frame->nr) {
	case __NR_statx:
		return statx_give(spot->mount, spot->where.inode, frame->arg[4]);
	case __NR_newfstatat:
		return status_give(spot->mount, spot->where.inode, frame->arg[2]);
	default:
		return status_give(spot->mount, spot->where.inode, frame->arg[1]);
	}
}

/* By the real identity, as access(2) asks. */
static struct vol_who who_really(void)
{
	struct vol_who who = *who_asks();
	uint32_t id[3];

	if (gate3(__NR_getresuid, &id[0], &id[1], &id[2]) == 0)
		who.uid = id[0];
	if (gate3(__NR_getresgid, &id[0], &id[1], &id[2]) == 0)
		who.gid = id[0];
	return who;
}

long serve_access(struct frame *frame, struct spot *spot)
{
	bool is_at = frame->nr != __NR_access;
	uint32_t wanted = (uint32_t)frame->arg[is_at ? 2 : 1], flags = frame->nr == __NR_faccessat2 ? (uint32_t)frame->arg[3] : 0;
	struct vol_who who;

	if (wanted & ~(uint32_t)ACCESS_ALL)
		return -EINVAL;
	TRY(found(spot));
	if (wanted & VOL_MAY_WRITE && spot->mount->is_readonly)
		return -EROFS;
	who = flags & AT_EACCESS_ ? *who_asks() : who_really();
	return wanted ? names_permit(&spot->where.inode->record, &who, wanted) : 0;
}

long statfs_give(struct mount *mount, uint64_t to)
{
	struct volume_usage usage;
	struct statfs status;
	uint64_t left;

	volume_usage(&mount->volume, &usage);
	left = usage.blocks > usage.blocks_used ? usage.blocks - usage.blocks_used : 0;
	status = (struct statfs){
		.f_type = 0x53434e45 /* "SCNE" */, .f_bsize = BLOCK, .f_frsize = BLOCK, .f_blocks = (long)usage.blocks,
		.f_bfree = (long)left, .f_bavail = (long)left, .f_files = (long)usage.inodes_used + SAVED_FREE,
		.f_ffree = SAVED_FREE, .f_fsid = { { DEVICE, (int)mount->index } }, .f_namelen = NAME_MAX_,
		.f_flags = 0x20 | (mount->is_readonly ? 1 : 0),
	};
	return copy_guarded((void *)to, &status, sizeof status);
}

long serve_statfs(struct frame *frame, struct spot *spot)
{
	TRY(found(spot));
	return statfs_give(spot->mount, frame->arg[1]);
}

/* ---- changes ---- */

static long change_begin(struct mount *mount, struct vol_inode *inode)
{
	if (mount->is_readonly)
		return -EROFS;
	TRY(volume_make_room(&mount->volume));
	TRY(names_lock(&mount->volume));
	vol_lock(&mount->volume, &inode->lock);
	return 0;
}

static void change_end(struct mount *mount, struct vol_inode *inode, bool is_changed)
{
	if (is_changed) {
		inode->record.changed = time_now();
		inode_changed(&mount->volume, inode);
	}
	vol_unlock(&mount->volume, &inode->lock);
	names_unlock(&mount->volume);
}

static bool is_in_group(const struct vol_who *who, uint32_t gid)
{
	bool found_it = who->gid == gid;

	for (uint32_t i = 0; i < who->group_count; i++)
		found_it = found_it || who->groups[i] == gid;
	return found_it;
}

long mode_set(struct mount *mount, struct vol_inode *inode, uint32_t mode)
{
	const struct vol_who *who = who_asks();
	bool is_allowed;

	if (is_link(inode))
		return -EOPNOTSUPP;
	TRY(change_begin(mount, inode));
	is_allowed = !who->uid || who->uid == inode->record.uid;
	if (who->uid && !is_in_group(who, inode->record.gid))
		mode &= ~(uint32_t)S_ISGID;
	if (is_allowed)
		inode->record.mode = (inode->record.mode & S_IFMT) | (mode & 07777);
	change_end(mount, inode, is_allowed);
	return is_allowed ? 0 : -EPERM;
}

static bool may_give(const struct vol_who *who, const struct volume_record *record, uint32_t uid, uint32_t gid)
{
	if (!who->uid)
		return true;
	if (who->uid != record->uid || (uid != ~0u && uid != record->uid))
		return false;
	return gid == ~0u || gid == record->gid || is_in_group(who, gid);
}

long owner_set(struct mount *mount, struct vol_inode *inode, uint32_t uid, uint32_t gid)
{
	struct volume_record *record = &inode->record;
	bool is_allowed;

	TRY(change_begin(mount, inode));
	is_allowed = may_give(who_asks(), record, uid, gid);
	if (is_allowed && (uid != ~0u || gid != ~0u)) {
		record->uid = uid != ~0u ? uid : record->uid;
		record->gid = gid != ~0u ? gid : record->gid;
		if (S_ISREG(record->mode))
			record->mode &= ~(uint32_t)(record->mode & S_IXGRP ? SET_IDS : S_ISUID);
	}
	change_end(mount, inode, is_allowed);
	return is_allowed ? 0 : -EPERM;
}

long serve_chmod(struct frame *frame, struct spot *spot)
{
	TRY(found(spot));
	return mode_set(spot->mount, spot->where.inode, (uint32_t)frame->arg[frame->nr == __NR_chmod ? 1 : 2]);
}

long serve_chown(struct frame *frame, struct spot *spot)
{
	uint32_t at = frame->nr == __NR_fchownat ? 2 : 1;

	TRY(found(spot));
	return owner_set(spot->mount, spot->where.inode, (uint32_t)frame->arg[at], (uint32_t)frame->arg[at + 1]);
}

/* ---- times ---- */

struct times { struct volume_time time[2]; bool is_set[2]; bool is_now; };	/* accessed, modified */

static struct volume_time time_of(int64_t seconds, int64_t nanoseconds)
{
	return (struct volume_time){ .seconds = seconds, .nanoseconds = (uint32_t)nanoseconds };
}

static long times_now(struct times *times)
{
	struct volume_time now = time_now();

	*times = (struct times){ { now, now }, { true, true }, true };
	return 0;
}

static long times_exact(struct times *times, const int64_t given[4])
{
	struct volume_time now = time_now();

	times->is_now = given[1] == UTIME_NOW_ && given[3] == UTIME_NOW_;
	for (uint32_t i = 0; i < 2; i++) {
		int64_t fraction = given[2 * i + 1];

		times->is_set[i] = fraction != UTIME_OMIT_;
		times->time[i] = fraction == UTIME_NOW_ ? now : time_of(given[2 * i], fraction);
		if (fraction != UTIME_NOW_ && fraction != UTIME_OMIT_ && (fraction < 0 || fraction > NANO_MAX))
			return -EINVAL;
	}
	return 0;
}

static long times_get(struct times *times, const struct frame *frame)
{
	bool is_at = frame->nr == __NR_utimensat || frame->nr == __NR_futimesat;
	uint64_t from = frame->arg[is_at ? 2 : 1];
	int64_t given[4];

	if (!from)
		return times_now(times);
	if (frame->nr == __NR_utime) {
		TRY(copy_guarded(given, (const void *)from, 2 * sizeof *given));
		*times = (struct times){ { time_of(given[0], 0), time_of(given[1], 0) }, { true, true }, false };
		return 0;
	}
	TRY(copy_guarded(given, (const void *)from, sizeof given));
	if (frame->nr == __NR_utimensat)
		return times_exact(times, given);
	if (given[1] < 0 || given[1] >= NANO_MAX / MICRO + 1 || given[3] < 0 || given[3] >= NANO_MAX / MICRO + 1)
		return -EINVAL;
	given[1] *= MICRO;
	given[3] *= MICRO;
	return times_exact(times, given);
}

long times_set(struct mount *mount, struct vol_inode *inode, const struct frame *frame)
{
	const struct vol_who *who = who_asks();
	struct times times;
	bool is_allowed;

	TRY(times_get(&times, frame));
	if (!times.is_set[0] && !times.is_set[1])
		return 0;
	if (inode->mapped)	/* what was written before must not set them later */
		TRY(inode_scan(&mount->volume, inode));
	TRY(change_begin(mount, inode));
	is_allowed = !who->uid || who->uid == inode->record.uid ||
		     (times.is_now && names_permit(&inode->record, who, VOL_MAY_WRITE) == 0);
	if (is_allowed && times.is_set[0])
		inode->record.accessed = times.time[0];
	if (is_allowed && times.is_set[1])
		inode->record.modified = times.time[1];
	change_end(mount, inode, is_allowed);
	return is_allowed ? 0 : times.is_now ? -EACCES : -EPERM;
}

/* Without a path it is a descriptor's file: one that is only a place can't be changed by it. */
static bool is_only_place(const struct frame *frame)
{
	struct use use;
	bool is_place;

	if (frame->nr != __NR_utimensat || frame->arg[1])
		return false;
	is_place = use_begin(&use, (int)frame->arg[0]) && use.open->file->flags & O_PATH;
	use_end(&use);
	return is_place;
}

long serve_times(struct frame *frame, struct spot *spot)
{
	TRY(found(spot));
	if (is_only_place(frame))
		return -EBADF;
	return times_set(spot->mount, spot->where.inode, frame);
}
