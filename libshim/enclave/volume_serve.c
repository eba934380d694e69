/*
 * volume_serve.c - calls that may meet a volume: which do, and who serves them.
 *
 * Owns: the table of calls with paths, and of those about the process that volumes must know of. Must never: let a call with a
 * path go on before it is known where that leads. Called by: dispatch.c.
 */
#include <asm/stat.h>
#include "volume_inner.h"
#include "policy.h"

enum { SYMLINK_NOFOLLOW = 0x100, SYMLINK_FOLLOW = 0x400, NO_FLAGS = 7 };

/* How the last name of a path is taken. */
enum last {
	LAST_FOLLOW = 1,	/* through a link */
	LAST_ITSELF,
	LAST_BY_FLAGS,		/* itself with AT_SYMLINK_NOFOLLOW */
	LAST_BY_FOLLOW,		/* through a link with AT_SYMLINK_FOLLOW */
	LAST_BY_OPEN,
};

struct path_call {
	long (*serve)(struct frame *frame, struct spot *spot);	/* NULL: refused in a volume */
	uint8_t last;		/* enum last, 0: no call with a path */
	uint8_t flags_arg;	/* where AT_* are; NO_FLAGS: none */
	bool    is_empty_self;	/* "" with AT_EMPTY_PATH, or NULL, is the directory's descriptor itself */
	uint16_t error;		/* without `serve` */
};

static const struct path_call path_calls[CALL_COUNT] = {
	[__NR_open]        = { serve_open,     LAST_BY_OPEN,   NO_FLAGS, false, 0 },
	[__NR_openat]      = { serve_open,     LAST_BY_OPEN,   NO_FLAGS, false, 0 },
	[__NR_openat2]     = { serve_open,     LAST_BY_OPEN,   NO_FLAGS, false, 0 },
	[__NR_creat]       = { serve_open,     LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_stat]        = { serve_status,   LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_lstat]       = { serve_status,   LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_newfstatat]  = { serve_status,   LAST_BY_FLAGS,  3,        true,  0 },
	[__NR_statx]       = { serve_status,   LAST_BY_FLAGS,  2,        true,  0 },
	[__NR_access]      = { serve_access,   LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_faccessat]   = { serve_access,   LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_faccessat2]  = { serve_access,   LAST_BY_FLAGS,  3,        true,  0 },
	[__NR_statfs]      = { serve_statfs,   LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_readlink]    = { serve_readlink, LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_readlinkat]  = { serve_readlink, LAST_ITSELF,    NO_FLAGS, true,  0 },
	[__NR_mkdir]       = { serve_mkdir,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_mkdirat]     = { serve_mkdir,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_rmdir]       = { serve_unlink,   LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_unlink]      = { serve_unlink,   LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_unlinkat]    = { serve_unlink,   LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_symlink]     = { serve_symlink,  LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_symlinkat]   = { serve_symlink,  LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_mknod]       = { serve_mknod,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_mknodat]     = { serve_mknod,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_chdir]       = { serve_chdir,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_truncate]    = { serve_truncate, LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_chmod]       = { serve_chmod,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_fchmodat]    = { serve_chmod,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_fchmodat2]   = { serve_chmod,    LAST_BY_FLAGS,  3,        true,  0 },
	[__NR_chown]       = { serve_chown,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_lchown]      = { serve_chown,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_fchownat]    = { serve_chown,    LAST_BY_FLAGS,  4,        true,  0 },
	[__NR_utime]       = { serve_times,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_utimes]      = { serve_times,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_futimesat]   = { serve_times,    LAST_FOLLOW,    NO_FLAGS, true,  0 },
	[__NR_utimensat]   = { serve_times,    LAST_BY_FLAGS,  3,        true,  0 },
	[__NR_execve]      = { serve_exec,     LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_execveat]    = { serve_exec,     LAST_BY_FLAGS,  4,        true,  0 },
	[__NR_chroot]      = { NULL,           LAST_FOLLOW,    NO_FLAGS, false, EPERM },
	[__NR_inotify_add_watch] = { NULL,     LAST_FOLLOW,    NO_FLAGS, false, ENOSPC },
	[__NR_fanotify_mark]     = { NULL,     LAST_FOLLOW,    NO_FLAGS, false, EPERM },
	[__NR_name_to_handle_at] = { NULL,     LAST_BY_FOLLOW, 4,        true,  EOPNOTSUPP },
	[__NR_setxattr]    = { serve_xattr,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_lsetxattr]   = { serve_xattr,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_getxattr]    = { serve_xattr,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_lgetxattr]   = { serve_xattr,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_listxattr]   = { serve_xattr,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_llistxattr]  = { serve_xattr,    LAST_ITSELF,    NO_FLAGS, false, 0 },
	[__NR_removexattr] = { serve_xattr,    LAST_FOLLOW,    NO_FLAGS, false, 0 },
	[__NR_lremovexattr] = { serve_xattr,   LAST_ITSELF,    NO_FLAGS, false, 0 },
};

/* ---- on, to whoever else serves the call ---- */

