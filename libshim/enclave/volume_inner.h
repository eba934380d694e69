/*
 * volume_inner.h - what the files of the enclave's side of volumes share.
 *
 * Owns: struct mount (a volume in this process), struct open_file (what a descriptor of one stands for here), struct spot
 * (where a path leads). Must never: be included by others. Used by: volume_*.c.
 *
 * In the arena, a process has a *hold* on each open file that it has descriptors of, on its current directory, and on what
 * it has mapped (volume_holds.c). Holds are found by the process's number: an image that is executed takes them over, and
 * those of a process that is dead are given back by whoever finds them.
 */
#ifndef SCONE_VOLUME_INNER_H
#define SCONE_VOLUME_INNER_H

#include <linux/fcntl.h>
#include "volumes.h"
#include "control.h"
#include "descriptor.h"
#include "dispatch.h"
#include "shield.h"
#include "../volume/file.h"

/* Numbers that the C library's headers may not know yet. */
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

struct mount {
	struct volume volume;
	struct vol_inode *root;
	int32_t  *container;		/* its descriptor: enclave.own_fd[] */
	uint64_t arena_size;
	uint32_t index;			/* in mounts[] */
	bool     is_readonly;
	bool     is_told[CALL_COUNT];	/* of what is refused: once a call */
	uint32_t place_size, directory_size;
	char     place[CTL_PATH_MAX];		/* as the program says it */
	char     directory[CTL_PATH_MAX];	/* where the container is: not for the program */
};

extern struct mount mounts[CTL_VOLUMES_MAX];
extern uint32_t mount_count;

/* The volume that an absolute path without links, ".." and "//" leads into, and behind its place (*rest: "" or "/..."); NULL:
 * none. */
struct mount *mount_of(const char *path, const char **rest);

/* Does it lead to a container's directory past the volume? */
bool mount_is_behind(const char *path);

extern const struct volume_host volume_host;

/* ---- who asks (volume_mount.c) ---- */

/* The process's identity for permissions; valid until it changes. */
const struct vol_who *who_asks(void);

/* Its identity, or RLIMIT_FSIZE, may be another now: asked anew. */
void who_changed(void);
void limit_changed(void);

extern uint32_t file_mask;		/* umask */
extern uint64_t file_limit;		/* RLIMIT_FSIZE; ~0: none */

/* The number of the calling process; a vfork child's its own. */
uint32_t process_number(void);

/* In a fork child: it has another number. */
void process_changed(void);

/* ---- holds ---- */

enum hold_kind { HOLD_FREE, HOLD_FILE, HOLD_DIRECTORY, HOLD_MAP, HOLD_MAP_WRITING, HOLD_SENT, HOLD_KINDS };

/* A hold on `object`, which lies in the mount's arena, and one user of which it takes over. Its number + 1, or -ENFILE (then
 * the user is still the caller's). */
NODISCARD long hold_new(struct mount *mount, enum hold_kind kind, void *object);

/* The hold goes; the user is the caller's again. */
void hold_free(struct mount *mount, uint32_t hold);

/* This process's hold of that kind, on `object` unless it is NULL, from `after` on (0: the first); 0: none. */
uint32_t hold_find(struct mount *mount, enum hold_kind kind, const void *object, uint32_t after);

/* What a hold is on. */
void *hold_object(struct mount *mount, uint32_t hold);

/* A hold on a mapping of the inode, which counts there. 0 or -errno. */
NODISCARD long hold_map(struct mount *mount, enum hold_kind kind, struct vol_inode *inode);

/* This process's hold of that kind on the object goes, with its user. */
void hold_release(struct mount *mount, enum hold_kind kind, const void *object);

/* Gives back what dead processes held; is_thorough: also of those that nobody has waited for, which takes longer to find out. */
void holds_reap(struct mount *mount, bool is_thorough);

/* All holds, or those of that kind, that this process has go, with their users. */
void holds_drop_all(struct mount *mount);
void holds_drop_own(struct mount *mount, enum hold_kind kind);

/* ---- open files ---- */

struct open_file {
	uint32_t users;			/* descriptors here, and calls under way */
	uint32_t hold;
	struct mount *mount;
	struct vol_file *file;
	struct vol_inode *inode;
	struct open_file *next;
};

