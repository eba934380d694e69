/*
 * memory_file.c - files whose bytes are in the enclave's memory and nowhere else: secrets, and what handlers serve.
 *
 * Owns: struct memory_file, shared by all numbers that dup gives it. Must never: ask the host about its contents, or
 * take a lock that a fork child could find taken. Called by: ask.c, control.c, exec.c; shield.c for every call on such a
 * descriptor.
 *
 * A fork child has a copy: from then on parent and child move their offsets apart, other than natively.
 */
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/stat.h>
#include "control.h"
#include "calls.gen.h"
#include "descriptor.h"
#include "memory_file.h"
#include "shield.h"

enum { VECTORS_MAX = 1024, OWN_OFFSET = -1, BLOCK = 4096, SECTOR = 512, FIONREAD_ = 0x541b, SEEK_SET_ = 0, SEEK_CUR_,
       SEEK_END_, SEEK_DATA_, SEEK_HOLE_, DEVICE = 0x5343, NUMBERS_MAX = 1 << 20, NAME_AT = 19, LARGE_FILE = 0100000 };

#define FLAGS_SETTABLE ((uint32_t)(O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME))
#define FLAGS_OF_OPEN ((uint32_t)(O_CLOEXEC | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC))	/* what F_GETFL does not tell */

struct memory_file {
	uint32_t users;
	uint32_t flags;			/* of open(2) */
	uint64_t place_device, place_number;	/* of the kernel's empty file */
	struct memory_file *next;	/* thread->memory_files */
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

/* As a write to the other descriptor, with whatever shield that has. */
static long send(struct memory_file *file, const struct frame *frame)
{
	struct frame write = *frame;
	uint64_t at = file->offset, left;
	long result;

	if (frame->arg[2])
		TRY(copy_guarded(&at, (const void *)frame->arg[2], sizeof at));
	if ((int64_t)at < 0)
		return -EINVAL;
	left = at < file->size ? file->size - at : 0;
	write.nr = __NR_write;
	write.arg[1] = (uint64_t)file->bytes + at;
	write.arg[2] = frame->arg[3] < left ? frame->arg[3] : left;
	if (!left)
		return 0;
	result = shield_serve(&write, &call_shapes[__NR_write]);
	if (result == -SHIELD_PLAIN)
		result = call_shapes[__NR_write].handler(&write);
	if (result <= 0)
		return result;
	at += (uint64_t)result;
	if (frame->arg[2])
		TRY(copy_guarded((void *)frame->arg[2], &at, sizeof at));
	else
		__atomic_store_n(&file->offset, at, __ATOMIC_RELEASE);
	return result;
}

static long lock(uint64_t command, uint64_t to)
{
	int16_t type;

	TRY(copy_guarded(&type, (const void *)to, sizeof type));
	if (type == F_WRLCK && command != F_GETLK && command != F_OFD_GETLK)
		return -EBADF;
	if (command != F_GETLK && command != F_OFD_GETLK)
		return type == F_RDLCK || type == F_UNLCK ? 0 : -EINVAL;
	type = F_UNLCK;
	return copy_guarded((void *)to, &type, sizeof type);
}

/* The kernel's file is open the other way round, so that flags and locks are the shim's own; nobody else can lock it. */
static long control(struct memory_file *file, struct frame *frame)
{
	long result;

	switch ((uint32_t)frame->arg[1]) {
	case F_GETFL:
		return (long)file->flags;
	case F_SETFL:
		result = sys_fcntl(frame);
		if (result == 0)
			file->flags = (file->flags & ~FLAGS_SETTABLE) | ((uint32_t)frame->arg[2] & FLAGS_SETTABLE);
		return result;
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return lock(frame->arg[1], frame->arg[2]);
	default:
		return -SHIELD_PLAIN;
	}
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
		return at == 1 ? send(file, frame) : -EBADF;
	case __NR_splice:
	case __NR_copy_file_range:		/* programs read and write instead */
		return -EINVAL;
	case __NR_write:
	case __NR_pwrite64:
	case __NR_writev:
	case __NR_pwritev:
	case __NR_pwritev2:
		return -EBADF;
	case __NR_ftruncate:
		return -EINVAL;
	case __NR_fcntl:
		return control(file, frame);
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

static struct memory_file *file_make(const struct memory_file_facts *facts, const void *bytes, uint64_t size, uint32_t flags)
{
	struct memory_file *file = pages_map(sizeof *file + size);

	if (!file)
		return NULL;
	*file = (struct memory_file){ .users = 1, .flags = (flags & ~FLAGS_OF_OPEN) | LARGE_FILE, .size = size, .facts = *facts };
	memcpy(file->bytes, bytes, size);
	return file;
}

static long place_note(struct memory_file *file, long fd)
{
	struct stat place;

	TRY(gate2(__NR_fstat, fd, &place));
	file->place_device = place.st_dev;
	file->place_number = place.st_ino;
	return 0;
}

long memory_file_open(const struct memory_file_facts *facts, const void *bytes, uint64_t size, uint32_t flags)
{
	struct memory_file *file = file_make(facts, bytes, size, flags);
	struct thread *thread = thread_self();
	long fd;

	if (!file)
		return -ENOMEM;
	fd = place_take(flags);
	if (fd < 0 || place_note(file, fd) < 0) {
		release(file);
	} else if (thread->gate_only) {		/* its numbers are its own; the image that it executes will have the file */
		file->next = thread->memory_files;
		thread->memory_files = file;
	} else {
		shield_attach((int)fd, &memory_file_ops, file);
	}
	return fd;
}

long memory_file_restore(int fd, const struct memory_file_facts *facts, const void *bytes, uint64_t size, uint32_t flags,
			 uint64_t offset)
{
	struct memory_file *file = file_make(facts, bytes, size, flags);
	long result;

	if (!file)
		return -ENOMEM;
	file->offset = offset;
	result = place_note(file, fd);
	if (result < 0)
		release(file);
	else
		shield_attach(fd, &memory_file_ops, file);
	return result;
}

/* ---- over an exec ---- */

static bool is_placed_at(const void *object, const void *what)
{
	const struct memory_file *file = object;
	const struct stat *place = what;

	return file->place_number == place->st_ino && file->place_device == place->st_dev;
}

/* The memory file whose place is open by this number, whoever's numbers they are; NULL: none. */
static struct memory_file *file_at(long fd)
{
	struct stat place;

	if (gate2(__NR_fstat, fd, &place) < 0 || !S_ISREG(place.st_mode) || place.st_nlink || place.st_size)
		return NULL;
	for (struct memory_file *each = thread_self()->memory_files; each; each = each->next)
		if (is_placed_at(each, &place))
			return each;
	return descriptor_find(&memory_file_ops, is_placed_at, &place);
}

/* Whether one of the process's numbers stays open, and as what. */
static void keep_one(struct ctl_kept *kept, struct memory_file **files, uint32_t *count, long fd)
{
	struct memory_file *file;
	uint32_t same = 0;

	if (*count == CTL_KEPT_MAX || gate2(__NR_fcntl, fd, F_GETFD) & FD_CLOEXEC || !(file = file_at(fd)))
		return;
	files[*count] = file;
	while (files[same] != file)
		same++;
	kept[*count] = (struct ctl_kept){ .fd = (int32_t)fd, .flags = file->flags, .offset = file->offset,
					  .number = file->facts.number, .same_as = same };
	++*count;
}

/* The number at the start of a directory's entry; -1: it is none. */
static long number_of(const char *name)
{
	long number = 0;

	if (*name < '0' || *name > '9')
		return -1;
	for (; *name >= '0' && *name <= '9' && number < NUMBERS_MAX; name++)
		number = number * 10 + (*name - '0');
	return number;
}

static uint32_t keep_listed(struct ctl_kept *kept)
{
	static const char listing[] = "/proc/thread-self/fd";
	struct memory_file *files[CTL_KEPT_MAX];
	uint8_t entries[2048];
	uint32_t count = 0;
	long size, directory = gate4(__NR_openat, AT_FDCWD, listing, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	while (directory >= 0 && (size = gate3(__NR_getdents64, directory, entries, sizeof entries)) > 0 &&
	       size <= (long)sizeof entries)
		for (long at = 0; at + NAME_AT < size;) {
			uint16_t entry_size;
			long fd = number_of((const char *)entries + at + NAME_AT);

			memcpy(&entry_size, entries + at + NAME_AT - 3, sizeof entry_size);
			if (fd >= 0)
				keep_one(kept, files, &count, fd);
			if (entry_size <= NAME_AT)
				break;
			at += entry_size;
		}
	if (directory >= 0)
		gate1(__NR_close, directory);
	return count;
}

void memory_files_keep(void)
{
	struct { struct ctl_keep head; struct ctl_kept kept[CTL_KEPT_MAX]; } *message;

	if (!enclave.has_shields && !thread_self()->memory_files)
		return;
	message = pages_map(sizeof *message);
	if (!message)
		return;
	message->head.count = keep_listed(message->kept);
	if (message->head.count)
		control_keep(&message->head, sizeof message->head + message->head.count * sizeof *message->kept);
	gate2(__NR_munmap, message, sizeof *message);
}

void memory_files_drop(struct thread *child)
{
	struct memory_file *next;

	for (struct memory_file *file = child->memory_files; file; file = next) {
		next = file->next;
		release(file);
	}
	child->memory_files = NULL;
}
