/*
 * oracle_ops.c - the operations that the oracle does on both sides.
 *
 * Owns: the shared mappings. Must never: choose anything by itself; what it does depends on its choice alone.
 * Called by: oracle.c.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>
#include "oracle.h"

int roots[SIDES], slots[SLOTS][SIDES];
char root_paths[SIDES][PATH_SIZE];

static struct map {
	unsigned char *at;	/* NULL: none */
	size_t size;
	int64_t from;
	int fd;			/* of the same file, to see how long it is */
} maps[MAPS][SIDES];

static int fd_of(const struct choice *choice, int side) { return slots[choice->slot][side]; }

/* Bytes that tell where they belong. */
static const unsigned char *filled(const struct choice *choice)
{
	static unsigned char bytes[DATA_MAX];
	uint32_t state = choice->fill | 1;

	for (size_t i = 0; i < choice->size; i++) {
		state = state * 1664525 + 1013904223;
		bytes[i] = choice->how % 8 == 0 ? 0 : (unsigned char)(state >> 24);	/* at times zeros: holes, perhaps */
	}
	return bytes;
}

static void put_slot(int slot, int side, int fd)
{
	if (slots[slot][side] >= 0)
		close(slots[slot][side]);
	slots[slot][side] = fd;
}

static void op_open(const struct choice *c, int side, struct result *r)
{
	int fd = openat(roots[side], c->path, c->flags, c->mode);

	r->value = fd < 0 ? -1 : 0;
	r->error = errno;
	if (fd >= 0)
		put_slot(c->slot, side, fd);
}

static void op_tmpfile(const struct choice *c, int side, struct result *r)
{
	int fd = openat(roots[side], c->path, O_TMPFILE | O_RDWR, c->mode);

	r->value = fd < 0 ? -1 : 0;
	if (fd >= 0)
		put_slot(c->slot, side, fd);
}

static void op_close(const struct choice *c, int side, struct result *r)
{
	r->value = close(fd_of(c, side));
	slots[c->slot][side] = -1;
}

static void op_dup(const struct choice *c, int side, struct result *r)
{
	int fd = dup(fd_of(c, side));

	r->value = fd < 0 ? -1 : 0;
	if (fd >= 0)
		put_slot(c->slot_2, side, fd);
}

static void op_read(const struct choice *c, int side, struct result *r)
{
	r->value = read(fd_of(c, side), r->data, c->size);
	r->size = r->value > 0 ? (size_t)r->value : 0;
}

static void op_pread(const struct choice *c, int side, struct result *r)
{
	r->value = pread(fd_of(c, side), r->data, c->size, c->at);
	r->size = r->value > 0 ? (size_t)r->value : 0;
}

static void op_readv(const struct choice *c, int side, struct result *r)
{
	size_t half = c->size / 2;
	struct iovec parts[] = { { r->data, half }, { r->data + half, c->size - half } };

	r->value = c->how & 1 ? readv(fd_of(c, side), parts, 2) : preadv(fd_of(c, side), parts, 2, c->at);
	r->size = r->value > 0 ? (size_t)r->value : 0;
}

static void op_write(const struct choice *c, int side, struct result *r)
{
	r->value = write(fd_of(c, side), filled(c), c->size);
}

static void op_pwrite(const struct choice *c, int side, struct result *r)
{
	r->value = pwrite(fd_of(c, side), filled(c), c->size, c->at);
}

static void op_writev(const struct choice *c, int side, struct result *r)
{
	unsigned char *bytes = (unsigned char *)(uintptr_t)filled(c);
	size_t half = c->size / 3;
	struct iovec parts[] = { { bytes, half }, { bytes + half, c->size - half } };

	r->value = c->how & 1 ? writev(fd_of(c, side), parts, 2) : pwritev(fd_of(c, side), parts, 2, c->at);
}

