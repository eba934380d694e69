/*
 * names_tree.c - the tree's lock, and lookups without it.
 *
 * Owns: names_tree.lock and .sequence. Must never: keep the lock when it returns an error. Called by: names*.c.
 */
#include "names_tree.h"

enum { LOOKS = 4, PROBES = 64 };

/* A killed holder's change goes. The index may be half changed: it is only a help, and starts anew. */
static long recover(struct volume *volume)
{
	struct names_tree *tree = tree_of(volume);

	VOL_TRY(undo_play(volume, &tree->undo));
	index_restart(volume, tree->index_bits);
	return tree_end(volume, 0);
}

long names_lock(struct volume *volume)
{
	struct names_tree *tree = tree_of(volume);
	long result = 0;

	vol_lock(volume, &tree->lock);
	if (tree->sequence & 1)
		result = recover(volume);
	if (result < 0)
		vol_unlock(volume, &tree->lock);
	return result;
}

void names_unlock(struct volume *volume)
{
	vol_unlock(volume, &tree_of(volume)->lock);
}

long tree_lock_to_change(struct volume *volume)
{
	long room = volume_make_room(volume);

	(void)room;	/* if there is none the change itself says so, after what else may be wrong with it */
	return names_lock(volume);
}

void tree_begin(struct volume *volume)
{
	struct names_tree *tree = tree_of(volume);

	__atomic_store_n(&tree->sequence, tree->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!tree->generation)
		index_restart(volume, INDEX_BITS_FIRST);
}

long tree_end(struct volume *volume, long result)
{
	struct names_tree *tree = tree_of(volume);

	/* If it can't be taken back now the sequence stays odd: nothing is looked up before it could. */
	if (result < 0 && undo_play(volume, &tree->undo) < 0)
		return -EIO;
	undo_forget(&tree->undo);
	__atomic_store_n(&tree->sequence, tree->sequence + 1, __ATOMIC_RELEASE);
	return result;
}

bool tree_look(struct names_tree *tree, uint32_t *sequence)
{
	*sequence = __atomic_load_n(&tree->sequence, __ATOMIC_ACQUIRE);
	return !(*sequence & 1);
}

bool tree_is_same(struct names_tree *tree, uint32_t sequence)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&tree->sequence, __ATOMIC_RELAXED) == sequence;
}

long tree_find(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size, struct place *place)
{
	struct names_tree *tree = tree_of(volume);
	long result;

	if (!index_is_listed(tree, directory->ino)) {
		tree_begin(volume);
		result = index_list(volume, directory);
		if (tree_end(volume, 0) < 0 || (result < 0 && result != -EFBIG))
			return result < 0 ? result : -EIO;
		if (result == -EFBIG)
			return directory_scan(volume, directory, name, size, place);
	}
	return index_find(volume, directory, name, size, UINT32_MAX, place);
}

static long get_locked(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
		       struct vol_inode **inode)
{
	struct place place;
	long result;

	VOL_TRY(names_lock(volume));
	result = tree_find(volume, directory, name, size, &place);
	if (!result) {
		result = inode_get(volume, place.ino, inode);
		if (result == -ENOENT)
			result = -EIO;	/* a name of nothing: not what we wrote */
	}
	names_unlock(volume);
	return result;
}

long tree_get(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size, struct vol_inode **inode)
{
	struct names_tree *tree = tree_of(volume);
	struct place place;
	uint32_t sequence;

	for (int i = 0; i < LOOKS && tree_look(tree, &sequence); i++) {
		bool is_there = false;
		long result = -EAGAIN;

		if (index_is_listed(tree, directory->ino))
			result = index_find(volume, directory, name, size, PROBES, &place);
		if (!result) {
			result = inode_get(volume, place.ino, inode);
			is_there = !result;
			if (result == -ENOENT)
				result = -EIO;
		}
		if (tree_is_same(tree, sequence)) {
			if (result != -EAGAIN)
				return result;
			break;
		}
		if (is_there)
			inode_put(volume, *inode);
	}
	return get_locked(volume, directory, name, size, inode);
}

/* A removed directory still names its parent. If that was removed as well, and its number given to another, then the
 * other was born after the directory went, which was its last change. */
static bool is_parent(const struct vol_inode *parent, const struct vol_inode *directory)
{
	const struct volume_time *born = &parent->record.born, *gone = &directory->record.changed;

	if (!is_directory(parent))
		return false;
	if (directory->record.nlink)
		return parent->record.nlink != 0;
	return born->seconds < gone->seconds || (born->seconds == gone->seconds && born->nanoseconds <= gone->nanoseconds);
}

static long get_parent(struct volume *volume, struct vol_inode *directory, struct vol_inode **parent)
{
	long result = inode_get(volume, __atomic_load_n(&directory->record.parent, __ATOMIC_RELAXED), parent);

	if (result == -ENOENT)
		return directory->record.nlink ? -EIO : -ENOENT;
	VOL_TRY(result);
	if (is_parent(*parent, directory))
		return 0;
	inode_put(volume, *parent);
	return directory->record.nlink ? -EIO : -ENOENT;
}

long tree_parent(struct volume *volume, struct vol_inode *directory, struct vol_inode **parent)
{
	struct names_tree *tree = tree_of(volume);
	uint32_t sequence;
	long result;

	for (int i = 0; i < LOOKS && tree_look(tree, &sequence); i++) {
		result = get_parent(volume, directory, parent);
		if (tree_is_same(tree, sequence))
			return result;
		if (!result)
			inode_put(volume, *parent);
	}
	VOL_TRY(names_lock(volume));
	result = get_parent(volume, directory, parent);
	names_unlock(volume);
	return result;
}
