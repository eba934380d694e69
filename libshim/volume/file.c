/*
 * file.c - open files, shared by the processes of a volume.
 *
 * Owns: the table of struct vol_file, and which of them a file of the kernel's stands for. Must never: leave a file both in use
 * and among the unused, also when it is killed. Called by: enclave/volume_*.c, by file.h.
 */
#include "file_inner.h"

static struct vol_file *file_of(struct volume *volume, uint32_t number)
{
	return &files_of(volume)->files[number];
}

static struct files *files_lock(struct volume *volume)
{
	struct files *files = files_of(volume);

	vol_lock(volume, &files->lock);
	/* Words only: nothing of the store is needed, so it can't fail. */
	if (files->undo.used && undo_play(volume, &files->undo) < 0)
		__builtin_trap();
	return files;
}

static void files_unlock(struct volume *volume, struct files *files)
{
	undo_forget(&files->undo);
	vol_unlock(volume, &files->lock);
}

static void change(struct volume *volume, struct files *files, uint32_t *word, uint32_t value)
{
	undo_word(volume, &files->undo, word);
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint32_t *place_of(struct files *files, uint64_t device, uint64_t number)
{
	return &files->places[((number ^ device << 32) * SPREAD >> 32) % PLACES];
}

long file_new(struct volume *volume, struct vol_inode *inode, struct vol_inode *directory, uint32_t flags,
	      struct vol_file **file)
{
	struct files *files = files_lock(volume);
	uint32_t number = files->unused;
	struct vol_file *found;

	if (!number && files->used_to == FILES_MAX - 1) {
		files_unlock(volume, files);
		return -ENFILE;
	}
	if (number)
		change(volume, files, &files->unused, files->files[number].next_by_place);
	else
		change(volume, files, &files->used_to, number = files->used_to + 1);
	found = file_of(volume, number);
	if (directory)
		inode_share(directory);
	*found = (struct vol_file){ .flags = flags, .number = number, .inode = inode_index(volume, inode),
				    .directory = directory ? inode_index(volume, directory) : 0 };
	change(volume, files, &found->users, 1);
	files_unlock(volume, files);
	*file = found;
	return 0;
}

/* Out of the list of its place, if it is in it. */
static void place_leave(struct volume *volume, struct files *files, struct vol_file *file)
{
	uint32_t *at = place_of(files, file->place_device, file->place_number);

	if (!file->place_device && !file->place_number)
		return;
	while (*at && *at != file->number)
		at = &files->files[*at].next_by_place;
	if (*at)
		change(volume, files, at, file->next_by_place);
}

void file_place(struct volume *volume, struct vol_file *file, uint64_t device, uint64_t number)
{
	struct files *files = files_lock(volume);
	uint32_t *at = place_of(files, device, number);

	place_leave(volume, files, file);
	undo_forget(&files->undo);
	file->place_device = device;
	file->place_number = number;
	if (device || number) {
		change(volume, files, &file->next_by_place, *at);
		change(volume, files, at, file->number);
	}
	files_unlock(volume, files);
}

struct vol_file *file_at_place(struct volume *volume, uint64_t device, uint64_t number)
{
	struct files *files = files_lock(volume);
	struct vol_file *found = NULL;

	for (uint32_t at = *place_of(files, device, number); at && !found; at = files->files[at].next_by_place)
		if (files->files[at].place_device == device && files->files[at].place_number == number)
			found = &files->files[at];
	if (found)
		file_share(found);
	files_unlock(volume, files);
	return found;
}

void file_share(struct vol_file *file)
{
	__atomic_fetch_add(&file->users, 1, __ATOMIC_RELAXED);
}

/* One user less, unless it is the last. */
static bool put_other(struct vol_file *file)
{
	uint32_t users = __atomic_load_n(&file->users, __ATOMIC_RELAXED);

	while (users > 1)
		if (__atomic_compare_exchange_n(&file->users, &users, users - 1, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return true;
	return false;
}

void file_put(struct volume *volume, struct vol_file *file)
{
	struct vol_inode *inode = file_inode(volume, file), *directory = file_directory(volume, file);
	struct files *files;

	if (put_other(file))
		return;
	files = files_lock(volume);
	if (put_other(file)) {		/* it was found by its place meanwhile */
		files_unlock(volume, files);
		return;
	}
	lock_release(volume, inode, file->number);
	place_leave(volume, files, file);
	change(volume, files, &file->users, 0);
	change(volume, files, &file->next_by_place, files->unused);
	change(volume, files, &files->unused, file->number);
	files_unlock(volume, files);
	inode_put(volume, inode);
	if (directory)
		inode_put(volume, directory);
}

struct vol_inode *file_inode(struct volume *volume, const struct vol_file *file)
{
	return inode_at(volume, file->inode);
}

struct vol_inode *file_directory(struct volume *volume, const struct vol_file *file)
{
	return file->directory ? inode_at(volume, file->directory) : NULL;
}