static void op_lseek(const struct choice *c, int side, struct result *r)
{
	static const int whence[] = { SEEK_SET, SEEK_CUR, SEEK_END };
	struct stat state;

	if (fstat(fd_of(c, side), &state) == 0 && S_ISDIR(state.st_mode))
		return;		/* each file system has positions of its own */
	r->value = lseek(fd_of(c, side), c->how & 8 ? -c->at : c->at, whence[c->how % 3]);
}

static void op_ftruncate(const struct choice *c, int side, struct result *r) { r->value = ftruncate(fd_of(c, side), c->at); }

static void op_truncate(const struct choice *c, int side, struct result *r)
{
	char path[2 * PATH_SIZE];

	snprintf(path, sizeof(path), "%s/%s", root_paths[side], c->path);
	r->value = truncate(path, c->at);
}

static void op_sync(const struct choice *c, int side, struct result *r)
{
	r->value = c->how & 1 ? fsync(fd_of(c, side)) : fdatasync(fd_of(c, side));
}

static void op_fallocate(const struct choice *c, int side, struct result *r)
{
	static const int kinds[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

	r->value = fallocate(fd_of(c, side), kinds[c->how % 3], c->at, (off_t)c->size);
}

static void op_mkdir(const struct choice *c, int side, struct result *r)
{
	r->value = mkdirat(roots[side], c->path, c->mode);
}

static void op_rmdir(const struct choice *c, int side, struct result *r)
{
	r->value = unlinkat(roots[side], c->path, AT_REMOVEDIR);
}

static void op_unlink(const struct choice *c, int side, struct result *r) { r->value = unlinkat(roots[side], c->path, 0); }

static void op_rename(const struct choice *c, int side, struct result *r)
{
	static const unsigned flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };

	r->value = renameat2(roots[side], c->path, roots[side], c->path_2, flags[c->how % 4]);
}

static void op_link(const struct choice *c, int side, struct result *r)
{
	r->value = linkat(roots[side], c->path, roots[side], c->path_2, c->how & 1 ? AT_SYMLINK_FOLLOW : 0);
}

static void op_link_open(const struct choice *c, int side, struct result *r)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd_of(c, side));
	r->value = linkat(AT_FDCWD, path, roots[side], c->path, AT_SYMLINK_FOLLOW);
}

static void op_symlink(const struct choice *c, int side, struct result *r)
{
	char target[2 * PATH_SIZE];

	snprintf(target, sizeof(target), "%s%s%s", c->how & 3 ? "" : root_paths[side], c->how & 3 ? "" : "/", c->path);
	r->value = symlinkat(target, roots[side], c->path_2);
}

static void op_readlink(const struct choice *c, int side, struct result *r)
{
	char target[2 * PATH_SIZE], *from = target;
	size_t skip = strlen(root_paths[side]);

	r->value = readlinkat(roots[side], c->path, target, sizeof(target) - 1);
	if (r->value < 0)
		return;
	target[r->value] = 0;
	if (strncmp(target, root_paths[side], skip) == 0) {
		from += skip;
		r->value -= (long)skip;
	}
	r->size = strlen(from);
	memcpy(r->data, from, r->size);
}

static void op_chmod(const struct choice *c, int side, struct result *r)
{
	r->value = c->how & 1 ? fchmod(fd_of(c, side), c->mode) : fchmodat(roots[side], c->path, c->mode, 0);
}

static void op_chown(const struct choice *c, int side, struct result *r)
{
	uid_t owner = geteuid() == 0 ? c->fill % 3 : geteuid();

	r->value = c->how & 1 ? fchown(fd_of(c, side), owner, (gid_t)-1)
			      : fchownat(roots[side], c->path, owner, (gid_t)-1, c->how & 2 ? AT_SYMLINK_NOFOLLOW : 0);
}

