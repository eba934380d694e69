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
 * that is not ours (in a process that was sent it, or in a vfork child) gives EBADF.
 */
NODISCARD long memory_file_open(const struct memory_file_facts *facts, const void *bytes, uint64_t size, uint32_t flags);

/* The same file under a number that the image before left open, at `offset`. 0 or -errno. */
NODISCARD long memory_file_restore(int fd, const struct memory_file_facts *facts, const void *bytes, uint64_t size,
				   uint32_t flags, uint64_t offset);

/* Before an exec: tells the runtime which memory files stay open over it, and where they stand. */
void memory_files_keep(void);

/* What a vfork child opened goes, once its parent goes on. */
void memory_files_drop(struct thread *child);
#endif
