/*
 * log.h - the log: batches of changed entries and records, written in circles.
 *
 * Owns: how items become batches, where the next batch stands. Must never: write over a batch that a mount would replay.
 * Called by: commit.c, mount.c. The commit lock is held in all of them.
 */
#ifndef SCONE_VOLUME_LOG_H
#define SCONE_VOLUME_LOG_H

#include "arena.h"

/* A commit's batches so far. */
struct log_writer {
	uint32_t head, used;		/* what the arena's will be */
	uint32_t size, count;		/* of the batch that is being filled */
	uint64_t version;		/* of the last batch that was written */
	uint8_t  tag[VOLUME_TAG_SIZE];	/* its tag: additional data of the next one */
};

/* Nothing yet. */
void log_begin(struct volume *volume, struct log_writer *writer);

enum { LOG_FULL = 1 };

/* Adds an item. LOG_FULL: the log has no room for all that this commit holds. */
VOL_NODISCARD long log_add(struct volume *volume, struct log_writer *writer, enum volume_item_kind kind, uint64_t ino,
			   const void *body, uint32_t size);

/* Adds an ITEM_CHUNK. */
VOL_NODISCARD long log_chunk(struct volume *volume, struct log_writer *writer, uint64_t ino, uint64_t index,
			     const struct volume_entry *entry);

/* Writes the batch that is being filled; after the last one the commit only needs a sync. */
VOL_NODISCARD long log_write(struct volume *volume, struct log_writer *writer, bool is_last);

/* Where a reader is: of the next batch the block and the version. */
struct log_place { uint32_t head; uint32_t reserved; uint64_t version; uint8_t tag[VOLUME_TAG_SIZE]; };

/* Reads the batch that stands there into the arena's buffer: 1, and the place of the next one, with this one's tag; 0: there is
 * none; -EIO. */
VOL_NODISCARD long log_read(struct volume *volume, struct log_place *place, const struct volume_batch **batch, uint32_t *size);

/* The next item of a batch: NULL behind the last. `*at` is 0 at first. What is malformed ends it with *is_wrong. */
const struct volume_item *log_item(const struct volume_batch *batch, uint32_t size, uint32_t *at, bool *is_wrong);

#endif
