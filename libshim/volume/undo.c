/*
 * undo.c - changes that a killed thread left half done are taken back.
 *
 * Owns: how old values stand in struct undo: items one behind the other, each with its predecessor's place. Must never: let an
 * item count before all of it is written, nor be reached without the lock. Called by: names.c and its parts, file.c, lock.c.
 */
#include "undo.h"
#include "plain.h"

enum undo_kind { OLD_WORD = 1, OLD_LINKS, OLD_BYTES };

struct item {
	uint32_t kind;			/* enum undo_kind */
	uint32_t size;			/* of the old value, which follows */
	uint32_t used, last;		/* struct undo's, before this one */
	uint64_t ino;
	uint64_t at;			/* OLD_WORD: from the arena's start */
};

struct links {
	uint64_t parent;
	uint32_t nlink, reserved;
	struct volume_time modified, changed;
};

/* The order in which other threads, and those who come after a kill, see what is written. */
static void settle(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void put(struct undo *undo, struct item *item, const void *old)
{
	uint32_t at = undo->used, size = (uint32_t)sizeof *item + ((item->size + 7) & ~7U);

	if (UNDO_SIZE - at < size)
		__builtin_trap();	/* no change is that big */
	item->used = at;
	item->last = undo->last;
	plain_copy(undo->items + at, item, sizeof *item);
	plain_copy(undo->items + at + sizeof *item, old, item->size);
	settle();
	undo->last = at;
	settle();
	__atomic_store_n(&undo->used, at + size, __ATOMIC_RELEASE);
	settle();
}

void undo_word(struct volume *volume, struct undo *undo, uint32_t *word)
{
	struct item item = { .kind = OLD_WORD, .size = sizeof *word, .at = (uint64_t)word - (uint64_t)volume->arena };

	put(undo, &item, word);
}

void undo_links(struct undo *undo, const struct vol_inode *inode)
{
	struct item item = { .kind = OLD_LINKS, .size = sizeof(struct links), .ino = inode->ino };
	struct links links = { .parent = inode->record.parent, .nlink = inode->record.nlink,
			       .modified = inode->record.modified, .changed = inode->record.changed };

	put(undo, &item, &links);
}

void undo_bytes(struct undo *undo, const struct vol_inode *directory, uint64_t at, const void *old, uint32_t size)
{
	struct item item = { .kind = OLD_BYTES, .size = size, .ino = directory->ino, .at = at };

	put(undo, &item, old);
}

void undo_forget(struct undo *undo)
{
	settle();
	__atomic_store_n(&undo->used, 0, __ATOMIC_RELEASE);
	settle();
}

static long put_back(struct volume *volume, const struct item *item, const uint8_t *old)
{
	struct vol_inode *inode;
	struct links links;
	long result = inode_get(volume, item->ino, &inode);

	if (result == -ENOENT)
		return 0;		/* was new, and is gone */
	VOL_TRY(result);
	vol_lock(volume, &inode->lock);
	if (item->kind == OLD_LINKS) {
		plain_copy(&links, old, sizeof links);
		inode->record.parent = links.parent;
		inode->record.nlink = links.nlink;
		inode->record.modified = links.modified;
		inode->record.changed = links.changed;
		inode_changed(volume, inode);
	} else {
		result = inode_write_locked(volume, inode, old, item->size, item->at);
	}
	vol_unlock(volume, &inode->lock);
	inode_put(volume, inode);
	return result < 0 || item->kind == OLD_LINKS || result == (long)item->size ? result : -EIO;
}

long undo_play(struct volume *volume, struct undo *undo)
{
	uint32_t used = __atomic_load_n(&undo->used, __ATOMIC_ACQUIRE), at = undo->last;
	struct item item;

	/* A thread killed inside put() has moved `last` but not `used`: the item there says which one was last before. */
	if (used && at >= used) {
		plain_copy(&item, undo->items + at, sizeof item);
		at = item.last;
	}
	while (used) {
		const uint8_t *old = undo->items + at + sizeof item;

		plain_copy(&item, undo->items + at, sizeof item);
		if (item.kind == OLD_WORD)
			plain_copy((uint8_t *)volume->arena + item.at, old, item.size);
		else
			VOL_TRY(put_back(volume, &item, old));
		used = item.used;
		at = item.last;
	}
	undo_forget(undo);
	return 0;
}
