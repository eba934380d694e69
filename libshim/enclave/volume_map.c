/*
 * volume_map.c - mappings of a volume's files.
 *
 * Owns: what is mapped where. A shared mapping is made of windows of the arena, so it is the cache itself; a private one is a
 * copy. Behind the file's end an empty file of the kernel's is mapped, so that touching it is a SIGBUS; when the file has grown
 * meanwhile, windows take its place, and the program goes on. Must never: let a call on such a mapping reach more of the arena
 * than the file. Called by: volume_file.c, volume_serve.c, volume_data.c, signal.c.
 */
#include <linux/memfd.h>
#include <linux/mman.h>
#include "volume_inner.h"

enum { WINDOW = VOLUME_FAN * VOLUME_BLOCK, MAPS_MAX = 4096, SYNC_NOW = 4, FAULT_ADDRESS_AT = 16, SIGBUS_ = 7 };

/* A shared mapping. */
struct map {
	uint64_t start, end;		/* end 0: none */
	uint64_t at;			/* of the file, at start */
	uint64_t placed;		/* up to this address there are windows */
	uint32_t protection;
	struct mount *mount;
	struct vol_inode *inode;
	bool may_write;			/* the file was open for it */
};

static struct { struct mutex lock; uint32_t count; struct map map[MAPS_MAX]; } *maps;

static uint64_t pages(uint64_t size)
{
	return (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

/* ---- what is mapped ---- */

static bool maps_make(void)
{
	if (!maps)
		maps = pages_map(sizeof *maps);
	return maps;
}

static enum hold_kind kind_of(const struct map *map)
{
	return map->may_write ? HOLD_MAP_WRITING : HOLD_MAP;
}

static void map_drop(struct map *map)
{
	hold_release(map->mount, kind_of(map), map->inode);
	*map = (struct map){ 0 };
}

/* A record like the other, for another part of it. Under the lock. */
static long map_add(const struct map *like, uint64_t start, uint64_t end)
{
	uint32_t i = 0;

	while (i < MAPS_MAX && maps->map[i].end)
		i++;
	if (i == MAPS_MAX)
		return -ENOMEM;
	TRY(hold_map(like->mount, kind_of(like), like->inode));
	maps->map[i] = *like;
	maps->map[i].at = like->at + (start - like->start);
	maps->map[i].start = start;
	maps->map[i].end = end;
	if (maps->map[i].placed < start)
		maps->map[i].placed = start;
	if (maps->count <= i)
		maps->count = i + 1;
	return 0;
}

/* Nothing of a volume is mapped there any more. Under the lock. */
static void maps_forget(uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < maps->count; i++) {
		struct map *map = &maps->map[i];
		struct map old = *map;

		if (!map->end || map->end <= start || map->start >= end)
			continue;
		if (old.end > end && map_add(&old, end, old.end) < 0)
			die("too many pieces of a volume's file are mapped");
		if (old.start < start)
			map->end = start;
		else
			map_drop(map);
	}
	while (maps->count && !maps->map[maps->count - 1].end)
		maps->count--;
}

/* The first mapping that has a part of that. */
static struct map *map_in(uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; maps && i < maps->count; i++)
		if (maps->map[i].end > start && maps->map[i].start < end)
			return &maps->map[i];
	return NULL;
}

/* ---- mapping ---- */

/* How much of `size` bytes from `at` on are pages of the file. */
static uint64_t inside_size(const struct vol_inode *inode, uint64_t at, uint64_t size)
{
	uint64_t end = pages(__atomic_load_n(&inode->record.size, __ATOMIC_RELAXED)), left = end > at ? end - at : 0;

	return left < size ? left : size;
}

/* Pages behind the file's end. */
static long tail_place(uint64_t address, uint64_t size, uint64_t protection)
{
	long fd, result;

	if (!size)
		return 0;
	fd = gate2(__NR_memfd_create, "scone-end", MFD_CLOEXEC);
	TRY(fd);
	result = gate6(__NR_mmap, (long)address, (long)size, (long)protection, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, 0);
	gate1(__NR_close, fd);
	return result < 0 ? result : 0;
}