static bool makes_links(uint64_t nr)
{
	return nr == __NR_symlink || nr == __NR_symlinkat || nr == __NR_link || nr == __NR_linkat || nr == __NR_rename ||
	       nr == __NR_renameat || nr == __NR_renameat2 || nr == __NR_mount;
}

static long go_on(struct frame *frame, bool is_asked)
{
	long result = is_asked ? dispatch_asked(frame, (uint32_t)frame->nr) : dispatch_on(frame, (uint32_t)frame->nr);

	if (unlikely(makes_links(frame->nr)))
		names_changed();
	return result;
}

/* What the policy says of a call whatever its path. True: *result is the call's. */
static bool is_decided(struct frame *frame, const struct call_shape *shape, bool *is_asked, long *result)
{
	*is_asked = enclave.has_policy && policy_is_general((uint32_t)frame->nr);
	if (!*is_asked)
		return false;
	*result = policy_serve(frame, shape);
	return *result != -SHIELD_PLAIN;
}

/* ---- calls with paths ---- */

static int directory_of(const struct frame *frame, const struct call_shape *shape, uint32_t i)
{
	bool has_directory = i && shape->fd_args & 1u << (i - 1) && frame->nr != __NR_inotify_add_watch;

	return has_directory ? (int)frame->arg[i - 1] : AT_FDCWD;
}

static uint32_t walk_flags(const struct frame *frame, const struct path_call *call)
{
	uint32_t flags = call->flags_arg == NO_FLAGS ? 0 : (uint32_t)frame->arg[call->flags_arg];
	uint32_t empty = call->is_empty_self && (call->flags_arg == NO_FLAGS || flags & AT_EMPTY_PATH ||
						 frame->nr == __NR_utimensat) ? SPOT_EMPTY : 0;

	switch ((enum last)call->last) {
	case LAST_FOLLOW:
		return empty | WALK_FOLLOW;
	case LAST_BY_FLAGS:
		return empty | (flags & SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW);
	case LAST_BY_FOLLOW:
		return empty | (flags & SYMLINK_FOLLOW ? WALK_FOLLOW : 0);
	case LAST_BY_OPEN:
		return open_walk_flags(frame);
	case LAST_ITSELF:
		break;
	}
	return empty | (call->serve == serve_readlink ? SPOT_DESCRIPTOR : 0);
}

/* The program leaves a volume with its current directory. */
static long chdir_outside(struct frame *frame, bool is_asked)
{
	long result = go_on(frame, is_asked);

	if (result == 0)
		current_clear();
	return result;
}

/* The call by the path that a link inside led to; or as it is. */
static __attribute__((noinline)) long serve_outside(const struct frame *frame, const struct spot *spot, uint32_t i, bool is_asked)
{
	struct frame here = *frame;

	if (spot->is_moved)
		here.arg[i] = (uint64_t)spot->where.path;
	return here.nr == __NR_chdir ? chdir_outside(&here, is_asked) : go_on(&here, is_asked);
}

static bool is_root(uint64_t path)
{
	char text[2];

	return copy_string(text, (const char *)path, sizeof text) == 1 && text[0] == '/';
}

static long serve_one(struct frame *frame, const struct call_shape *shape, bool is_asked)
{
	static const struct path_call other = { NULL, LAST_FOLLOW, NO_FLAGS, false, EOPNOTSUPP };
	const struct path_call *call = path_calls[frame->nr].last ? &path_calls[frame->nr] : &other;
	uint32_t i = (uint32_t)__builtin_ctz(shape->path_args);
	struct spot spot;
	long result;

	TRY(spot_find(&spot, directory_of(frame, shape, i), frame->arg[i], walk_flags(frame, call)));
	if (frame->nr == __NR_openat2) {
		result = spot.mount ? resolve_check(frame, spot.mount) : spot.is_moved ? resolve_check_outside(frame) : 0;
		if (result < 0) {
			spot_end(&spot);
			return result;
		}
	}
	if (!spot.mount && frame->nr == __NR_chroot && !is_root(frame->arg[0]))
		return volume_refuse(&mounts[0], __NR_chroot, "with a volume there is one root directory", -EPERM);
	if (!spot.mount)
		return spot.is_moved || frame->nr == __NR_chdir ? serve_outside(frame, &spot, i, is_asked) : go_on(frame, is_asked);
	if (call->serve)
		result = call->serve(frame, &spot);
	else
		result = volume_refuse(spot.mount, (uint32_t)frame->nr, "volumes don't have that", -(long)call->error);
	spot_end(&spot);
	return result;
}

static long serve_both(struct frame *frame, struct spot *from, struct spot *to)
{
	bool is_link = frame->nr == __NR_link || frame->nr == __NR_linkat;

	if (!is_link && frame->nr != __NR_rename && frame->nr != __NR_renameat && frame->nr != __NR_renameat2)
		return volume_refuse(from->mount ? from->mount : to->mount, (uint32_t)frame->nr, "volumes don't have that", -EPERM);
	if (from->mount != to->mount)
		return -EXDEV;
	return is_link ? serve_link(frame, from, to) : serve_rename(frame, from, to);
}

