/*
 * volume.h - the core of encrypted volumes: what each part may expect of the surroundings, and of the others.
 *
 * Owns: struct volume (one a process and volume), struct volume_host, the error idiom. Must never: include a header of
 * enclave/ or host/, or of libc; the core is linked into every shim and into build/libvolume.so, where the runtime host and
 * tests use it. Used by: everything in volume/, enclave/volume_*.c, tests/volume.
 *
 *   names (names.h) ─► inodes, their data (inode.h) ─► nodes, chunks in the cache (node.h) ─► blocks, log (store.h) ─► host
 */
#ifndef SCONE_VOLUME_H
#define SCONE_VOLUME_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <asm/errno.h>
#include "../wire/volume.h"

#define VOL_NODISCARD __attribute__((warn_unused_result))
#define VOL_TRY(expression) do { long try_result_ = (expression); if (try_result_ < 0) return try_result_; } while (0)

/*
 * What the core needs of the process that it runs in. All results: >= 0 or -errno. Bytes of the container are the host's to
 * change: what is read is a copy in trusted memory, and only believed once its tag fits.
 */
struct volume_host {
	/* pread and pwrite of the container: all of `size` bytes, or an error (-EIO when the file ends before). */
	long (*read)(void *context, void *to, uint64_t size, uint64_t at);
	long (*write)(void *context, const void *from, uint64_t size, uint64_t at);
	/* fdatasync of the container. */
	long (*sync)(void *context);
	/* Makes the container at least `size` bytes long, with room on the disk for them: -ENOSPC when there is none. */
	long (*grow)(void *context, uint64_t size);
	/* Gives the room of whole blocks back to the host's file system. May do nothing. */
	long (*discard)(void *context, uint64_t size, uint64_t at);
	/* Between the arena and memory of the program, which may not be there: 0 or -EFAULT. */
	long (*copy)(void *context, void *to, const void *from, uint64_t size);
	/* futex(2) on a word in the arena, shared between processes. A wait ends by itself after `ns`. */
	void (*wait)(void *context, uint32_t *word, uint32_t value, uint64_t ns);
	void (*wake)(void *context, uint32_t *word, uint32_t count);
	/* The calling thread's number, and whether a thread with that number is alive. */
	uint32_t (*self)(void *context);
	bool (*is_alive)(void *context, uint32_t thread);
	/* CLOCK_REALTIME. */
	struct volume_time (*now)(void *context);
	/* Random bytes from a source that the host does not choose where the machine has one. */
	void (*random)(void *context, void *to, uint64_t size);
	/* Gives back the memory of whole pages of the arena, in all processes: they read as zeros then (MADV_REMOVE). */
	void (*forget)(void *context, void *pages, uint64_t size);
	/* Vector registers of the program are saved before the cipher runs, and restored after it. May do nothing. */
	void (*vectors_save)(void *context);
	void (*vectors_restore)(void *context);
	/* Tells of tampering or damage, one line: which inode, which bytes, why. */
	void (*report)(void *context, uint64_t ino, uint64_t at, uint64_t size, const char *why);
};

struct volume_arena;

/* A process's hold of a volume. The arena is shared with the other processes, trusted, and mapped anywhere. */
struct volume {
	struct volume_arena *arena;
	const struct volume_host *host;
	void *context;			/* the host functions' */
};

/* What a new arena is to be like. Sizes that are 0 are chosen. */
struct volume_shape {
	uint64_t cache_size;		/* bytes of chunks that stay in memory, at most */
	uint32_t log_blocks;		/* of the container, as its superblock says */
	uint32_t is_readonly;		/* the container can't be written: every change is -EROFS */
	uint32_t is_plain;		/* mode "authenticate": chunks of files stand in the clear, their tags are GMACs */
	uint32_t reserved;
	uint8_t  volume_id[16];
};

/* Virtual size of an arena: what to make a memfd of. Pages are only used when they are touched. */
uint64_t volume_arena_size(void);

enum vol_region { VOL_REGION_NAMES, VOL_REGION_FILES, VOL_REGION_SHIM, VOL_REGION_COUNT };
#define VOL_REGION_SIZE (1UL << 30)

/* Room in the arena that is the others' own, zeros after a mount: VOL_REGION_SIZE bytes each, used page by page. */
void *volume_region(struct volume *volume, enum vol_region region);

/*
 * Writes a new, empty volume into a container that has its superblock and nothing else: the log's blocks (zeros), the
 * root directory (mode, owner), the first checkpoint. Ends with a sync.
 */
VOL_NODISCARD long volume_format(struct volume *volume, const struct volume_shape *shape, const uint8_t key[VOLUME_KEY_SIZE],
				 uint32_t mode, uint32_t uid, uint32_t gid);

/* What was found at a mount. */
struct volume_found {
	uint64_t version;		/* of the last batch or checkpoint that counts */
	uint8_t  tag[VOLUME_TAG_SIZE];	/* its tag: with `version`, what a freshness anchor keeps */
	uint64_t batches;		/* that were replayed */
	uint32_t was_clean;
	uint32_t reserved;
};

/*
 * Fills a new arena (zeros) from a container: reads the newer valid checkpoint, replays the log, finds the free blocks. Writes
 * nothing: whoever compares versions with an anchor does so first, then calls volume_checkpoint. -EBADMSG: damaged or tampered with (reported); -EKEYREJECTED: not with this key.
 */
VOL_NODISCARD long volume_mount(struct volume *volume, const struct volume_shape *shape, const uint8_t key[VOLUME_KEY_SIZE],
				struct volume_found *found);

/* Everything that was written before this call, in any process, is on the disk when it returns 0: one sync. Concurrent calls
 * share one. -EIO, from then on always, once a sync failed: what the host has is unknown. */
VOL_NODISCARD long volume_commit(struct volume *volume);

/* Commits, writes all changed nodes and the inode table, and makes them the state that a mount starts from: the log is empty
 * then, freed blocks can be used again. `is_last`: nothing comes after it, the volume is closed. */
VOL_NODISCARD long volume_checkpoint(struct volume *volume, bool is_last);

/* What the maintainer (one thread of the runtime host) does about every 100 ms: a commit of what is older than 5 s, a
 * checkpoint when the log is half full or many blocks wait to be freed, eviction down to the cache's size. */
VOL_NODISCARD long volume_maintain(struct volume *volume);

/* The version and tag of what is durable: for the anchor. */
void volume_durable(struct volume *volume, uint64_t *version, uint8_t tag[VOLUME_TAG_SIZE]);

/* For statfs and reports. */
struct volume_usage { uint64_t blocks, blocks_used, inodes_used, cached, dirty, cache_size; };
void volume_usage(struct volume *volume, struct volume_usage *usage);

#endif
