/*
 * volume_open.c - open files of a volume, and the numbers that stand for them.
 *
 * Owns: struct open_file, one for each open file that this process has; the empty memory file that the kernel has under each
 * number. Must never: take a number for a volume's that the arena doesn't know. Called by: volume_*.c, shield.c.
 *
 *   number ─► struct descriptor ─► struct open_file (here) ─► struct vol_file, struct vol_inode (arena)
 *        └──► the kernel's empty file ─► its inode number ─► file_at_place(): where no table says it
 */
#include <linux/fcntl.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <asm/stat.h>
#include "volume_inner.h"

enum { POOL_COUNT = 128, OPEN_TRIES = 16, LARGE_FILE = 0100000, SEALS = 0xf,
       OWN_FLAGS = O_CLOEXEC | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC };	/* what F_GETFL does not tell */

static struct { struct mutex lock; struct open_file *all, *free; } files;

/* ---- struct open_file ---- */

void open_files_lock(void)   { mutex_lock(&files.lock); }
void open_files_unlock(void) { mutex_unlock(&files.lock); }

/* Under the lock. */
static struct open_file *pool_take(void)
{
	struct open_file *file = files.free;

	if (!file) {
		file = pages_map(POOL_COUNT * sizeof *file);
		for (uint32_t i = 1; file && i < POOL_COUNT; i++) {
			file[i].next = files.free;
			files.free = &file[i];
		}
	} else {
		files.free = file->next;
	}
	return file;
}

void open_files_prepare(void)
{
	struct open_file *first = pool_take();

	if (!first)
		die("no memory for the shim");
	first->next = files.free;
	files.free = first;
}

/* Takes one user of `file` over: NULL, and it is the caller's still. Under the lock. */
static struct open_file *open_file_make(struct mount *mount, struct vol_file *file, uint32_t hold)
{
	struct open_file *open = pool_take();
	long given = hold;

	if (!open)
		return NULL;
	if (!hold)
		given = hold_new(mount, HOLD_FILE, file);
	if (given < 0) {
		open->next = files.free;
		files.free = open;
		return NULL;
	}
	open->mount = mount;
	open->file = file;
	open->inode = file_inode(&mount->volume, file);
	open->hold = (uint32_t)given;
	open->next = files.all;
	files.all = open;
	__atomic_store_n(&open->users, 1, __ATOMIC_RELEASE);
	return open;
}

/* Its last number here is gone. */
static void open_file_free(struct open_file *open)
{
	struct open_file **at = &files.all;
	struct mount *mount = open->mount;
	struct vol_file *file = open->file;

	open_files_lock();
	if (open->users) {		/* came back by a number that was received */
		open_files_unlock();
		return;
	}
	while (*at != open)
		at = &(*at)->next;
	*at = open->next;
	hold_free(mount, open->hold);
	open->next = files.free;
	files.free = open;
	open_files_unlock();
	file_put(&mount->volume, file);
}

static void share(void *object)
{
	__atomic_fetch_add(&((struct open_file *)object)->users, 1, __ATOMIC_RELAXED);
}

static void put(struct open_file *open)
{
	if (__atomic_sub_fetch(&open->users, 1, __ATOMIC_ACQ_REL) == 0)
		open_file_free(open);
}

/* A number is closed: with any of them a process loses its locks on the file. */
static void release(void *object)
{
	struct open_file *open = object;

	lock_drop(volume_of(open), open->inode, process_number());
	put(open);
}

static long call(struct descriptor *descriptor, struct frame *frame, uint32_t at)
{
	struct use use;
	long result;

	(void)descriptor;
	if (!use_begin(&use, (int)frame->arg[at]))
		return -SHIELD_PLAIN;
	result = open_file_call(use.open, frame, at);
	use_end(&use);
	return result;
}

const struct fd_ops volume_file_ops = {
	.name    = "volume",
	.call    = call,
	.share   = share,
	.release = release,
};

void open_files_after_fork(void)
{
	files.lock = (struct mutex){ 0 };
	for (struct open_file *each = files.all; each; each = each->next)
		if (!(each->hold = hold_find(each->mount, HOLD_FILE, each->file, 0)))
			die("an open file of a volume was lost over a fork");
}

/* ---- numbers ---- */

/* What the kernel's file stands for: one user of it is the caller's. */
static struct vol_file *file_behind(int fd, struct mount **mount)
{
	struct stat place;

	if (gate2(__NR_fstat, fd, &place) < 0 || !S_ISREG(place.st_mode) || place.st_size || place.st_nlink)
		return NULL;
	for (uint32_t i = 0; i < mount_count; i++) {
		struct vol_file *file = file_at_place(&mounts[i].volume, place.st_dev, place.st_ino);

		if (file) {
			*mount = &mounts[i];
			return file;
		}
	}
	return NULL;
}

