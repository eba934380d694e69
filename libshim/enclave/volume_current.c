/*
 * volume_current.c - the current directory, when it is in a volume.
 *
 * Owns: that it is. The kernel's stays where it was: no relative path reaches the kernel then. Must never: let a vfork child
 * change its parent's. Called by: volume_path.c, volume_names.c, about.c.
 */
#include "volume_inner.h"

/* Of a process that shares no memory with another; a vfork child's is found by its hold. */
static struct {
	struct mutex lock;
	struct mount *mount;
	struct vol_inode *inode;
	uint32_t hold;
} current;

static struct vol_inode *guest_current_take(struct mount **mount)
{
	for (uint32_t i = 0; i < mount_count; i++) {
		uint32_t hold = hold_find(&mounts[i], HOLD_DIRECTORY, NULL, 0);

		if (!hold)
			continue;
		*mount = &mounts[i];
		inode_share(hold_object(&mounts[i], hold));
		return hold_object(&mounts[i], hold);
	}
	return NULL;
}

struct vol_inode *current_take(struct mount **mount)
{
	struct vol_inode *inode;

	if (unlikely(thread_self()->is_guest))
		return guest_current_take(mount);
	if (!__atomic_load_n(&current.inode, __ATOMIC_ACQUIRE))
		return NULL;
	mutex_lock(&current.lock);
	inode = current.inode;
	*mount = current.mount;
	if (inode)
		inode_share(inode);
	mutex_unlock(&current.lock);
	return inode;
}

static void guest_current_clear(void)
{
	for (uint32_t i = 0; i < mount_count; i++)
		holds_drop_own(&mounts[i], HOLD_DIRECTORY);
}

/* Under its lock. */
static void current_drop(void)
{
	struct vol_inode *inode = current.inode;

	__atomic_store_n(&current.inode, NULL, __ATOMIC_RELEASE);
	if (!inode)
		return;
	hold_free(current.mount, current.hold);
	inode_put(&current.mount->volume, inode);
}

void current_clear(void)
{
	if (thread_self()->is_guest) {
		guest_current_clear();
		return;
	}
	mutex_lock(&current.lock);
	current_drop();
	mutex_unlock(&current.lock);
}

long current_set(struct mount *mount, struct vol_inode *inode)
{
	long hold;

	inode_share(inode);
	if (thread_self()->is_guest)
		guest_current_clear();
	hold = hold_new(mount, HOLD_DIRECTORY, inode);
	if (hold < 0) {
		inode_put(&mount->volume, inode);
		return hold;
	}
	if (thread_self()->is_guest)
		return 0;
	mutex_lock(&current.lock);
	current_drop();
	current.mount = mount;
	current.hold = (uint32_t)hold;
	__atomic_store_n(&current.inode, inode, __ATOMIC_RELEASE);
	mutex_unlock(&current.lock);
	return 0;
}

/* After a fork or an exec: the hold is there, under this process's number. */
static bool current_find(const struct vol_inode *inode)
{
	for (uint32_t i = 0; i < mount_count; i++) {
		uint32_t hold = hold_find(&mounts[i], HOLD_DIRECTORY, inode, 0);

		if (!hold)
			continue;
		current.mount = &mounts[i];
		current.hold = hold;
		current.inode = hold_object(&mounts[i], hold);
		return true;
	}
	return false;
}

void current_after_fork(void)
{
	const struct vol_inode *inode = current.inode;

	current.lock = (struct mutex){ 0 };
	current.inode = NULL;
	if (inode && !current_find(inode))
		die("the current directory, in a volume, was lost over a fork");
}

/* The first image may start in a directory that a volume's place covers. */
void current_adopt(void)
{
	struct spot *spot;

	if (current_find(NULL))
		return;
	spot = pages_map(sizeof *spot);
	if (!spot)
		die("no memory for the shim");
	if (spot_find(spot, AT_FDCWD, (uint64_t)".", WALK_FOLLOW) == 0 && spot->mount) {
		if (current_set(spot->mount, spot->where.inode) < 0)
			die("the current directory can't be held");
	}
	spot_end(spot);
	gate2(__NR_munmap, spot, sizeof *spot);
}

long volumes_directory(int directory, char *path, uint64_t size)
{
	struct mount *mount = NULL;
	struct vol_inode *inode;
	struct use use = { 0 };
	long result;

	if (directory == AT_FDCWD) {
		inode = current_take(&mount);
	} else {
		inode = use_begin(&use, directory) ? use.open->inode : NULL;
		mount = inode ? use.open->mount : NULL;
	}
	if (!inode)
		return 0;
	if (mount->place_size >= size)
		return -ENAMETOOLONG;
	memcpy(path, mount->place, mount->place_size);
	result = names_path(&mount->volume, inode, path + mount->place_size, size - mount->place_size);
	if (directory == AT_FDCWD)
		inode_put(&mount->volume, inode);
	else
		use_end(&use);
	if (result < 0)
		return result;
	return result == 1 ? (long)mount->place_size : (long)mount->place_size + result;
}
