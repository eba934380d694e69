/*
 * memory_file.h - files whose bytes are in the enclave's memory and nowhere else: secrets, and what handlers serve.
 *
 * Owns: their contract. Must never: let a byte reach the host but by a call that the program makes with its own buffer.
 * Used by: ask.c.
 */
#ifndef SCONE_MEMORY_FILE_H
#define SCONE_MEMORY_FILE_H

#include "enclave.h"

/* What fstat tells of one. */
struct memory_file_facts {
	uint32_t mode;		/* permissions; it is a regular file */
	uint32_t uid, gid;
	uint32_t reserved;
	uint64_t number;	/* inode */
	int64_t  seconds;	/* of all times */
};

/*
 * Opens a file of `size` bytes, read only, as open(2) with `flags` would: the new descriptor, or -errno. `bytes` are
 * copied. The kernel has an empty file by that number, open for writing: so it is taken, polls as ready, and a read of it
 * that is not ours (after an exec, or in a process that was sent it) gives EBADF.
 */
NODISCARD long memory_file_open(const struct memory_file_facts *facts, const void *bytes, uint64_t size, uint32_t flags);
#endif
