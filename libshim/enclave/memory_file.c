/*
 * memory_file.c - files whose bytes are in the enclave's memory and nowhere else: secrets, and what handlers serve.
 *
 * Owns: struct memory_file, shared by all numbers that dup gives it. Must never: ask the host about its contents, or
 * take a lock that a fork child could find taken. Called by: ask.c; shield.c for every call on such a descriptor.
 *
 * A fork child has a copy: from then on parent and child move their offsets apart, other than natively.
 */
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/stat.h>
#include "descriptor.h"
#include "memory_file.h"
#include "shield.h"

enum { VECTORS_MAX = 1024, OWN_OFFSET = -1, BLOCK = 4096, SECTOR = 512, FIONREAD_ = 0x541b, SEEK_SET_ = 0, SEEK_CUR_,
       SEEK_END_, SEEK_DATA_, SEEK_HOLE_, DEVICE = 0x5343 };

struct memory_file {
	uint32_t users;
	uint32_t flags;			/* of open(2) */
	uint64_t offset;
	uint64_t size;
	struct memory_file_facts facts;
	uint8_t  bytes[];
};

static uint64_t map_size(const struct memory_file *file)
{
	return (sizeof *file + file->size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

static void share(void *object)
{
	__atomic_fetch_add(&((struct memory_file *)object)->users, 1, __ATOMIC_RELAXED);
}

/* What it held is wiped before the pages go back. */
static void release(void *object)
{
	struct memory_file *file = object;

	if (__atomic_sub_fetch(&file->users, 1, __ATOMIC_ACQ_REL))
		return;
	memset(file->bytes, 0, file->size);
	gate2(__NR_munmap, file, map_size(file));
}

/* Copies from `at` on; bytes, or -EFAULT when not even the first part could be. */
static long parts_fill(const struct memory_file *file, uint64_t at, const struct io_part *parts, uint64_t count)
{
	uint64_t done = 0;

	for (uint64_t i = 0; i < count && at + done < file->size; i++) {
		uint64_t left = file->size - at - done, part = parts[i].size < left ? parts[i].size : left;

		if (copy_guarded((void *)parts[i].base, file->bytes + at + done, part) < 0)
			return done ? (long)done : -EFAULT;
		done += part;
	}
	return (long)done;
}

static long read_parts(struct memory_file *file, int64_t at, const struct io_part *parts, uint64_t count)
{
	uint64_t offset = __atomic_load_n(&file->offset, __ATOMIC_ACQUIRE);
	long result;

	if (at != OWN_OFFSET)
		return at < 0 ? -EINVAL : parts_fill(file, (uint64_t)at, parts, count);
	do {
		result = parts_fill(file, offset, parts, count);
		TRY(result);
	} while (!__atomic_compare_exchange_n(&file->offset, &offset, offset + (uint64_t)result, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return result;
}

static long read_vector(struct memory_file *file, int64_t at, uint64_t vector, uint64_t count)
{
	struct io_part parts[VECTORS_MAX];

	if (count > VECTORS_MAX)
		return -EINVAL;
	TRY(copy_guarded(parts, (const void *)vector, count * sizeof *parts));
	return read_parts(file, at, parts, count);
}

static long seek(struct memory_file *file, int64_t distance, int whence)
{
	int64_t size = (int64_t)file->size, at;

	switch (whence) {
	case SEEK_SET_:
		at = distance;
		break;
	case SEEK_CUR_:
		at = (int64_t)__atomic_load_n(&file->offset, __ATOMIC_ACQUIRE) + distance;
		break;
	case SEEK_END_:
		at = size + distance;
		break;
	case SEEK_DATA_:
	case SEEK_HOLE_:
		if (distance < 0 || distance >= size)
			return -ENXIO;
		at = whence == SEEK_DATA_ ? distance : size;
		break;
	default:
		return -EINVAL;
	}
	if (at < 0)
		return -EINVAL;
	__atomic_store_n(&file->offset, (uint64_t)at, __ATOMIC_RELEASE);
	return at;
}

static long status_give(const struct memory_file *file, uint64_t to)
{
	struct stat status = {
		.st_dev = DEVICE, .st_ino = file->facts.number, .st_nlink = 1, .st_mode = S_IFREG | file->facts.mode,
		.st_uid = file->facts.uid, .st_gid = file->facts.gid, .st_size = (long)file->size, .st_blksize = BLOCK,
		.st_blocks = (long)((file->size + SECTOR - 1) / SECTOR), .st_atime = (unsigned long)file->facts.seconds,
		.st_mtime = (unsigned long)file->facts.seconds, .st_ctime = (unsigned long)file->facts.seconds,
	};

	return copy_guarded((void *)to, &status, sizeof status);
}

static long statx_give(const struct memory_file *file, uint64_t to)
{
	struct statx_timestamp time = { .tv_sec = file->facts.seconds };
	struct statx status = {
		.stx_mask = STATX_BASIC_STATS, .stx_blksize = BLOCK, .stx_nlink = 1, .stx_uid = file->facts.uid,
		.stx_gid = file->facts.gid, .stx_mode = (uint16_t)(S_IFREG | file->facts.mode),
		.stx_ino = file->facts.number, .stx_size = file->size,
		.stx_blocks = (file->size + SECTOR - 1) / SECTOR, .stx_atime = time, .stx_mtime = time, .stx_ctime = time,
		.stx_dev_major = DEVICE >> 8, .stx_dev_minor = DEVICE & 255,
	};

	return copy_guarded((void *)to, &status, sizeof status);
}

/* A path that is empty names the descriptor itself (AT_EMPTY_PATH). */
static bool is_empty_path(uint64_t path)
{
	char first;

	return copy_guarded(&first, (const void *)path, 1) == 0 && !first;
}

/* A private copy; also for MAP_SHARED, since nobody can change the file. */
static long map(const struct memory_file *file, const uint64_t *arg)
{
	int protection = (int)arg[2];
	uint64_t left = arg[5] < file->size ? file->size - arg[5] : 0, size = arg[1] < left ? arg[1] : left;
	long flags = (long)((arg[3] & ~(uint64_t)MAP_TYPE) | MAP_PRIVATE | MAP_ANONYMOUS), address;

	if (arg[5] % PAGE_SIZE || ((arg[3] & MAP_TYPE) != MAP_PRIVATE && protection & PROT_WRITE))
		return arg[5] % PAGE_SIZE ? -EINVAL : -EACCES;
	address = gate6(__NR_mmap, (long)arg[0], (long)arg[1], PROT_READ | PROT_WRITE, flags, -1, 0);
	TRY(address);
	memcpy((void *)address, file->bytes + arg[5], size);
	if (protection != (PROT_READ | PROT_WRITE))
		TRY(gate3(__NR_mprotect, address, arg[1], protection));
	return address;
}

static long rest_give(const struct memory_file *file, uint64_t to)
{
	uint64_t offset = __atomic_load_n(&file->offset, __ATOMIC_ACQUIRE);
	int32_t rest = offset < file->size ? (int32_t)(file->size - offset) : 0;

	return copy_guarded((void *)to, &rest, sizeof rest);
}

/* What is not listed does no harm to the empty file that the kernel has: permissions, locks, duplicates. */
static long call(struct descriptor *descriptor, struct frame *frame, uint32_t at)
{
	struct memory_file *file = descriptor->object;
	const uint64_t *arg = frame->arg;
	struct io_part one = { arg[1], arg[2] };

	switch (frame->nr) {
	case __NR_read:
		return read_parts(file, OWN_OFFSET, &one, 1);
	case __NR_pread64:
		return read_parts(file, (int64_t)arg[3] == OWN_OFFSET ? -2 : (int64_t)arg[3], &one, 1);
	case __NR_readv:
		return read_vector(file, OWN_OFFSET, arg[1], arg[2]);
	case __NR_preadv:
		return read_vector(file, (int64_t)arg[3] == OWN_OFFSET ? -2 : (int64_t)arg[3], arg[1], arg[2]);
	case __NR_preadv2:
		return read_vector(file, (int64_t)arg[3], arg[1], arg[2]);
	case __NR_lseek:
		return seek(file, (int64_t)arg[1], (int)arg[2]);
	case __NR_fstat:
		return status_give(file, arg[1]);
	case __NR_newfstatat:
		return is_empty_path(arg[1]) ? status_give(file, arg[2]) : -ENOTDIR;
	case __NR_statx:
		return is_empty_path(arg[1]) ? statx_give(file, arg[4]) : -ENOTDIR;
	case __NR_mmap:
		return arg[3] & MAP_ANONYMOUS ? -SHIELD_PLAIN : map(file, arg);
	case __NR_sendfile:
	case __NR_splice:
	case __NR_copy_file_range:		/* programs read and write instead */
		return at == 0 && frame->nr == __NR_sendfile ? -EBADF : -EINVAL;
	case __NR_write:
	case __NR_pwrite64:
	case __NR_writev:
	case __NR_pwritev:
	case __NR_pwritev2:
		return -EBADF;
	case __NR_ftruncate:
		return -EINVAL;
	case __NR_fcntl:
		return arg[1] == F_GETFL ? (long)file->flags : -SHIELD_PLAIN;
	case __NR_ioctl:
		return arg[1] == FIONREAD_ ? rest_give(file, arg[2]) : -SHIELD_PLAIN;
	default:
		return -SHIELD_PLAIN;
	}
}

static const struct fd_ops memory_file_ops = {
	.name    = "memory file",
	.call    = call,
	.share   = share,
	.release = release,
};

/* An empty file of the kernel's, open for writing only, by the lowest free number; or -errno. */
static long place_take(uint32_t flags)
{
	char path[64];
	struct text text = { path, 0, sizeof path };
	long first = gate2(__NR_memfd_create, "scone", 1 /* MFD_CLOEXEC */), second, result;

	TRY(first);
	text_add(&text, "/proc/thread-self/fd/");
	text_add_number(&text, first);
	second = gate4(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	if (second < 0) {
		gate1(__NR_close, first);
		return second;
	}
	result = gate3(__NR_dup3, second, first, flags & O_CLOEXEC);
	gate1(__NR_close, second);
	if (result < 0)
		gate1(__NR_close, first);
	return result;
}

long memory_file_open(const struct memory_file_facts *facts, const void *bytes, uint64_t size, uint32_t flags)
{
	struct memory_file *file = pages_map(sizeof *file + size);
	long fd;

	if (!file)
		return -ENOMEM;
	*file = (struct memory_file){ .users = 1, .flags = flags & ~(uint32_t)O_CLOEXEC, .size = size, .facts = *facts };
	memcpy(file->bytes, bytes, size);
	fd = place_take(flags);
	if (fd < 0)
		release(file);
	else
		shield_attach((int)fd, &memory_file_ops, file);
	return fd;
}