/* Memory where the program wants it, to be filled. */
static long room_take(const uint64_t *arg)
{
	long flags = (long)((arg[3] & ~(uint64_t)MAP_TYPE & ~(uint64_t)MAP_LOCKED) | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

	return gate6(__NR_mmap, (long)arg[0], (long)arg[1], PROT_READ | PROT_WRITE, flags, -1, 0);
}

static long map_private(struct open_file *open, const uint64_t *arg)
{
	uint64_t size = pages(arg[1]), left = inside_size(open->inode, arg[5], size), done = 0;
	long address = room_take(arg), result = 0;

	TRY(address);
	while (done < left && (result = inode_read(volume_of(open), open->inode, (uint8_t *)address + done, left - done,
						   arg[5] + done)) > 0)
		done += (uint64_t)result;
	if (result >= 0 && arg[2] != (PROT_READ | PROT_WRITE))
		result = gate3(__NR_mprotect, address, size, arg[2]);
	if (result >= 0)
		result = tail_place((uint64_t)address + left, size - left, arg[2]);
	if (result < 0)
		gate2(__NR_munmap, address, size);
	return result < 0 ? result : address;
}

/* Puts windows of the arena there. */
static long windows_place(struct volume *volume, struct vol_inode *inode, uint64_t address, uint64_t size, uint64_t at)
{
	for (uint64_t done = 0; done < size;) {
		uint64_t in_window = (at + done) % WINDOW, piece = WINDOW - in_window;
		void *window;
		long result;

		if (piece > size - done)
			piece = size - done;
		TRY(inode_window(volume, inode, (at + done) / WINDOW, &window));
		result = gate5(__NR_mremap, (uint8_t *)window + in_window, 0, piece, MREMAP_MAYMOVE | MREMAP_FIXED, address + done);
		if (result < 0)
			return result;
		done += piece;
	}
	return 0;
}

/* Windows for what the file has grown by. Under the lock. */
static long map_extend(struct map *map)
{
	uint64_t size = inside_size(map->inode, map->at, map->end - map->start), placed = map->placed - map->start;

	if (size <= placed)
		return 0;
	TRY(windows_place(&map->mount->volume, map->inode, map->start + placed, size - placed, map->at + placed));
	TRY(gate3(__NR_mprotect, map->start + placed, size - placed, map->protection));
	map->placed = map->start + size;
	return 1;
}

/* Under the lock. `like` says all but where. */
static long map_at(const struct map *like, const uint64_t *arg)
{
	uint64_t size = pages(arg[1]);
	struct map map = *like;
	long address = room_take(arg), result;

	TRY(address);
	maps_forget((uint64_t)address, (uint64_t)address + size);
	map.start = map.placed = (uint64_t)address;
	map.protection = (uint32_t)arg[2];
	result = tail_place(map.start, size, arg[2]);
	if (result == 0)
		result = map_add(&map, map.start, map.start + size);
	if (result == 0) {
		result = map_extend(map_in(map.start, map.start + size));
		if (result < 0)
			maps_forget(map.start, map.start + size);
	}
	if (result < 0)
		gate2(__NR_munmap, address, size);
	return result < 0 ? result : address;
}

static long map_shared(struct open_file *open, const uint64_t *arg)
{
	struct map like = { .at = arg[5], .mount = open->mount, .inode = open->inode,
			    .may_write = (open->file->flags & O_ACCMODE) == O_RDWR && !open->mount->is_readonly };
	long result;

	if (arg[2] & PROT_WRITE && !like.may_write)
		return -EACCES;
	open_files_lock();
	result = maps_make() ? map_at(&like, arg) : -ENOMEM;
	open_files_unlock();
	return result;
}

long file_map(struct open_file *open, struct frame *frame)
{
	const uint64_t *arg = frame->arg;

	if (arg[5] % PAGE_SIZE || !arg[1] || !(arg[3] & MAP_TYPE) || (arg[3] & MAP_TYPE) > MAP_SHARED_VALIDATE)
		return -EINVAL;
	if ((open->file->flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if (open->file->flags & O_PATH)
		return -EBADF;
	if (is_directory(open->inode))
		return (arg[3] & MAP_TYPE) != MAP_PRIVATE && arg[2] & PROT_WRITE ? -EACCES : -ENODEV;
	if ((arg[3] & MAP_TYPE) != MAP_PRIVATE)
		return map_shared(open, arg);
	if (arg[3] & MAP_FIXED && maps) {
		open_files_lock();
		maps_forget(arg[0], arg[0] + pages(arg[1]));
		open_files_unlock();
	}
	return map_private(open, arg);
}

/* ---- calls on mappings ---- */

bool maps_meet(uint32_t nr)
{
	switch (nr) {
	case __NR_mmap:
	case __NR_munmap:
	case __NR_mremap:
	case __NR_mprotect:
	case __NR_pkey_mprotect:
	case __NR_msync:
	case __NR_madvise:
	case __NR_remap_file_pages:
		return true;
	default:
		return false;
	}
}

/* To a new size: as another mapping of the same file, for behind it in the arena lies what is not the file's. */
static long map_resize(const struct map *map, struct frame *frame)
{
	uint64_t old = frame->arg[0], old_size = pages(frame->arg[1]), size = pages(frame->arg[2]);
	bool is_fixed = frame->arg[3] & MREMAP_FIXED, may_move = frame->arg[3] & MREMAP_MAYMOVE;
	struct map like = *map;
	const uint64_t arg[6] = { is_fixed ? frame->arg[4] : 0, size, map->protection,
				  MAP_SHARED | (is_fixed ? (uint64_t)MAP_FIXED : 0), (uint64_t)-1, 0 };
	long address;

	if (!size || old % PAGE_SIZE)
		return -EINVAL;
	if (old < map->start || (old_size && old + old_size > map->end))
		return -EFAULT;
	if (old_size && size <= old_size && !is_fixed) {
		if (size < old_size) {
			maps_forget(old + size, old + old_size);
			TRY(gate2(__NR_munmap, old + size, old_size - size));
		}
		return (long)old;
	}
	if (!may_move)
		return -ENOMEM;
	like.at = map->at + (old - map->start);
	address = map_at(&like, arg);
	if (address < 0 || !old_size)
		return address;
	maps_forget(old, old + old_size);
	gate2(__NR_munmap, old, old_size);
	return address;
}

static long map_sync(uint64_t start, uint64_t end, uint32_t flags)
{
	struct mount *dirty = NULL;

	for (uint32_t i = 0; i < maps->count; i++) {
		struct map *map = &maps->map[i];

		if (map->end <= start || map->start >= end || !map->may_write)
			continue;
		dirty = map->mount;
	}
	return dirty && flags & SYNC_NOW ? volume_commit(&dirty->volume) : 0;
}

static bool is_readonly_in(uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < maps->count; i++)
		if (maps->map[i].end > start && maps->map[i].start < end && !maps->map[i].may_write)
			return true;
	return false;
}

/* What windows that are placed later shall have. */
static void protection_note(uint64_t start, uint64_t end, uint32_t protection)
{
	for (uint32_t i = 0; i < maps->count; i++) {
		struct map *map = &maps->map[i];

		if (map->end > start && map->placed < end && map->end <= end)
			map->protection = protection;
	}
}

void maps_grow(const struct vol_inode *inode)
{
	open_files_lock();
	for (uint32_t i = 0; maps && i < maps->count; i++)
		if (maps->map[i].end && maps->map[i].inode == inode && map_extend(&maps->map[i]) < 0)
			break;			/* touching it tries again */
	open_files_unlock();
}

bool volumes_fault(int signal, const uint8_t *info)
{
	uint64_t address;
	struct map *map;
	bool is_there;

	if (signal != SIGBUS_ || !maps)
		return false;
	memcpy(&address, info + FAULT_ADDRESS_AT, sizeof address);
	open_files_lock();
	map = map_in(address, address + 1);
	is_there = map && map_extend(map) >= 0 && address < map->placed;
	open_files_unlock();
	if (is_there && thread_self()->fault == address)	/* windows don't help there */
		return false;
	thread_self()->fault = is_there ? address : 0;
	return is_there;
}

/* Under the lock. */
static long serve_mapped(struct frame *frame, uint64_t start, uint64_t end)
{
	const uint64_t *arg = frame->arg;

	switch (frame->nr) {
	case __NR_mremap:
		return map_resize(map_in(start, end), frame);
	case __NR_msync:
		return map_sync(start, end, (uint32_t)arg[2]);
	case __NR_mprotect:
	case __NR_pkey_mprotect:
		if (arg[2] & PROT_WRITE && is_readonly_in(start, end))
			return -EACCES;
		protection_note(start, end, (uint32_t)arg[2]);
		return -SHIELD_PLAIN;
	case __NR_remap_file_pages:
		return -EINVAL;
	case __NR_madvise:
		return arg[2] == MADV_REMOVE ? -EINVAL : arg[2] == MADV_DODUMP || arg[2] == MADV_WIPEONFORK ? 0 : -SHIELD_PLAIN;
	default:
		if (frame->nr == __NR_mmap && !(arg[3] & MAP_FIXED))
			return -SHIELD_PLAIN;
		maps_forget(start, end);
		return -SHIELD_PLAIN;
	}
}

long maps_serve(struct frame *frame)
{
	uint64_t start = frame->arg[0], end = start + pages(frame->arg[1]);
	long result = -SHIELD_PLAIN;

	if (!maps || !__atomic_load_n(&maps->count, __ATOMIC_ACQUIRE) || thread_self()->is_guest)
		return -SHIELD_PLAIN;
	if (frame->nr == __NR_mremap && end == start)
		end = start + PAGE_SIZE;
	open_files_lock();
	if (map_in(start, end))
		result = serve_mapped(frame, start, end);
	open_files_unlock();
	return result;
}
