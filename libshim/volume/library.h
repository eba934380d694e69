/*
 * library.h - volumes for code with a libc: the runtime host, scone-volume, tests. Only in build/libvolume.so, not in shims.
 *
 * Owns: struct volume_host made of libc calls. Must never: be called by the core. Used by: Python, through ctypes.
 */
#ifndef SCONE_VOLUME_LIBRARY_H
#define SCONE_VOLUME_LIBRARY_H

#include "volume.h"

/*
 * Takes hold of a container (a descriptor; it stays the caller's) with an arena that the caller mapped, shared (of at least
 * volume_arena_size() bytes). `is_readonly`: every change of the container is -EROFS. 0 and *volume, which a fork's child may go on
 * using; or -ENOMEM.
 */
VOL_NODISCARD long volume_library_open(int container_fd, void *arena, int is_readonly, struct volume **volume);

/* Frees it. The arena stays mapped. */
void volume_library_close(struct volume *volume);

/* What was told of tampering and damage since the last call: lines, the last 4 KiB of them; "" if nothing was. The text is the
 * volume's, until the next call. */
const char *volume_library_report(struct volume *volume);

#endif
