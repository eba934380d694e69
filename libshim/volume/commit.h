/*
 * commit.h - what commits and checkpoints share.
 *
 * Owns: the marks of what a commit takes. Must never: be included outside of the core. Called by: commit.c, checkpoint.c, maintain.c,
 * mount.c. All need the commit lock.
 */
#ifndef SCONE_VOLUME_COMMIT_H
#define SCONE_VOLUME_COMMIT_H

#include "log.h"

/* Makes all that changed durable by the log, or by a checkpoint when the log can't take it. */
VOL_NODISCARD long commit_now(struct volume *volume);

/* The same by a checkpoint, always. */
VOL_NODISCARD long checkpoint_now(struct volume *volume, bool is_last);

/* Something is dirty or not logged. */
bool commit_is_needed(const struct volume *volume);

/* A commit begins: who calls volume_commit from now on needs another one. */
void commit_begins(struct volume *volume);

/* Takes what changed: dirty chunks are flushed, and what is unlogged is logging. With a writer it also becomes the log's items.
 * The tree's lock is held. 0, LOG_FULL, or -errno: nothing is lost, the next commit takes it again. */
VOL_NODISCARD long commit_collect(struct volume *volume, struct log_writer *writer);

/* All that was taken is durable, by the batch or checkpoint of that version. */
void commit_settles(struct volume *volume, uint64_t version, const uint8_t *tag);

/* A sync, after which nothing can be promised if it fails. */
VOL_NODISCARD long commit_sync(struct volume *volume);

#endif
