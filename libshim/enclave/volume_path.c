/*
 * volume_path.c - where a path of the program leads: into a volume, or not.
 *
 * Owns: following links from outside into a volume, and out of one. Must never:
 * let a path that leads into a volume reach the host, or one that leads to a container. Called by: volume_serve.c.
 *
 *   relative to a directory of a volume ──────────────────────────────► names_walk ─┬─► inside
 *   absolute, or relative to one outside ─► no link in it: by its text ─► names_walk │
 *        ▲                                └ links: one by one ────────► names_walk  │
 *        └────────────────── a link inside, or "..", leads out ──────────────────────┘
 */
#include "volume_inner.h"

enum { PATH_SIZE = CTL_PATH_MAX, LINKS_MAX = 40, LEADS_MAX = 8, DIGITS_MAX = 10 };

/* ---- text ---- */

/* Takes "//", "/." and, by text, "/.." out of an absolute path. Whether a "/" stood at its end. */
static bool path_normal(char *path)
{
	size_t to = 0;
	bool has_slash = false;

	for (size_t from = 0; path[from];) {
		size_t part = 0;

		while (path[from] == '/')
			from++;
		while (path[from + part] && path[from + part] != '/')
			part++;
		has_slash = !part || (part == 1 && path[from] == '.') || (part == 2 && path[from] == '.' && path[from + 1] == '.');
		if (part == 2 && has_slash) {
			while (to && path[--to] != '/')
				;
		} else if (part && !has_slash) {
			path[to++] = '/';
			for (size_t i = 0; i < part; i++)
				path[to++] = path[from + i];
		}
		from += part;
		has_slash = has_slash || path[from] == '/';
	}
	path[to] = 0;
	if (!to) {
		path[0] = '/';
		path[1] = 0;
	}
	return has_slash;
}

static bool has_dots(const char *path)
{
	for (; *path; path++)
		if (path[0] == '/' && path[1] == '.' && path[2] == '.' && (path[3] == '/' || !path[3]))
			return true;
	return false;
}

/* ---- paths outside, link by link ---- */

struct walk {
	char done[PATH_SIZE];		/* absolute, no link in it */
	char rest[PATH_SIZE];		/* to be walked */
	size_t done_size;
	uint32_t links;
	bool follows, wants_descriptor;
};

/* Is what was walked /proc/<this process>/fd/N, or its like? Then N, else -1. */
static int descriptor_named(const char *path)
{
	uint64_t numbers[2] = { 0, 0 };
	const char *at = path + 6;
	uint32_t digits = 0;

	if (!string_starts(path, "/proc/"))
		return -1;
	for (; *at >= '0' && *at <= '9' && digits < DIGITS_MAX; at++, digits++)
		numbers[0] = numbers[0] * 10 + (uint64_t)(*at - '0');
	if (numbers[0] != process_number() && numbers[0] != thread_number())
		return -1;
	if (string_starts(at, "/task/"))
		for (at += 6; *at >= '0' && *at <= '9';)
			at++;
	if (!string_starts(at, "/fd/"))
		return -1;
	for (at += 4, digits = 0; *at >= '0' && *at <= '9' && digits < DIGITS_MAX; at++, digits++)
		numbers[1] = numbers[1] * 10 + (uint64_t)(*at - '0');
	return digits && !*at && numbers[1] <= INT32_MAX ? (int)numbers[1] : -1;
}

/* Puts `target` before what is left. False: too long. */
static bool rest_prepend(struct walk *walk, const char *target, size_t size)
{
	size_t rest_size = string_size(walk->rest);

	if (size + rest_size + 2 > PATH_SIZE)
		return false;
	for (size_t i = rest_size + 1; i-- > 0;)
		walk->rest[size + 1 + i] = walk->rest[i];
	memcpy(walk->rest, target, size);
	walk->rest[size] = '/';
	if (!rest_size)
		walk->rest[size] = 0;
	return true;
}

/* Is it /proc/<this process>/cwd? */
static bool is_current_named(const char *path)
{
	char own[32];
	struct text text = { own, 0, sizeof own };

	text_add(&text, "/proc/");
	text_add_number(&text, process_number());
	text_add(&text, "/cwd");
	return string_equal(path, own);
}

/* The same by what a volume has for it. False: it is not in a volume. */
static bool current_follow(struct walk *walk)
{
	char path[PATH_SIZE];
	long size = volumes_directory(AT_FDCWD, path, sizeof path);

	if (size <= 0 || !rest_prepend(walk, path, (size_t)size))
		return false;
	walk->done[walk->done_size = 0] = 0;
	return true;
}

static void done_pop(struct walk *walk)
{
	while (walk->done_size && walk->done[--walk->done_size] != '/')
		;
	walk->done[walk->done_size] = 0;
}

