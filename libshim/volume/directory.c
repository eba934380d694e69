/*
 * directory.c - the bytes of directories: records of names in chunks.
 *
 * Owns: how records lie in a chunk, where there is room for one. Must never: move a record (positions of getdents and the index
 * stay valid), or follow a size that was not checked. Called by: name_index.c, names_tree.c, names*.c.
 *
 * A removed name leaves its record, with number 0. Records of that kind that follow one another are made one when a new name
 * needs the room; a name also fits into what the record before it has too much.
 */
#include "names_tree.h"

enum { NAME_ALIGN = 8 };

uint64_t directory_chunks(const struct vol_inode *directory)
{
	return (__atomic_load_n(&directory->record.size, __ATOMIC_RELAXED) + VOLUME_BLOCK - 1) / VOLUME_BLOCK;
}

long chunk_read(struct volume *volume, struct vol_inode *directory, uint64_t index, struct chunk *chunk)
{
	long size = inode_read(volume, directory, chunk->bytes, VOLUME_BLOCK, index * VOLUME_BLOCK);

	VOL_TRY(size);
	if (size < VOLUME_BLOCK)
		plain_clear(chunk->bytes + size, (uint64_t)(VOLUME_BLOCK - size));
	return 0;
}

long chunk_record(struct chunk *chunk, uint32_t at, struct volume_name **entry)
{
	struct volume_name *found = (struct volume_name *)(chunk->bytes + at);

	*entry = found;
	if (at % NAME_ALIGN || at > VOLUME_BLOCK - CHUNK_HEAD)
		return -EIO;
	if (!found->ino && !found->size)
		found->size = (uint16_t)(VOLUME_BLOCK - at);	/* a hole */
	if (found->size < CHUNK_HEAD || found->size % NAME_ALIGN || found->size > VOLUME_BLOCK - at)
		return -EIO;
	if (found->ino && (!found->name_size || CHUNK_HEAD + found->name_size > found->size))
		return -EIO;
	return found->size;
}

long directory_match(struct volume *volume, struct vol_inode *directory, uint64_t position, const char *name, uint32_t size,
		     uint64_t *ino)
{
	struct { struct volume_name head; char name[VOLUME_NAME_MAX + 1]; } found;
	long got = inode_read(volume, directory, &found, CHUNK_HEAD + size, position);

	VOL_TRY(got);
	if (got < (long)(CHUNK_HEAD + size) || !found.head.ino || found.head.name_size != size ||
	    !plain_equal(found.name, name, size))
		return 0;
	*ino = found.head.ino;
	return 1;
}

long directory_scan(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size, struct place *place)
{
	uint64_t count = directory_chunks(directory);
	struct volume_name *entry;
	struct chunk chunk;
	long step;

	for (uint64_t index = 0; index < count; index++) {
		VOL_TRY(chunk_read(volume, directory, index, &chunk));
		for (uint32_t at = 0; at < VOLUME_BLOCK; at += (uint32_t)step) {
			step = chunk_record(&chunk, at, &entry);
			VOL_TRY(step);
			if (!entry->ino || entry->name_size != size || !plain_equal(entry + 1, name, size))
				continue;
			*place = (struct place){ .ino = entry->ino, .position = index * VOLUME_BLOCK + at };
			return 0;
		}
	}
	return -ENOENT;
}

static long put(struct volume *volume, struct vol_inode *directory, const void *bytes, uint32_t size, uint64_t at)
{
	long result;

	vol_lock(volume, &directory->lock);
	result = inode_write_locked(volume, directory, bytes, size, at);
	vol_unlock(volume, &directory->lock);
	VOL_TRY(result);
	return result == (long)size ? 0 : -EIO;
}

static uint32_t used_by(const struct volume_name *entry)
{
	return (uint32_t)(CHUNK_HEAD + entry->name_size + NAME_ALIGN - 1) & ~(uint32_t)(NAME_ALIGN - 1);
}

/* Room for a record: [from, from + size) is what will be written, the new record begins at `at` and has `room` bytes. */
struct room { uint32_t from, at, room; };

static long room_find(struct chunk *chunk, uint32_t need, struct room *room)
{
	struct volume_name *entry;
	uint32_t run = 0;		/* bytes of unused records up to `at` */
	long size;

	for (uint32_t at = 0; at < VOLUME_BLOCK; at += (uint32_t)size) {
		size = chunk_record(chunk, at, &entry);
		VOL_TRY(size);
		if (entry->ino) {
			uint32_t used = used_by(entry);

			run = 0;
			if ((uint32_t)size - used < need)
				continue;
			*room = (struct room){ .from = at, .at = at + used, .room = (uint32_t)size - used };
			return 0;
		}
		run += (uint32_t)size;
		if (run < need)
			continue;
		*room = (struct room){ .from = at + (uint32_t)size - run, .room = run };
		room->at = room->from;
		return 0;
	}
	return -ENOSPC;
}