bool use_begin(struct use *use, int fd)
{
	struct descriptor *descriptor;
	uint32_t users;

	use->open = NULL;
	if (unlikely(thread_self()->gate_only)) {
		use->guest.file = fd < 0 ? NULL : file_behind(fd, &use->guest.mount);
		if (!use->guest.file)
			return false;
		use->guest.inode = file_inode(&use->guest.mount->volume, use->guest.file);
		use->open = &use->guest;
		return true;
	}
	descriptor = descriptor_of(fd);
	if (!descriptor || descriptor->ops != &volume_file_ops)
		return false;
	use->open = descriptor->object;
	users = use->open ? __atomic_load_n(&use->open->users, __ATOMIC_RELAXED) : 0;
	do
		if (!users) {
			use->open = NULL;
			return false;
		}
	while (!__atomic_compare_exchange_n(&use->open->users, &users, users + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return true;
}

void use_end(struct use *use)
{
	if (use->open == &use->guest)
		file_put(&use->guest.mount->volume, use->guest.file);
	else if (use->open)
		put(use->open);
	use->open = NULL;
}

long volumes_serve_guest(struct frame *frame, const struct call_shape *shape)
{
	for (uint32_t i = 0, left = shape->fd_args; left; i++, left >>= 1) {
		struct use use;
		long result;

		if (!(left & 1) || !use_begin(&use, (int)frame->arg[i]))
			continue;
		result = open_file_call(use.open, frame, i);
		use_end(&use);
		return result;
	}
	return -SHIELD_PLAIN;
}

/* An empty file that nobody can write to, under the lowest free number. */
static long place_take(uint32_t flags)
{
	long fd = gate2(__NR_memfd_create, "scone-volume", MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0)), result;

	TRY(fd);
	result = gate3(__NR_fcntl, fd, F_ADD_SEALS, SEALS);
	if (result < 0)
		gate1(__NR_close, fd);
	return result < 0 ? result : fd;
}

/* In a process with a table of its own the number is all there is; the image that it executes finds it. */
static long number_attach(struct mount *mount, struct vol_file *file, int fd)
{
	struct open_file *open;
	long hold;

	if (thread_self()->gate_only) {
		hold = hold_new(mount, HOLD_FILE, file);
		return hold < 0 ? hold : 0;
	}
	open_files_lock();
	open = open_file_make(mount, file, 0);
	open_files_unlock();
	if (!open)
		return -ENFILE;
	shield_attach(fd, &volume_file_ops, open);
	return 0;
}

long open_file_install(struct mount *mount, struct vol_file *file, uint32_t flags)
{
	struct stat place;
	long fd = place_take(flags), result;

	if (fd < 0) {
		file_put(&mount->volume, file);
		return fd;
	}
	result = gate2(__NR_fstat, fd, &place);
	if (result == 0) {
		file_place(&mount->volume, file, place.st_dev, place.st_ino);
		result = number_attach(mount, file, (int)fd);
	}
	if (result < 0) {
		gate1(__NR_close, fd);
		file_put(&mount->volume, file);
	}
	return result < 0 ? result : fd;
}

/* One user more of what the process has open already; NULL: it has it not. Under the lock. */
static struct open_file *open_file_again(const struct vol_file *file)
{
	for (struct open_file *each = files.all; each; each = each->next)
		if (each->file == file) {
			share(each);
			return each;
		}
	return NULL;
}

void open_file_adopt(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);
	struct mount *mount;
	struct vol_file *file;
	struct open_file *open;
	uint32_t hold;

	if (!descriptor || descriptor->ops || !(file = file_behind(fd, &mount)))
		return;
	open_files_lock();
	open = open_file_again(file);
	hold = open ? 0 : hold_find(mount, HOLD_FILE, file, 0);
	if (!open)
		open = open_file_make(mount, file, hold);
	else
		hold = open->hold;
	open_files_unlock();
	if (!open)
		die("an open file of a volume can't be held");
	if (hold)		/* it has its user */
		file_put(&mount->volume, file);
	shield_attach(fd, &volume_file_ops, open);
}

void open_files_drop_unknown(void)
{
	for (uint32_t i = 0; i < mount_count; i++)
		for (uint32_t hold = 0; (hold = hold_find(&mounts[i], HOLD_FILE, NULL, hold)) != 0;) {
			struct vol_file *file = hold_object(&mounts[i], hold);
			struct open_file *each = files.all;

			while (each && !(each->file == file && each->hold == hold))
				each = each->next;
			if (each)
				continue;
			lock_drop(&mounts[i].volume, file_inode(&mounts[i].volume, file), process_number());
			hold_free(&mounts[i], hold);
			file_put(&mounts[i].volume, file);
		}
}

/* ---- open(2) ---- */

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
	long result;

	inode_share(inode);
	result = file_new(&mount->volume, inode, directory, (flags & ~(uint32_t)OWN_FLAGS) | LARGE_FILE, &file);
	if (result < 0) {
		inode_put(&mount->volume, inode);
		return result;
	}
	return open_file_install(mount, file, flags);
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
	result = file_open(mount, inode, spot->where.inode, flags & ~(uint32_t)O_TMPFILE_);
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