/* Moves the next name from rest to done; its size, 0: none is left. */
static size_t next_name(struct walk *walk)
{
	size_t from = 0, size = 0;

	while (walk->rest[from] == '/')
		from++;
	while (walk->rest[from + size] && walk->rest[from + size] != '/')
		size++;
	if (walk->done_size + size + 2 > PATH_SIZE)
		return 0;
	if (size == 2 && walk->rest[from] == '.' && walk->rest[from + 1] == '.') {
		done_pop(walk);
	} else if (size && !(size == 1 && walk->rest[from] == '.')) {
		walk->done[walk->done_size++] = '/';
		memcpy(walk->done + walk->done_size, walk->rest + from, size);
		walk->done_size += size;
		walk->done[walk->done_size] = 0;
	}
	from += size;
	for (size_t i = 0;; i++) {
		walk->rest[i] = walk->rest[from + i];
		if (!walk->rest[i])
			break;
	}
	return size;
}

/* What the last name of done is: 1: a link, which is followed; 0: none; -1: nothing more can be told, the kernel knows. */
static int link_follow(struct walk *walk)
{
	char target[PATH_SIZE];
	long size;

	if (!walk->rest[0] && !walk->follows)
		return 0;
	size = gate3(__NR_readlink, walk->done[0] ? walk->done : "/", target, sizeof target - 1);
	if (size == -EINVAL)
		return 0;
	if (size <= 0 || size >= (long)sizeof target || ++walk->links > LINKS_MAX)
		return -1;
	target[size] = 0;
	if (target[0] != '/' && string_starts(walk->done, "/proc/") && (descriptor_named(walk->done) >= 0 || !walk->rest[0]) &&
	    !string_starts(walk->done, "/proc/self") && !string_starts(walk->done, "/proc/thread-self"))
		return -1;		/* a pipe, a socket */
	done_pop(walk);
	if (target[0] == '/')
		walk->done[walk->done_size = 0] = 0;
	return rest_prepend(walk, target, (size_t)size) ? 1 : -1;
}

/*
 * Walks as the kernel would until a volume begins, then *rest is what is left and the mount is given. NULL: it doesn't lead into
 * one; *descriptor >= 0: it names that descriptor.
 */
static struct mount *links_walk(struct walk *walk, const char **rest, int *descriptor)
{
	struct mount *mount;

	*descriptor = NO_DESCRIPTOR;
	while (walk->rest[0] && next_name(walk)) {
		mount = mount_of(walk->done[0] ? walk->done : "/", rest);
		if (mount && !**rest) {
			*rest = walk->rest;
			return mount;
		}
		*descriptor = descriptor_named(walk->done);
		if (*descriptor >= 0 && !walk->rest[0] && (walk->follows || walk->wants_descriptor))
			return NULL;
		if (walk->wants_descriptor && !walk->rest[0] && is_current_named(walk->done)) {
			*descriptor = AT_FDCWD;
			return NULL;
		}
		*descriptor = NO_DESCRIPTOR;
		if (is_current_named(walk->done) && (walk->rest[0] || walk->follows) && current_follow(walk))
			continue;
		if (link_follow(walk) < 0)
			return NULL;
	}
	return NULL;
}

/* ---- the whole way ---- */

/* A volume's place and "..": no link stands in it, so its parent is that by its text. */
static void parent_fold(const struct mount *mount, char *path)
{
	uint32_t parent = mount->place_size, from = mount->place_size + 3;
	size_t to;

	if (!string_starts(path, mount->place) || !string_starts(path + mount->place_size, "/..") ||
	    (path[from] && path[from] != '/'))
		return;
	while (parent && path[--parent] != '/')
		;
	to = parent;
	if (!path[from])
		path[to++] = '/';
	for (; path[from]; from++)
		path[to++] = path[from];
	path[to] = 0;
}

static long walk_inside(struct spot *spot, struct mount *mount, struct vol_inode *start, const char *path, uint32_t flags)
{
	TRY(names_walk(&mount->volume, start, path, mount->place, flags & WALK_FOLLOW, who_asks(), &spot->where));
	spot->mount = spot->where.directory || spot->where.inode ? mount : NULL;
	spot->is_moved = !spot->mount;
	if (spot->is_moved)
		parent_fold(mount, spot->where.path);
	return 0;
}

/* The directory of a volume that a path begins at: its user is the caller's. NULL: it begins outside. */
static struct vol_inode *start_take(int directory, struct mount **mount)
{
	struct use use;
	struct vol_inode *inode;

	if (directory == AT_FDCWD)
		return current_take(mount);
	if (!use_begin(&use, directory))
		return NULL;
	*mount = use.open->mount;
	inode = use.open->inode;
	inode_share(inode);
	use_end(&use);
	return inode;
}

static long start_itself(struct spot *spot, int directory)
{
	spot->where.inode = start_take(directory, &spot->mount);
	spot->where.directory = NULL;
	spot->where.name = "";
	spot->where.name_size = spot->where.must_be_directory = 0;
	if (!spot->where.inode)
		spot->mount = NULL;
	return 0;
}

/* A descriptor of a volume, by its name in /proc. */
static long descriptor_spot(struct spot *spot, int fd)
{
	spot->descriptor = fd;
	return start_itself(spot, fd);
}

