/*
 * plain_volume.h - volumes for code with a libc: the runtime host, scone-volume, tests. Only in build/libvolume.so, not in shims.
 *
 * Owns: struct volume_host made of libc calls. Must never: be called by the core. Used by: Python, through ctypes.
 */
#ifndef SCONE_VOLUME_PLAIN_VOLUME_H
#define SCONE_VOLUME_PLAIN_VOLUME_H

#include "volume.h"

/* Told of tampering and damage, by the thread that found it. */
typedef void volume_plain_report(uint64_t ino, uint64_t at, uint64_t size, const char *why);

/*
 * Maps an arena (a memfd, made as long as it must be) and takes hold of a container (a descriptor; it stays the caller's, as the
 * arena's does). `report` may be NULL: then it is written to stderr. 0 and *volume, or -errno.
 */
VOL_NODISCARD long volume_plain_open(struct volume **volume, int arena_fd, int container_fd, volume_plain_report *report);

/* Unmaps. The arena lives on in its memfd. */
void volume_plain_close(struct volume *volume);

#endif