/* Writes the record where room was found, and cuts the one before it, in one write. */
static long chunk_put(struct volume *volume, struct vol_inode *directory, uint64_t index, struct chunk *chunk,
		      const struct room *room, const struct volume_name *head, const char *name)
{
	uint32_t size = room->at + CHUNK_HEAD + head->name_size - room->from;
	struct volume_name *before = (struct volume_name *)(chunk->bytes + room->from),
			   *entry = (struct volume_name *)(chunk->bytes + room->at);

	undo_bytes(&tree_of(volume)->undo, directory, index * VOLUME_BLOCK + room->from, before, size);
	if (room->at != room->from)
		before->size = (uint16_t)(room->at - room->from);
	*entry = *head;
	entry->size = (uint16_t)room->room;
	plain_copy(entry + 1, name, head->name_size);
	return put(volume, directory, before, size, index * VOLUME_BLOCK + room->from);
}

/* A new chunk behind the last: all of it unused. If nothing comes of it, it stays. */
static long directory_grow(struct volume *volume, struct vol_inode *directory, uint64_t index, struct chunk *chunk)
{
	plain_clear(chunk->bytes, sizeof chunk->bytes);
	((struct volume_name *)chunk->bytes)->size = VOLUME_BLOCK;
	return put(volume, directory, chunk->bytes, VOLUME_BLOCK, index * VOLUME_BLOCK);
}

/* Which chunk has room for `need` bytes; `chunk` is what it holds. */
static long room_search(struct volume *volume, struct vol_inode *directory, uint32_t need, struct chunk *chunk,
			struct room *room, uint64_t *found)
{
	struct known *known = index_known(tree_of(volume), directory->ino);
	uint64_t count = directory_chunks(directory), index = known->room;
	long result = -ENOSPC;

	for (int tries = 0; index < count; index++) {
		if (tries++ == NO_ROOM_TRIES && index < count - 1)
			index = count - 1;
		VOL_TRY(chunk_read(volume, directory, index, chunk));
		result = room_find(chunk, need, room);
		if (result != -ENOSPC)
			break;
		if (index == known->room)
			known->room++;
	}
	VOL_TRY(result == -ENOSPC ? 0 : result);
	*found = index;
	if (index < count)
		return 0;
	VOL_TRY(directory_grow(volume, directory, index, chunk));
	return room_find(chunk, need, room);
}

long directory_add(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size,
		   const struct vol_inode *inode, uint64_t *position)
{
	struct volume_name head = { .ino = inode->ino, .name_size = (uint8_t)size,
				    .type = (uint8_t)((inode->record.mode & TYPE_MASK) >> 12) };
	struct chunk chunk;
	struct room room;
	uint64_t index;

	VOL_TRY(room_search(volume, directory, used_by(&head), &chunk, &room, &index));
	*position = index * VOLUME_BLOCK + room.at;
	return chunk_put(volume, directory, index, &chunk, &room, &head, name);
}

static long head_read(struct volume *volume, struct vol_inode *directory, uint64_t position, struct volume_name *head)
{
	long size = inode_read(volume, directory, head, CHUNK_HEAD, position);

	VOL_TRY(size);
	return size == CHUNK_HEAD ? 0 : -EIO;
}

long directory_remove(struct volume *volume, struct vol_inode *directory, uint64_t position)
{
	struct known *known = index_known(tree_of(volume), directory->ino);
	struct volume_name head;

	VOL_TRY(head_read(volume, directory, position, &head));
	undo_bytes(&tree_of(volume)->undo, directory, position, &head, CHUNK_HEAD);
	head.ino = 0;
	if (known->room > position / VOLUME_BLOCK)
		known->room = (uint32_t)(position / VOLUME_BLOCK);
	return put(volume, directory, &head, CHUNK_HEAD, position);
}

long directory_replace(struct volume *volume, struct vol_inode *directory, uint64_t position, const struct vol_inode *inode)
{
	struct volume_name head;

	VOL_TRY(head_read(volume, directory, position, &head));
	undo_bytes(&tree_of(volume)->undo, directory, position, &head, CHUNK_HEAD);
	head.ino = inode->ino;
	head.type = (uint8_t)((inode->record.mode & TYPE_MASK) >> 12);
	return put(volume, directory, &head, CHUNK_HEAD, position);
}

long directory_is_empty(struct volume *volume, struct vol_inode *directory)
{
	uint64_t count = directory_chunks(directory);
	struct volume_name *entry;
	struct chunk chunk;
	long size;

	for (uint64_t index = 0; index < count; index++) {
		VOL_TRY(chunk_read(volume, directory, index, &chunk));
		for (uint32_t at = 0; at < VOLUME_BLOCK; at += (uint32_t)size) {
			size = chunk_record(&chunk, at, &entry);
			VOL_TRY(size);
			if (entry->ino)
				return 0;
		}
	}
	return 1;
}

long directory_name_of(struct volume *volume, struct vol_inode *directory, uint64_t ino, char *name)
{
	uint64_t count = directory_chunks(directory);
	struct volume_name *entry;
	struct chunk chunk;
	long size;

	for (uint64_t index = 0; index < count; index++) {
		VOL_TRY(chunk_read(volume, directory, index, &chunk));
		for (uint32_t at = 0; at < VOLUME_BLOCK; at += (uint32_t)size) {
			size = chunk_record(&chunk, at, &entry);
			VOL_TRY(size);
			if (entry->ino != ino)
				continue;
			plain_copy(name, entry + 1, entry->name_size);
			return entry->name_size;
		}
	}
	return -ENOENT;
}
