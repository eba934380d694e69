/*
 * volume_numbers.c - open files of a volume, and the numbers that stand for them.
 *
 * Owns: struct open_file, one for each open file that this process has; the empty memory file that the kernel has under each
 * number. Must never: take a number for a volume's that the arena doesn't know. Called by: volume_*.c, shield.c.
 *
 *   number ─► struct descriptor ─► struct open_file (here) ─► struct vol_file, struct vol_inode (arena)
 *        └──► the kernel's empty file ─► its inode number ─► file_at_place(): where no table says it
 */
#include <linux/fcntl.h>
#include <linux/memfd.h>
#include <linux/stat.h>
#include <asm/stat.h>
#include "volume_inner.h"

#define PLACE_NAME "scone-volume"

enum { POOL_COUNT = 128, SEALS = 0xf };

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

/* Is the number one that place_take() made, here or in another process? */
static bool is_place(int fd)
{
	char link[64], target[sizeof "/memfd:" PLACE_NAME];
	struct text text = { link, 0, sizeof link };

	if (gate2(__NR_fcntl, fd, F_GET_SEALS) != SEALS)
		return false;
	text_add(&text, "/proc/thread-self/fd/");
	text_add_number(&text, fd);
	return gate3(__NR_readlink, link, target, sizeof target) == sizeof target &&
	       memcmp(target, "/memfd:" PLACE_NAME " ", sizeof target) == 0;
}

/* What the kernel's file stands for: one user of it is the caller's. *is_lost: nobody knows any more. */
static struct vol_file *file_behind(int fd, struct mount **mount, bool *is_lost)
{
	struct stat place;

	*is_lost = false;
	if (gate2(__NR_fstat, fd, &place) < 0 || !S_ISREG(place.st_mode) || place.st_size || place.st_nlink)
		return NULL;
	for (uint32_t i = 0; i < mount_count; i++) {
		struct vol_file *file = file_at_place(&mounts[i].volume, place.st_dev, place.st_ino);

		if (file) {
			*mount = &mounts[i];
			return file;
		}
	}
	*is_lost = is_place(fd);
	return NULL;
}

/* A number whose open file was given up by all processes that knew it: the kernel's empty file must not be taken for it. */
static long call_lost(struct descriptor *descriptor, struct frame *frame, uint32_t at)
{
	(void)descriptor, (void)at;
	return frame->nr == __NR_close || frame->nr == __NR_fcntl || frame->nr == __NR_dup || frame->nr == __NR_dup2 ||
	       frame->nr == __NR_dup3 || call_shapes[frame->nr].path_args ? -SHIELD_PLAIN : -EBADF;
}

static void lost_count(void *object)
{
	(void)object;
}

static const struct fd_ops lost_file_ops = {
	.name    = "lost file of a volume",
	.call    = call_lost,
	.share   = lost_count,
	.release = lost_count,
};

bool use_begin(struct use *use, int fd)
{
	struct descriptor *descriptor;
	uint32_t users;

	use->open = NULL;
	use->is_lost = false;
	if (unlikely(thread_self()->gate_only)) {
		use->guest.file = fd < 0 ? NULL : file_behind(fd, &use->guest.mount, &use->is_lost);
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

		if (!(left & 1))
			continue;
		if (!use_begin(&use, (int)frame->arg[i])) {
			if (use.is_lost)
				return call_lost(NULL, frame, i);
			continue;
		}
		result = open_file_call(use.open, frame, i);
		use_end(&use);
		return result;
	}
	return -SHIELD_PLAIN;
}

/* An empty file that nobody can write to, under the lowest free number. */
static long place_take(uint32_t flags)
{
	long fd = gate2(__NR_memfd_create, PLACE_NAME, MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0)), result;

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
	bool is_lost;

	if (!descriptor || descriptor->ops)
		return;
	file = file_behind(fd, &mount, &is_lost);
	if (is_lost)
		shield_attach(fd, &lost_file_ops, NULL);
	if (!file)
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
