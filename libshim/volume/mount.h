/*
 * mount.h - the parts of a mount.
 *
 * Owns: nothing. Must never: be included outside of the core. Called by: mount.c, replay.c, survey.c. Nobody else uses the arena yet.
 */
#ifndef SCONE_VOLUME_MOUNT_H
#define SCONE_VOLUME_MOUNT_H

#include "log.h"

/* Follows the log from the checkpoint's place on, and applies what counts. The place behind the last batch is put there, with that
 * batch's tag, if there was one. -EBADMSG, -EIO, -ENOMEM. */
VOL_NODISCARD long replay_log(struct volume *volume, struct log_place *place, uint64_t *batches);

/* Blocks of the last commit that nothing names any more (its inode was an orphan) are kept until the next checkpoint: should that
 * not come to its end, the next mount looks whether this commit is whole. */
VOL_NODISCARD long replay_keep(struct volume *volume);

/* Reads all nodes of all inodes: which blocks and numbers are used. Frees orphans. -EBADMSG: damaged (reported). */
VOL_NODISCARD long survey_all(struct volume *volume);

#endif
