/*
 * volume_holds.c - which process uses what of a volume.
 *
 * Owns: VOL_REGION_SHIM of the arena: a table of holds, each one user of an open file or an inode. Must never: give a user back
 * that a living process counts on. Called by: volume_*.c.
 *
 *   fork, vfork: the parent makes holds under its thread's number, marked; the child, or the parent, makes them the child's
 *   exec:        the image finds those of its process, and gives back what it has no descriptor of
 *   killed:      who finds a hold of a dead process gives it back
 */
#include "volume_inner.h"

enum { HOLDS_MAX = 1 << 20, KIND_MASK = 255, IS_PENDING = 1 << 8, SERIAL_AT = 9, SERIAL_MASK = (1 << 20) - 1,
       CLONES_A_REAP = 64 };

struct hold {
	uint32_t process;	/* IS_PENDING: the thread that clones */
	uint32_t kind;		/* enum hold_kind; IS_PENDING and a serial number: the process does not exist yet */
	uint64_t at;		/* of the object, from the arena's start */
	uint64_t stamp;		/* counts up: what was made before a process was, is not its own but of one with the same number */
};

struct holds {
	struct vol_lock lock;
	uint32_t high;		/* none is used from here on */
	uint32_t low;		/* all are used below */
	uint32_t changes;	/* of names outside (volume_links.c) */
	uint64_t stamp;		/* the last one given; that of mounts[0] counts for all */
	struct hold hold[HOLDS_MAX];
};
_Static_assert(sizeof(struct holds) <= VOL_REGION_SIZE, "the region");

static struct holds *holds_of(struct mount *mount)
{
	return volume_region(&mount->volume, VOL_REGION_SHIM);
}

uint32_t names_changes(void)
{
	return __atomic_load_n(&holds_of(&mounts[0])->changes, __ATOMIC_ACQUIRE);
}

void names_changed(void)
{
	__atomic_fetch_add(&holds_of(&mounts[0])->changes, 1, __ATOMIC_ACQ_REL);
}

static uint64_t stamp_next(void)
{
	return __atomic_add_fetch(&holds_of(&mounts[0])->stamp, 1, __ATOMIC_ACQ_REL);
}

static long hold_put(struct mount *mount, uint32_t process, uint32_t kind, uint64_t at)
{
	struct holds *holds = holds_of(mount);
	uint32_t i;

	vol_lock(&mount->volume, &holds->lock);
	i = holds->low < HOLDS_MAX ? holds->low : 0;
	while (i < HOLDS_MAX && holds->hold[i].kind)
		i++;
	if (i < HOLDS_MAX) {
		holds->hold[i] = (struct hold){ .process = process, .at = at, .stamp = stamp_next() };
		__atomic_store_n(&holds->hold[i].kind, kind, __ATOMIC_RELEASE);	/* the last word: before, there is none */
		holds->low = i + 1;
		if (holds->high <= i)
			holds->high = i + 1;
	}
	vol_unlock(&mount->volume, &holds->lock);
	return i < HOLDS_MAX ? (long)i + 1 : -ENFILE;
}

long hold_new(struct mount *mount, enum hold_kind kind, void *object)
{
	return hold_put(mount, process_number(), kind, (uint64_t)((uint8_t *)object - (uint8_t *)mount->volume.arena));
}

static void hold_clear(struct holds *holds, uint32_t i)
{
	__atomic_store_n(&holds->hold[i].kind, HOLD_FREE, __ATOMIC_RELEASE);
	if (i < holds->low)
		holds->low = i;
	while (holds->high && !holds->hold[holds->high - 1].kind)
		holds->high--;
}

void hold_free(struct mount *mount, uint32_t hold)
{
	struct holds *holds = holds_of(mount);

	vol_lock(&mount->volume, &holds->lock);
	hold_clear(holds, hold - 1);
	vol_unlock(&mount->volume, &holds->lock);
}

void *hold_object(struct mount *mount, uint32_t hold)
{
	return (uint8_t *)mount->volume.arena + holds_of(mount)->hold[hold - 1].at;
}

uint32_t hold_find(struct mount *mount, enum hold_kind kind, const void *object, uint32_t after)
{
	struct holds *holds = holds_of(mount);
	uint32_t process = process_number(), high = __atomic_load_n(&holds->high, __ATOMIC_ACQUIRE);
	uint64_t at = (uint64_t)((const uint8_t *)object - (const uint8_t *)mount->volume.arena);

	for (uint32_t i = after; i < high && i < HOLDS_MAX; i++)
		if (holds->hold[i].kind == kind && holds->hold[i].process == process && (!object || holds->hold[i].at == at))
			return i + 1;
	return 0;
}

