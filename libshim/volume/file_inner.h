/*
 * file_inner.h - how open files and locks lie in VOL_REGION_FILES.
 *
 * Owns: the layout. Must never: be included by others than file.c, lock.c, lock_wait.c. Used by: these.
 *
 * Locks are kept in stripes by inode number, each with a lock, nodes and an undo record of its own. Whoever takes a stripe's
 * lock plays the undo record back if something is in it: its last holder was killed.
 */
#ifndef SCONE_VOLUME_FILE_INNER_H
#define SCONE_VOLUME_FILE_INNER_H

#include "file.h"
#include "undo.h"
#include "plain.h"

enum {
	FILES_MAX = 1 << 17, PLACES = 1 << 14,
	STRIPES = 64, BUCKETS = 64, NODES_MAX = 1 << 16,	/* buckets and nodes: of each stripe */
	WAITERS_MAX = 1024,
	LOCKS_AT = 64 << 20,		/* in the region */
	LOCK_WAIT_NS = 50000000,
};

enum lock_kind { KIND_RANGE = 1, KIND_FLOCK };

/* A lock that is held. */
struct lock_node {
	uint64_t ino;
	uint64_t start, end;		/* as vol_range's */
	uint16_t kind, type;		/* enum lock_kind; F_RDLCK, F_WRLCK */
	uint32_t pid, file;		/* the owner: pid, or 0 and the open file */
	uint32_t next;			/* in its bucket, or among the unused; 0: the last */
};

struct stripe {
	struct vol_lock lock;
	uint32_t changes;		/* a futex: counts locks that became fewer or weaker */
	uint32_t is_waited;		/* someone waits for that */
	uint32_t unused;		/* first of the nodes that were used once */
	uint32_t used_to;		/* nodes behind this one never were; 0 is none */
	uint32_t buckets[BUCKETS];
	struct undo undo;
} __attribute__((aligned(64)));

/* A thread that waits for a process to give a lock back. */
struct waiter {
	uint32_t pid;			/* 0: unused */
	uint32_t blocker;
	uint32_t stripe, changes;	/* counts only as long as the stripe's changes are these */
};

struct locks {
	struct stripe stripes[STRIPES];
	struct vol_lock waiters_lock;
	struct waiter waiters[WAITERS_MAX];
	struct lock_node nodes[STRIPES][NODES_MAX];
};

struct files {
	struct vol_lock lock;
	uint32_t unused;		/* first of those that were used once; 0: none */
	uint32_t used_to;
	struct undo undo;
	uint32_t places[PLACES];
	struct vol_file files[FILES_MAX];
};
_Static_assert(sizeof(struct files) <= LOCKS_AT, "the locks stand behind the files");
_Static_assert(LOCKS_AT + sizeof(struct locks) <= VOL_REGION_SIZE, "the region's size");

static inline struct files *files_of(struct volume *volume)
{
	return volume_region(volume, VOL_REGION_FILES);
}

static inline struct locks *locks_of(struct volume *volume)
{
	return (struct locks *)((uint8_t *)volume_region(volume, VOL_REGION_FILES) + LOCKS_AT);
}

/* Multiplied by this (2^64 / the golden ratio), the upper bits of a number are well spread. */
#define SPREAD 0x9e3779b97f4a7c15UL

static inline uint32_t stripe_index(uint64_t ino)
{
	return (uint32_t)(ino * SPREAD >> 58);
}
_Static_assert(STRIPES == 1 << (64 - 58), "stripe_index gives as many");

/* ---- lock.c ---- */

/* Takes a stripe's lock, and takes a killed holder's change back. */
void stripe_lock(struct volume *volume, struct stripe *stripe);

/* A held lock that is in the way of `wanted`, whose owner is alive (those of dead ones are removed), 0: none. With the lock. */
uint32_t stripe_conflict(struct volume *volume, uint32_t index, const struct lock_node *wanted);

/* What fcntl's and flock's locks are, wanted or held. */
struct lock_node node_of_range(const struct vol_inode *inode, const struct vol_range *range);
struct lock_node node_of_flock(const struct vol_inode *inode, const struct vol_file *file, uint32_t operation);

#endif