static __attribute__((noinline)) long walk_links(struct spot *spot, const char *path, uint32_t flags)
{
	struct walk walk;
	struct mount *mount;
	const char *rest;
	int descriptor;

	walk.done_size = walk.links = 0;
	walk.follows = flags & WALK_FOLLOW;
	walk.wants_descriptor = flags & SPOT_DESCRIPTOR;
	walk.done[0] = 0;
	TRY(copy_string(walk.rest, path, sizeof walk.rest));
	mount = links_walk(&walk, &rest, &descriptor);
	if (mount) {
		char inner[PATH_SIZE];

		inner[0] = '/';
		TRY(copy_string(inner + 1, rest, sizeof inner - 1));
		return walk_inside(spot, mount, mount->root, inner, flags);
	}
	if (descriptor != NO_DESCRIPTOR)
		return descriptor_spot(spot, descriptor);
	return mount_is_behind(walk.done) ? -EACCES : 0;
}

static long walk_outside(struct spot *spot, const char *path, uint32_t flags)
{
	char normal[PATH_SIZE];
	const char *rest;
	struct mount *mount;
	bool has_slash;

	TRY(copy_string(normal, path, sizeof normal));
	has_slash = path_normal(normal);
	mount = mount_of(normal, &rest);
	if (has_dots(path) || string_starts(normal, "/proc/"))
		return walk_links(spot, path, flags);
	if (mount) {		/* no link stands in a volume's place */
		struct text text = { normal, string_size(normal), sizeof normal };

		if (has_slash)
			text_add(&text, "/");
		return walk_inside(spot, mount, mount->root, rest[0] ? rest : "/", flags);
	}
	if (!is_free_of_links(normal, flags & WALK_FOLLOW))
		return walk_links(spot, path, flags);
	return mount_is_behind(normal) ? -EACCES : 0;
}

/* As long as links lead out of one volume, and perhaps into another. */
static long walk_on(struct spot *spot, uint32_t flags)
{
	char path[PATH_SIZE];

	for (int leads = 0; leads < LEADS_MAX; leads++) {
		TRY(copy_string(path, spot->where.path, sizeof path));
		spot->is_moved = false;
		TRY(walk_outside(spot, path, flags));
		if (spot->mount)
			return 0;
		if (!spot->is_moved) {
			spot->is_moved = true;
			return copy_string(spot->where.path, path, sizeof spot->where.path) < 0 ? -ENAMETOOLONG : 0;
		}
	}
	return -ELOOP;
}

/* The directory outside that a relative path begins at: its size with a "/", or -errno. */
static long outside_start(int directory, char *path)
{
	char link[64];
	struct text text = { link, 0, sizeof link };
	long size;

	if (directory == AT_FDCWD) {
		size = gate2(__NR_getcwd, path, PATH_SIZE) - 1;
	} else {
		text_add(&text, "/proc/thread-self/fd/");
		text_add_number(&text, directory);
		size = gate3(__NR_readlink, link, path, PATH_SIZE - 1);
	}
	if (size <= 0 || size > PATH_SIZE - 2 || path[0] != '/')
		return -ENOENT;
	path[size++] = '/';
	return size;
}

static __attribute__((noinline)) long spot_outside(struct spot *spot, int directory, const char *text, uint32_t flags)
{
	char path[PATH_SIZE];
	long start = 0;

	if (text[0] != '/') {
		start = outside_start(directory, path);
		if (start < 0)
			return 0;		/* the kernel's error */
	}
	if (copy_string(path + start, text, (size_t)(PATH_SIZE - start)) < 0)
		return -ENAMETOOLONG;
	TRY(walk_outside(spot, path, flags));
	return spot->is_moved ? walk_on(spot, flags) : 0;
}

long spot_find(struct spot *spot, int directory, uint64_t path, uint32_t flags)
{
	char text[PATH_SIZE];
	struct vol_inode *start;
	struct mount *mount;
	long size, result;

	spot->mount = NULL;
	spot->is_moved = false;
	spot->descriptor = NO_DESCRIPTOR;
	spot->where.inode = spot->where.directory = NULL;
	if (!path && flags & SPOT_EMPTY)
		return start_itself(spot, directory);
	if (!path)
		return 0;
	size = copy_string(text, (const char *)path, sizeof text);
	TRY(size);
	if (!size)
		return flags & SPOT_EMPTY ? start_itself(spot, directory) : -ENOENT;
	flags &= ~(uint32_t)SPOT_EMPTY;
	start = text[0] == '/' ? NULL : start_take(directory, &mount);
	if (!start)
		return spot_outside(spot, directory, text, flags);
	result = is_directory(start) ? walk_inside(spot, mount, start, text, flags) : -ENOTDIR;
	inode_put(&mount->volume, start);
	if (result == 0 && spot->is_moved)
		result = walk_on(spot, flags);
	return result;
}

void spot_end(struct spot *spot)
{
	if (spot->mount)
		names_release(&spot->mount->volume, &spot->where);
	spot->mount = NULL;
}