static void map_count(struct vol_inode *inode, bool is_writing, int32_t more)
{
	__atomic_fetch_add(&inode->mapped, (uint32_t)more, __ATOMIC_ACQ_REL);
	if (is_writing)
		__atomic_fetch_add(&inode->mapped_writable, (uint32_t)more, __ATOMIC_ACQ_REL);
}

long hold_map(struct mount *mount, enum hold_kind kind, struct vol_inode *inode)
{
	long hold;

	inode_share(inode);
	map_count(inode, kind == HOLD_MAP_WRITING, 1);
	hold = hold_new(mount, kind, inode);
	if (hold < 0) {
		map_count(inode, kind == HOLD_MAP_WRITING, -1);
		inode_put(&mount->volume, inode);
		return -ENOMEM;
	}
	return 0;
}

/* What a hold was: its user goes, and what goes with it. */
static void object_put(struct mount *mount, const struct hold *hold)
{
	void *object = (uint8_t *)mount->volume.arena + hold->at;
	struct volume *volume = &mount->volume;

	switch (hold->kind & KIND_MASK) {
	case HOLD_FILE:
		lock_drop(volume, file_inode(volume, object), hold->process);
		file_put(volume, object);
		break;
	case HOLD_SENT:
		file_put(volume, object);
		break;
	case HOLD_MAP_WRITING:		/* what it wrote is found while it still counts */
		if (inode_scan(volume, object) < 0)
			volume_host.report(mount, ((struct vol_inode *)object)->ino, 0, 0, "a mapping could not be saved");
		map_count(object, true, -1);
		inode_put(volume, object);
		break;
	case HOLD_MAP:
		map_count(object, false, -1);
		inode_put(volume, object);
		break;
	case HOLD_DIRECTORY:
		inode_put(volume, object);
		break;
	default:
		break;
	}
}

/* Takes the hold out, unless it became another meanwhile; then puts what it was. */
static void hold_drop(struct mount *mount, uint32_t i, const struct hold *seen)
{
	struct holds *holds = holds_of(mount);
	bool is_same;

	vol_lock(&mount->volume, &holds->lock);
	is_same = holds->hold[i].kind == seen->kind && holds->hold[i].process == seen->process && holds->hold[i].stamp == seen->stamp;
	if (is_same)
		hold_clear(holds, i);
	vol_unlock(&mount->volume, &holds->lock);
	if (is_same)
		object_put(mount, seen);
}

static bool is_dead(struct mount *mount, uint32_t process, bool is_thorough)
{
	return is_thorough ? !volume_host.is_alive(mount, process) : gate2(__NR_tkill, process, 0) == -ESRCH;
}

void holds_reap(struct mount *mount, bool is_thorough)
{
	struct holds *holds = holds_of(mount);
	uint32_t alive = process_number(), dead = 0;

	for (uint32_t i = 0; i < HOLDS_MAX && i < __atomic_load_n(&holds->high, __ATOMIC_ACQUIRE); i++) {
		struct hold seen = holds->hold[i];

		if (!seen.kind || seen.process == alive)
			continue;
		if (seen.process != dead && !is_dead(mount, seen.process, is_thorough)) {
			alive = seen.process;
			continue;
		}
		dead = seen.process;
		hold_drop(mount, i, &seen);
	}
}

void hold_release(struct mount *mount, enum hold_kind kind, const void *object)
{
	uint32_t found = hold_find(mount, kind, object, 0);
	struct hold seen;

	if (!found)
		return;
	seen = holds_of(mount)->hold[found - 1];
	hold_drop(mount, found - 1, &seen);
}

void holds_drop_own(struct mount *mount, enum hold_kind kind)
{
	uint32_t found = 0;

	while ((found = hold_find(mount, kind, NULL, found)) != 0) {
		struct hold seen = holds_of(mount)->hold[found - 1];

		hold_drop(mount, found - 1, &seen);
	}
}

void holds_drop_all(struct mount *mount)
{
	for (uint32_t kind = HOLD_FREE + 1; kind < HOLD_KINDS; kind++)
		holds_drop_own(mount, (enum hold_kind)kind);
}

/* ---- around a clone ---- */

static uint32_t clones;