extern const struct fd_ops volume_file_ops;

/* A use of what a descriptor stands for: none of a volume when open is NULL. */
struct use {
	struct open_file *open;
	bool is_lost;			/* it was a volume's, but nobody knows which */
	struct open_file guest;
};

/* Whether `fd` is a volume's; then it stays open until use_end(), which may be called in any case. */
bool use_begin(struct use *use, int fd);
void use_end(struct use *use);

/* Puts a new open file (one user of it is taken over) under the lowest free number; or -errno. */
NODISCARD long open_file_install(struct mount *mount, struct vol_file *file, uint32_t flags);

/* A number came from elsewhere (exec, SCM_RIGHTS): is it a volume's? */
void open_file_adopt(int fd);

/* The lock of the list of open files, and of what is mapped. */
void open_files_lock(void);
void open_files_unlock(void);

/* Takes memory for the first ones. Once, at the start. */
void open_files_prepare(void);

/* In a fork child: its holds are its own. */
void open_files_after_fork(void);

/* What the image before had open under numbers that are closed now. */
void open_files_drop_unknown(void);

/* A call on an open file: its result or -SHIELD_PLAIN. Argument `at` names it. */
long open_file_call(struct open_file *open, struct frame *frame, uint32_t at);

static inline struct volume *volume_of(const struct open_file *open)
{
	return &open->mount->volume;
}

static inline bool is_directory(const struct vol_inode *inode)
{
	return (inode->record.mode & 0170000) == 0040000;
}

static inline bool is_link(const struct vol_inode *inode)
{
	return (inode->record.mode & 0170000) == 0120000;
}

/* ---- data (volume_data.c) ---- */

enum { O_TMPFILE_ = 020000000 };	/* without O_DIRECTORY */
enum { OFFSET_OWN = -1 };		/* as `at`: the open file's */

/* As preadv2 and pwritev2 at `at`, or OFFSET_OWN; flags: RWF_*. `parts` are memory of the program. */
NODISCARD long file_read(struct open_file *open, const struct io_part *parts, uint64_t count, int64_t at);
NODISCARD long file_write(struct open_file *open, const struct io_part *parts, uint64_t count, int64_t at, uint32_t flags);

/* lseek, ftruncate, fallocate, fsync: their results. */
NODISCARD long file_seek(struct open_file *open, int64_t distance, int whence);
NODISCARD long file_cut(struct open_file *open, int64_t size);
NODISCARD long file_allocate(struct open_file *open, uint32_t mode, int64_t at, int64_t size);
NODISCARD long file_sync(struct open_file *open);

/* sync(2): of all volumes. */
void volumes_sync(void);

/* ---- other calls on open files ---- */

/* fcntl (but F_DUPFD and what the number itself has: -SHIELD_PLAIN), flock: volume_lock.c. */
NODISCARD long file_control(struct open_file *open, struct frame *frame);
NODISCARD long file_flock(struct open_file *open, uint32_t operation);

/* Calls of which at least one descriptor is a volume's: volume_move.c. */
NODISCARD long file_sendfile(struct frame *frame);
NODISCARD long file_splice(struct frame *frame);
NODISCARD long file_copy_range(struct frame *frame);

/* mmap: volume_map.c. */
NODISCARD long file_map(struct open_file *open, struct frame *frame);

/* The file has grown: what is mapped of it, too. */
void maps_grow(const struct vol_inode *inode);

/* Is it a call on mappings? Serves one of a volume's file: its result, or -SHIELD_PLAIN. */
bool maps_meet(uint32_t nr);
long maps_serve(struct frame *frame);

/* ---- paths ---- */

/* Where a path leads. */
struct spot {
	struct mount *mount;		/* NULL: outside; then, if is_moved, where.path is the path to go on with */
	bool     is_moved;
	int      descriptor;		/* by whose name in /proc it was found, or NO_DESCRIPTOR */
	struct vol_where where;
};

/*
 * Where the path in the program's memory leads, relative to `directory`. 0 or -errno. An inner result's inode and directory
 * are the caller's to release, by spot_end(). flags: WALK_*, and SPOT_EMPTY: "" and NULL are the directory itself; SPOT_DESCRIPTOR:
 * /proc/self/fd/N is N's file though it is not followed.
 */