/* link and rename; and mount and its like, which a volume doesn't have. */
static long serve_two(struct frame *frame, const struct call_shape *shape, bool is_asked)
{
	uint32_t first = (uint32_t)__builtin_ctz(shape->path_args), second = (uint32_t)__builtin_ctz(shape->path_args & (shape->path_args - 1));
	uint32_t flags = frame->nr == __NR_linkat ? (frame->arg[4] & SYMLINK_FOLLOW ? WALK_FOLLOW : 0) |
						    (frame->arg[4] & AT_EMPTY_PATH ? SPOT_EMPTY : 0) : 0;
	struct frame here = *frame;
	struct spot from, to;
	long result;

	TRY(spot_find(&from, directory_of(frame, shape, first), frame->arg[first], flags));
	result = spot_find(&to, directory_of(frame, shape, second), frame->arg[second], 0);
	if (result < 0 && from.mount && !from.where.inode && (frame->nr == __NR_link || frame->nr == __NR_linkat))
		result = -ENOENT;	/* the first one is looked at first */
	if (result == 0 && (from.mount || to.mount)) {
		result = serve_both(frame, &from, &to);
	} else if (result == 0) {
		if (from.is_moved)
			here.arg[first] = (uint64_t)from.where.path;
		if (to.is_moved)
			here.arg[second] = (uint64_t)to.where.path;
		return go_on(&here, is_asked);
	}
	spot_end(&from);
	spot_end(&to);
	return result;
}

/* ---- calls about the process ---- */

static bool is_identity(uint32_t nr)
{
	switch (nr) {
	case __NR_setuid:
	case __NR_setgid:
	case __NR_setreuid:
	case __NR_setregid:
	case __NR_setresuid:
	case __NR_setresgid:
	case __NR_setfsuid:
	case __NR_setfsgid:
	case __NR_setgroups:
		return true;
	default:
		return false;
	}
}

static long serve_getcwd(struct frame *frame, bool is_asked)
{
	char path[CTL_PATH_MAX];
	long size = volumes_directory(AT_FDCWD, path, sizeof path);

	if (size == 0)
		return go_on(frame, is_asked);
	TRY(size);
	path[size++] = 0;
	if ((uint64_t)size > frame->arg[1])
		return -ERANGE;
	TRY(copy_guarded((void *)frame->arg[0], path, (size_t)size));
	return size;
}

static long serve_process(struct frame *frame, bool is_asked)
{
	long result = go_on(frame, is_asked);

	if (thread_self()->is_guest)		/* a process of its own: its parent's stay as they are */
		return result;
	if (frame->nr == __NR_setrlimit || frame->nr == __NR_prlimit64)
		limit_changed();
	else if (frame->nr == __NR_umask)
		file_mask = (uint32_t)frame->arg[0] & 0777;
	else
		who_changed();
	return result;
}

static bool is_of_process(uint32_t nr)
{
	return nr == __NR_umask || nr == __NR_setrlimit || nr == __NR_prlimit64 || is_identity(nr);
}

static bool receives(uint32_t nr)
{
	return nr == __NR_recvmsg || nr == __NR_recvmmsg || nr == __NR_pidfd_getfd;
}

bool volumes_meet(uint32_t nr)
{
	return call_shapes[nr].path_args || nr == __NR_getcwd || nr == __NR_unshare || nr == __NR_setns || is_of_process(nr) || nr == __NR_sync ||
	       receives(nr) || nr == __NR_sendmsg || nr == __NR_bind || nr == __NR_connect || maps_meet(nr);
}

long volumes_serve(struct frame *frame, const struct call_shape *shape)
{
	uint32_t nr = (uint32_t)frame->nr;
	bool is_asked;
	long result;

	if (is_decided(frame, shape, &is_asked, &result))
		return result;
	if (shape->path_args)
		return shape->path_args & (shape->path_args - 1) ? serve_two(frame, shape, is_asked) :
								   serve_one(frame, shape, is_asked);
	if (nr == __NR_getcwd)
		return serve_getcwd(frame, is_asked);
	if (is_of_process(nr))
		return serve_process(frame, is_asked);
	if (nr == __NR_unshare)
		TRY(volumes_namespace_check(nr, frame->arg[0]));
	if (nr == __NR_setns)		/* of no type: of whatever type the descriptor is */
		TRY(volumes_namespace_check(nr, frame->arg[1] ? frame->arg[1] : ~0UL));
	if (nr == __NR_sync)
		volumes_sync();
	if (nr == __NR_bind || nr == __NR_connect)
		TRY(address_refuse(frame));
	if (nr == __NR_sendmsg)
		rights_hold(frame);
	if (maps_meet(nr)) {
		result = maps_serve(frame);
		if (result != -SHIELD_PLAIN)
			return result;
	}
	result = go_on(frame, is_asked);
	if (receives(nr) && result >= 0)
		rights_adopt(frame, result);
	return result;
}
