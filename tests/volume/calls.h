/*
 * calls.h - system calls on names of a volume, as the shim serves them, for tests.
 *
 * Owns: what a call does around names.h: which walk, slashes at the end, paths that leave the volume. Must never: print. A result
 * is what the kernel's would be. Used by: names_oracle.c, names_cases.c, names_kill.c.
 *
 * The volume is at "/data" of a root directory that has nothing else.
 */
#ifndef TESTS_VOLUME_CALLS_H
#define TESTS_VOLUME_CALLS_H

#include "standin.h"

struct caller {
	struct volume *volume;
	struct vol_who who;
	struct vol_inode *directory;	/* where relative paths begin */
};

/* Set when a path led to what is outside of the volume: the caller clears it. */
extern bool call_went_out;

/* What stat tells. */
struct facts { uint64_t ino, size; uint32_t mode, nlink, uid, gid; };

/* As the system calls of these names. `mode` of the first two with the type; umask is 0. */
long call_mknod(const struct caller *caller, const char *path, uint32_t mode);
long call_open(const struct caller *caller, const char *path, uint32_t flags, uint32_t mode);
long call_mkdir(const struct caller *caller, const char *path, uint32_t mode);
long call_link(const struct caller *caller, const char *old, const char *new, bool is_followed);
long call_symlink(const struct caller *caller, const char *target, const char *path);
long call_unlink(const struct caller *caller, const char *path);
long call_rmdir(const struct caller *caller, const char *path);
long call_rename(const struct caller *caller, const char *old, const char *new, uint32_t flags);
long call_stat(const struct caller *caller, const char *path, bool is_followed, struct facts *facts);
long call_readlink(const struct caller *caller, const char *path, char *to, uint64_t size);
long call_chmod(const struct caller *caller, const char *path, uint32_t mode);
long call_chown(const struct caller *caller, const char *path, uint32_t uid, uint32_t gid);

#endif
