/*
 * about.c - what a call is about: the files that its paths name, or the socket addresses that it names.
 *
 * Owns: making relative names absolute, as the kernel would find them. Must never: let a name pass that it can't make
 * out, where the kernel could. Called by: policy.c.
 */
#include <linux/fcntl.h>
#include "about.h"
#include "control.h"
#include "volumes.h"

enum { PATH_SIZE = CTL_PATH_MAX, ADDRESS_MAX = 128, MESSAGES_MAX = 1024, MESSAGE_SIZE = 64 /* struct mmsghdr */,
       AF_UNIX_ = 1, FAMILY_SIZE = 2 };

/* ---- paths ---- */

/* Takes "//" and "/." out of an absolute path; a "/" at the end becomes "/.". False: there is ".." or such an end. */
static bool path_tidy(char *path, uint64_t *size)
{
	size_t to = 0;
	bool is_simple = true;

	for (size_t from = 0; path[from];) {
		size_t part = 0;

		while (path[from] == '/')
			from++;
		while (path[from + part] && path[from + part] != '/')
			part++;
		if (part && !(part == 1 && path[from] == '.' && path[from + 1])) {
			is_simple = is_simple && !(path[from] == '.' && (part == 1 || (part == 2 && path[from + 1] == '.')));
			path[to++] = '/';
			for (size_t i = 0; i < part; i++)
				path[to++] = path[from + i];
		} else if (!part && to) {
			path[to++] = '/';
			path[to++] = '.';
			is_simple = false;
			break;
		}
		from += part;
	}
	if (!to)
		path[to++] = '/';
	path[to] = 0;
	*size = to;
	return is_simple;
}

/* The directory that a relative path starts from; its size or -errno. */
static long start_of(char *path, int directory)
{
	char link[64];
	struct text text = { link, 0, sizeof link };
	long size = enclave.has_volumes ? volumes_directory(directory, path, PATH_SIZE) : 0;

	if (size)
		return size;
	if (directory == AT_FDCWD) {
		size = gate2(__NR_getcwd, path, PATH_SIZE);
		return size > 0 ? size - 1 : size;
	}
	text_add(&text, "/proc/thread-self/fd/");
	text_add_number(&text, directory);
	size = gate3(__NR_readlink, link, path, PATH_SIZE - 1);
	return size == -ENOENT ? -EBADF : size;
}

/* The descriptor that argument i, a path, is relative to. That of a watch is none. */
static int directory_of(const struct frame *frame, const struct call_shape *shape, uint32_t i)
{
	bool has_directory = i && shape->fd_args & 1u << (i - 1) && frame->nr != __NR_inotify_add_watch;

	return has_directory ? (int)frame->arg[i - 1] : AT_FDCWD;
}

/* The absolute path that argument i names; kind 0: it is the descriptor itself (AT_EMPTY_PATH), or the kernel's error. */
static long path_get(struct about *about, const struct frame *frame, const struct call_shape *shape, uint32_t i)
{
	char *path = about->bytes;
	long size = 0;
	char first;

	about->kind = 0;
	about->is_datagram = false;
	if (!frame->arg[i] || copy_guarded(&first, (const char *)frame->arg[i], 1) < 0 || !first)
		return 0;
	if (first != '/') {
		size = start_of(path, directory_of(frame, shape, i));
		if (size < 0 || size > PATH_SIZE - 8)
			return size < 0 ? size : -ENAMETOOLONG;
		path[size++] = '/';
	}
	TRY(copy_string(path + size, (const char *)frame->arg[i], (size_t)(PATH_SIZE - 2 - size)));
	about->is_kept = path_tidy(path, &about->size);
	about->kind = CTL_ABOUT_PATH;
	return 0;
}

long about_paths(struct about about[ABOUT_MAX], const struct frame *frame, const struct call_shape *shape)
{
	uint32_t count = 0;

	for (uint32_t left = shape->path_args; left && count < ABOUT_MAX; left &= left - 1) {
		TRY(path_get(&about[count], frame, shape, (uint32_t)__builtin_ctz(left)));
		if (!about[count].kind)
			continue;
		if (left != shape->path_args)
			about[count].kind = CTL_ABOUT_SECOND;
		count++;
	}
	return count;
}

/* ---- addresses ---- */

/* A relative name of a unix socket, which lies behind the family, gets the current directory before it. */
static long unix_absolute(struct about *about)
{
	char *path = about->bytes + FAMILY_SIZE, name[ADDRESS_MAX];
	size_t size = about->size - FAMILY_SIZE;
	long start;

	if (path[0] == '/' || !path[0])
		return 0;
	memcpy(name, path, size);
	start = gate2(__NR_getcwd, path, PATH_SIZE - FAMILY_SIZE - ADDRESS_MAX - 1);
	if (start <= 0)
		return start ? start : -ENOENT;
	path[start - 1] = '/';
	memcpy(path + start, name, size);
	path[(size_t)start + size] = 0;
	about->size = FAMILY_SIZE + string_size(path);
	return 0;
}

static long address_take(struct about *about, uint64_t address, uint32_t size)
{
	uint16_t family;

	if (!address || !size)
		return 0;
	if (size > ADDRESS_MAX)
		return -EINVAL;
	if (copy_guarded(about->bytes, (const void *)address, size) < 0)
		return -EFAULT;
	about->size = size;
	about->kind = CTL_ABOUT_ADDRESS;
	about->is_kept = true;
	memcpy(&family, about->bytes, sizeof family);
	if (size > FAMILY_SIZE && family == AF_UNIX_)
		TRY(unix_absolute(about));
	return 1;
}

/* Of `count` message headers, of `stride` bytes each, the next that names an address. */
static long messages_address(struct about *about, uint64_t messages, uint64_t count, uint64_t *next)
{
	while (*next < count && *next < MESSAGES_MAX) {
		uint64_t header[2];
		uint32_t size;

		if (copy_guarded(header, (const void *)(messages + (*next)++ * MESSAGE_SIZE), sizeof header) < 0)
			return 0;		/* the kernel gets no further either */
		size = (uint32_t)header[1];
		if (header[0] && size)
			return address_take(about, header[0], size < ADDRESS_MAX || (int32_t)size < 0 ? size : ADDRESS_MAX);
	}
	return 0;
}

long about_address(struct about *about, const struct frame *frame, const struct call_shape *shape, uint64_t *next)
{
	about->kind = 0;
	about->is_datagram = false;
	for (uint32_t i = 0; i < shape->arg_count; i++) {
		const struct arg_shape *at = &shape->arg[i];

		if (at->kind == ARG_IN_SOCKADDR)
			return (*next)++ ? 0 : address_take(about, frame->arg[i], (uint32_t)frame->arg[at->size_arg]);
		if (at->kind == ARG_MSG_IN)
			return messages_address(about, frame->arg[i], 1, next);
		if (at->kind == ARG_MSGS_IN)
			return messages_address(about, frame->arg[i], (uint32_t)frame->arg[at->size_arg], next);
	}
	return 0;
}
