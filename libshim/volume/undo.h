/*
 * undo.h - changes that a killed thread left half done are taken back.
 *
 * Owns: struct undo, in the arena beside the lock that it belongs to. Before a word of the arena, an inode's links or bytes of
 * a directory change, what they were is put there; forgetting it all is what makes the change count. Must never: be used
 * without that lock. Used by: names.c and what belongs to it, file.c, lock.c.
 */
#ifndef SCONE_VOLUME_UNDO_H
#define SCONE_VOLUME_UNDO_H

#include "inode.h"

enum { UNDO_SIZE = 4032 };

struct undo {
	uint32_t used;			/* bytes that count: whole items, the last one ends here */
	uint32_t last;			/* where the last item begins */
	uint8_t  items[UNDO_SIZE];
};

/* Before a 32-bit word of the arena is changed. */
void undo_word(struct volume *volume, struct undo *undo, uint32_t *word);

/* Before nlink, parent or times of an inode are changed. */
void undo_links(struct undo *undo, const struct vol_inode *inode);

/* Before `size` bytes (at most VOLUME_NAME_MAX * 3) of a directory at `at` are changed: `old` is what they are. */
void undo_bytes(struct undo *undo, const struct vol_inode *directory, uint64_t at, const void *old, uint32_t size);

/* The change is complete: nothing of it will be undone. */
void undo_forget(struct undo *undo);

/* Puts everything back, the latest first, and forgets it. May itself be cut short at any instruction and be begun again. An error
 * (of the store) leaves it all to the next one who tries. */
VOL_NODISCARD long undo_play(struct volume *volume, struct undo *undo);

#endif
