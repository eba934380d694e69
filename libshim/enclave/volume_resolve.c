/*
 * volume_resolve.c - openat2(2)'s rules of how a path may be resolved, for one that leads into a volume.
 *
 * Owns: refusing what they forbid. Must never: let a path pass that the kernel would refuse; links that stay beneath are refused,
 * too, where the kernel would follow them. Called by: volume_serve.c.
 */
#include <linux/openat2.h>
#include "volume_inner.h"

#define RESOLVE_KNOWN (RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | \
		       RESOLVE_CACHED)

/* Where the next name of a path begins, and its size; 0: there is none. */
static size_t name_next(const char *path, size_t *at)
{
	size_t size = 0;

	while (path[*at] == '/')
		++*at;
	while (path[*at + size] && path[*at + size] != '/')
		size++;
	return size;
}

/* The first `size` bytes of the path: do they name a link? */
static long is_link_at(int directory, char *path, size_t size)
{
	char after = path[size];
	struct spot spot;
	long result;

	path[size] = 0;
	result = spot_find(&spot, directory, (uint64_t)path, 0);
	path[size] = after;
	if (result == 0 && spot.mount)
		result = spot.where.inode && is_link(spot.where.inode);
	spot_end(&spot);
	return result == -ENOENT ? 0 : result;
}

static long names_check(struct mount *mount, int directory, char *path, const struct open_how *how)
{
	size_t at = 0, size;
	int64_t depth = 0;

	while ((size = name_next(path, &at)) != 0) {
		bool is_up = size == 2 && path[at] == '.' && path[at + 1] == '.';
		long found;

		depth += is_up ? -1 : !(size == 1 && path[at] == '.');
		if (depth < 0 && how->resolve & RESOLVE_BENEATH)
			return -EXDEV;
		if (depth < 0 && how->resolve & RESOLVE_IN_ROOT)
			return volume_refuse(mount, __NR_openat2, "RESOLVE_IN_ROOT has no root in a volume", -ENOSYS);
		at += size;
		found = is_link_at(directory, path, at);
		TRY(found);
		if (found && !(how->flags & O_NOFOLLOW && !name_next(path, &at)))
			return how->resolve & RESOLVE_NO_SYMLINKS ? -ELOOP :
			       volume_refuse(mount, __NR_openat2, "links aren't resolved beneath a directory", -ENOSYS);
	}
	return 0;
}

long resolve_check(const struct frame *frame, struct mount *mount)
{
	char path[CTL_PATH_MAX];
	struct open_how how;

	if (frame->arg[3] < sizeof how)
		return -EINVAL;
	TRY(copy_guarded(&how, (const void *)frame->arg[2], sizeof how));
	if (how.resolve & ~(uint64_t)RESOLVE_KNOWN || (how.resolve & RESOLVE_BENEATH && how.resolve & RESOLVE_IN_ROOT) ||
	    (how.mode && !(how.flags & (O_CREAT | O_TMPFILE_))))
		return -EINVAL;
	if (!(how.resolve & (RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT)))
		return 0;
	TRY(copy_string(path, (const char *)frame->arg[1], sizeof path));
	if (path[0] == '/' && how.resolve & RESOLVE_BENEATH)
		return -EXDEV;
	if (path[0] == '/' && how.resolve & RESOLVE_IN_ROOT)
		return volume_refuse(mount, __NR_openat2, "RESOLVE_IN_ROOT has no root in a volume", -ENOSYS);
	return names_check(mount, (int)frame->arg[0], path, &how);
}

/* A path that leads out of the volume that it began in. */
long resolve_check_outside(const struct frame *frame)
{
	struct open_how how;

	if (frame->arg[3] < sizeof how || copy_guarded(&how, (const void *)frame->arg[2], sizeof how) < 0)
		return 0;		/* the kernel's error */
	return how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) ? -EXDEV : 0;
}