static void hold_copy(struct mount *mount, const struct hold *hold, uint32_t mark)
{
	void *object = (uint8_t *)mount->volume.arena + hold->at;

	if (hold->kind == HOLD_FILE)
		file_share(object);
	else
		inode_share(object);
	if (hold->kind == HOLD_MAP || hold->kind == HOLD_MAP_WRITING)
		map_count(object, hold->kind == HOLD_MAP_WRITING, 1);
	if (hold_put(mount, thread_number(), hold->kind | mark, hold->at) < 0)
		die("a volume can't count more open files");
}

static uint32_t mark_of(uint64_t serial)
{
	return IS_PENDING | (uint32_t)(serial & SERIAL_MASK) << SERIAL_AT;
}

uint64_t volumes_clone_begin(bool has_own_memory)
{
	uint64_t serial = stamp_next();
	const uint32_t copied = 1u << HOLD_FILE | 1u << HOLD_DIRECTORY |
				(has_own_memory ? 1u << HOLD_MAP | 1u << HOLD_MAP_WRITING : 0);

	open_files_lock();
	for (uint32_t m = 0; m < mount_count; m++) {
		struct holds *holds = holds_of(&mounts[m]);
		uint32_t high = holds->high, process = process_number();

		for (uint32_t i = 0; i < high && i < HOLDS_MAX; i++) {
			struct hold seen = holds->hold[i];

			if (seen.process == process && seen.kind < HOLD_KINDS && copied & 1u << seen.kind)
				hold_copy(&mounts[m], &seen, mark_of(serial));
		}
	}
	if (!has_own_memory)		/* this thread waits for its child: others may go on */
		open_files_unlock();
	return serial;
}

/* A dead process had the number of the child, which did not exist before that stamp. */
static void stale_drop(struct mount *mount, uint64_t stamp, uint32_t child)
{
	struct holds *holds = holds_of(mount);

	for (uint32_t i = 0; i < HOLDS_MAX && i < __atomic_load_n(&holds->high, __ATOMIC_ACQUIRE); i++) {
		struct hold seen = holds->hold[i];

		if (seen.kind && seen.kind < HOLD_KINDS && seen.process == child && seen.stamp < stamp)
			hold_drop(mount, i, &seen);
	}
}

/* What thread `parent` made for its child is that process's. */
static void pending_give(struct mount *mount, uint32_t parent, uint64_t serial, uint32_t child)
{
	struct holds *holds = holds_of(mount);

	stale_drop(mount, serial, child);
	vol_lock(&mount->volume, &holds->lock);
	for (uint32_t i = 0; i < holds->high && i < HOLDS_MAX; i++)
		if ((holds->hold[i].kind & ~(uint32_t)KIND_MASK) == mark_of(serial) && holds->hold[i].process == parent) {
			holds->hold[i].process = child;
			__atomic_store_n(&holds->hold[i].kind, holds->hold[i].kind & KIND_MASK, __ATOMIC_RELEASE);
		}
	vol_unlock(&mount->volume, &holds->lock);
}

static void pending_drop(struct mount *mount, uint64_t serial)
{
	struct holds *holds = holds_of(mount);
	uint32_t own = thread_number();

	for (uint32_t i = 0; i < HOLDS_MAX && i < __atomic_load_n(&holds->high, __ATOMIC_ACQUIRE); i++) {
		struct hold seen = holds->hold[i];

		if ((seen.kind & ~(uint32_t)KIND_MASK) == mark_of(serial) && seen.process == own)
			hold_drop(mount, i, &seen);
	}
}

void volumes_clone_end(uint64_t serial, long child, bool has_own_memory)
{
	if (has_own_memory)
		open_files_unlock();
	for (uint32_t i = 0; i < mount_count; i++)
		if (child > 0)
			pending_give(&mounts[i], thread_number(), serial, (uint32_t)child);
		else
			pending_drop(&mounts[i], serial);
	if (__atomic_add_fetch(&clones, 1, __ATOMIC_RELAXED) % CLONES_A_REAP == 0)
		for (uint32_t i = 0; i < mount_count; i++)
			holds_reap(&mounts[i], false);
}

void volumes_child_begin(uint32_t parent, uint64_t serial, bool has_own_memory)
{
	if (has_own_memory)
		process_changed();
	for (uint32_t i = 0; i < mount_count; i++)
		pending_give(&mounts[i], parent, serial, process_number());
	if (!has_own_memory)
		return;
	links_after_fork();
	open_files_after_fork();
	current_after_fork();
}