enum { SPOT_EMPTY = 1 << 16, SPOT_DESCRIPTOR = 1 << 17, NO_DESCRIPTOR = -1 };
NODISCARD long spot_find(struct spot *spot, int directory, uint64_t path, uint32_t flags);

/* Gives back what it holds; also of one that is outside, or that could not be found. */
void spot_end(struct spot *spot);

/*
 * Does no link stand in the absolute path outside, as far as it exists? `follows`: also its last name is none. What was found is
 * remembered for a while (volume_links.c).
 */
bool is_free_of_links(const char *path, bool follows);

/* In a fork child. */
void links_after_fork(void);

/* How often wrapped processes made links or moved names outside, and once more. */
uint32_t names_changes(void);
void names_changed(void);

/* The current directory when it is in a volume (one user of it is the caller's), else NULL. */
struct vol_inode *current_take(struct mount **mount);

/* The current directory is this one from now on (0 or -ENFILE), or in no volume. */
NODISCARD long current_set(struct mount *mount, struct vol_inode *inode);
void current_clear(void);

/* At the start of an image, and in a fork child: takes it over. */
void current_adopt(void);
void current_after_fork(void);

/* ---- calls on paths: `spot` is inside (volume_open.c, volume_names.c, volume_status.c, volume_exec.c) ---- */

/* Each serves the calls that volume_serve.c's table gives it: their results. */
long serve_open(struct frame *frame, struct spot *spot);
long serve_mkdir(struct frame *frame, struct spot *spot);
long serve_unlink(struct frame *frame, struct spot *spot);
long serve_symlink(struct frame *frame, struct spot *spot);
long serve_readlink(struct frame *frame, struct spot *spot);
long serve_mknod(struct frame *frame, struct spot *spot);
long serve_chdir(struct frame *frame, struct spot *spot);
long serve_truncate(struct frame *frame, struct spot *spot);
long serve_status(struct frame *frame, struct spot *spot);
long serve_access(struct frame *frame, struct spot *spot);
long serve_statfs(struct frame *frame, struct spot *spot);
long serve_chmod(struct frame *frame, struct spot *spot);
long serve_chown(struct frame *frame, struct spot *spot);
long serve_times(struct frame *frame, struct spot *spot);
long serve_xattr(struct frame *frame, struct spot *spot);
long serve_exec(struct frame *frame, struct spot *spot);
long serve_link(struct frame *frame, struct spot *from, struct spot *to);
long serve_rename(struct frame *frame, struct spot *from, struct spot *to);

/* How the path of an open is walked: WALK_*. */
uint32_t open_walk_flags(const struct frame *frame);

/* openat2's rules for a path that leads into the volume, or out of one: 0 or -errno (volume_resolve.c). */
NODISCARD long resolve_check(const struct frame *frame, struct mount *mount);
NODISCARD long resolve_check_outside(const struct frame *frame);

/* The same by an inode: `to` is memory of the program. */
NODISCARD long status_give(const struct mount *mount, const struct vol_inode *inode, uint64_t to);
NODISCARD long statx_give(const struct mount *mount, const struct vol_inode *inode, uint64_t to);
NODISCARD long statfs_give(struct mount *mount, uint64_t to);
NODISCARD long mode_set(struct mount *mount, struct vol_inode *inode, uint32_t mode);
NODISCARD long owner_set(struct mount *mount, struct vol_inode *inode, uint32_t uid, uint32_t gid);
NODISCARD long times_set(struct mount *mount, struct vol_inode *inode, const struct frame *frame);

/* CLOCK_REALTIME. */
struct volume_time time_now(void);

/* Unix sockets have no place in a volume: 0, or -EPERM. */
NODISCARD long address_refuse(const struct frame *frame);

/* Descriptors that are sent (sendmsg), and that came (recvmsg ..., whose result is `result`). */
void rights_hold(const struct frame *frame);
void rights_adopt(const struct frame *frame, long result);

/* Refuses, and says once what and why. */
long volume_refuse(struct mount *mount, uint32_t nr, const char *why, long error);
#endif