static void op_times(const struct choice *c, int side, struct result *r)
{
	struct timespec times[2] = { { c->at, 123456789 }, { c->fill % 1000000000, 987654321 } };

	if (c->how % 5 == 0)
		times[0].tv_nsec = UTIME_OMIT;
	if (c->how % 7 == 0)
		times[1].tv_nsec = UTIME_NOW;
	r->value = c->how & 1 ? futimens(fd_of(c, side), times)
			      : utimensat(roots[side], c->path, times, c->how & 2 ? AT_SYMLINK_NOFOLLOW : 0);
}

static void op_access(const struct choice *c, int side, struct result *r)
{
	r->value = faccessat(roots[side], c->path, c->how & 7, 0);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names and kinds, sorted. */
static void op_list(const struct choice *c, int side, struct result *r)
{
	int fd = openat(roots[side], c->path, O_RDONLY | O_DIRECTORY), count = 0;
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	char *names[4096];
	struct dirent *one;

	r->value = directory ? 0 : -1;
	if (!directory)
		return;
	while ((one = readdir(directory)) && count < 4096)
		if (asprintf(&names[count++], "%d %s", one->d_type, one->d_name) < 0)
			abort();
	closedir(directory);
	qsort(names, (size_t)count, sizeof(names[0]), by_name);
	for (int i = 0; i < count; i++) {
		size_t size = strlen(names[i]) + 1;

		if (r->size + size <= DATA_MAX)
			memcpy(r->data + r->size, names[i], size);
		r->size += r->size + size <= DATA_MAX ? size : 0;
		free(names[i]);
	}
	r->value = count;
}

static void op_flags(const struct choice *c, int side, struct result *r)
{
	if (c->how & 1)
		(void)!fcntl(fd_of(c, side), F_SETFL, c->how & 2 ? O_APPEND : 0);
	r->value = fcntl(fd_of(c, side), F_GETFL);
}

static void op_flock(const struct choice *c, int side, struct result *r)
{
	static const int kinds[] = { LOCK_SH, LOCK_EX, LOCK_UN };

	r->value = flock(fd_of(c, side), kinds[c->how % 3] | LOCK_NB);
}

static void op_lock(const struct choice *c, int side, struct result *r)
{
	static const short kinds[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	struct flock lock = {
		.l_type = kinds[c->how % 3], .l_whence = SEEK_SET, .l_start = c->at % 64, .l_len = (off_t)c->size % 16,
	};
	int is_open_file = c->how & 4, is_test = c->how & 8;

	if (is_test && lock.l_type == F_UNLCK)
		return;		/* means different things in different kernels */
	r->value = fcntl(fd_of(c, side), is_test ? is_open_file ? F_OFD_GETLK : F_GETLK : is_open_file ? F_OFD_SETLK : F_SETLK, &lock);
	if (r->value < 0 || !is_test)
		return;
	r->value = lock.l_type != F_UNLCK;	/* which of several locks is told of is the kernel's affair */
}

static void op_copy_range(const struct choice *c, int side, struct result *r)
{
	loff_t from = c->at / 2, to = c->at;

	r->value = copy_file_range(fd_of(c, side), c->how & 1 ? &from : NULL, slots[c->slot_2][side], c->how & 2 ? &to : NULL,
				   c->size, 0);
}

static void op_sendfile(const struct choice *c, int side, struct result *r)
{
	off_t from = c->at / 2;
	struct stat one, other;

	if (fstat(fd_of(c, side), &one) == 0 && fstat(slots[c->slot_2][side], &other) == 0 && one.st_ino == other.st_ino)
		return;		/* into itself: what that gives is chance */
	r->value = sendfile(slots[c->slot_2][side], fd_of(c, side), c->how & 1 ? &from : NULL, c->size);
}

/* A shared mapping that stays until it is replaced; the file may be closed, cut or removed meanwhile. */
static void op_map(const struct choice *c, int side, struct result *r)
{
	struct map *map = &maps[c->map][side];
	void *at;

	if (map->at) {
		munmap(map->at, map->size);
		close(map->fd);
	}
	*map = (struct map){ .size = c->size + 1, .from = c->at & ~4095LL };
	at = mmap(NULL, map->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_of(c, side), map->from);
	r->value = at == MAP_FAILED ? -1 : 0;
	if (at == MAP_FAILED)
		return;
	map->at = at;
	map->fd = dup(fd_of(c, side));
}

/* How much of a mapping the file has now. */
static size_t mapped_size(const struct map *map)
{
	struct stat state;

	if (!map->at || fstat(map->fd, &state) != 0 || state.st_size <= map->from)
		return 0;
	return (size_t)(state.st_size - map->from) < map->size ? (size_t)(state.st_size - map->from) : map->size;
}

static void op_map_read(const struct choice *c, int side, struct result *r)
{
	const struct map *map = &maps[c->map][side];
	size_t size = mapped_size(map);

	r->size = size < DATA_MAX ? size : DATA_MAX;
	if (r->size)
		memcpy(r->data, map->at, r->size);
}

static void op_map_write(const struct choice *c, int side, struct result *r)
{
	const struct map *map = &maps[c->map][side];
	size_t size = mapped_size(map), count = c->size < size ? c->size : size;

	if (count)
		memcpy(map->at + (size - count) / 2, filled(c), count);
	if (!count)
		return;
	if (c->how & 4)
		r->value = msync(map->at, map->size, MS_SYNC);
	/* When a written page sets the time is the kernel's affair; what is set afterwards has to stay. */
	if (r->value == 0)
		r->value = futimens(map->fd, (const struct timespec[2]){ { 1, 1 }, { 1, 1 } });
}

static void op_map_private(const struct choice *c, int side, struct result *r)
{
	struct stat state;
	unsigned char *at;
	size_t size;

	if (fstat(fd_of(c, side), &state) != 0 || state.st_size < 1 || !S_ISREG(state.st_mode))
		return;
	size = (size_t)state.st_size < c->size + 1 ? (size_t)state.st_size : c->size + 1;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd_of(c, side), 0);
	r->value = at == MAP_FAILED ? -1 : 0;
	if (at == MAP_FAILED)
		return;
	r->size = size < DATA_MAX ? size : DATA_MAX;
	memcpy(r->data, at, r->size);
	memset(at, 0x5a, size);		/* never seen in the file */
	munmap(at, size);
}

const struct operation operations[] = {
	{ "open", 30, op_open }, { "tmpfile", 1, op_tmpfile }, { "close", 2, op_close }, { "dup", 2, op_dup },
	{ "read", 6, op_read }, { "pread", 6, op_pread }, { "readv", 3, op_readv },
	{ "write", 8, op_write }, { "pwrite", 8, op_pwrite }, { "writev", 4, op_writev },
	{ "lseek", 5, op_lseek }, { "ftruncate", 4, op_ftruncate }, { "truncate", 2, op_truncate }, { "sync", 2, op_sync },
	{ "fallocate", 3, op_fallocate }, { "mkdir", 5, op_mkdir }, { "rmdir", 3, op_rmdir }, { "unlink", 4, op_unlink },
	{ "rename", 7, op_rename }, { "link", 4, op_link }, { "link_open", 1, op_link_open }, { "symlink", 4, op_symlink },
	{ "readlink", 2, op_readlink }, { "chmod", 2, op_chmod }, { "chown", 2, op_chown }, { "times", 2, op_times },
	{ "access", 2, op_access }, { "list", 3, op_list }, { "flags", 2, op_flags }, { "flock", 3, op_flock },
	{ "lock", 5, op_lock }, { "copy_range", 3, op_copy_range }, { "sendfile", 2, op_sendfile },
	{ "map", 3, op_map }, { "map_read", 4, op_map_read }, { "map_write", 4, op_map_write }, { "map_private", 2, op_map_private },
};
const size_t operation_count = sizeof(operations) / sizeof(operations[0]);
