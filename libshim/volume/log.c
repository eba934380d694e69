/*
 * log.c - the log: batches of changed entries and records, written in circles.
 *
 * Owns: how items become batches, where the next batch stands. Must never: write over a batch that a mount would replay, or
 * give two batches one version. Called by: commit.c, mount.c, with the commit lock held.
 */
#include "cipher.h"
#include "log.h"

enum { HEAD = sizeof(struct volume_seal) };

struct chunk_item { uint64_t index; struct volume_entry entry; };

static uint32_t room(const struct volume *volume)
{
	return volume->arena->batch_blocks * VOLUME_BLOCK - HEAD;
}

static uint8_t *body(struct volume *volume)
{
	return volume->arena->log_buffer + HEAD;
}

static uint32_t blocks_of(uint32_t size)
{
	return (HEAD + size + VOLUME_BLOCK - 1) / VOLUME_BLOCK;
}

void log_begin(struct volume *volume, struct log_writer *writer)
{
	*writer = (struct log_writer){ .head = volume->arena->log_head, .used = volume->arena->log_used,
				       .size = sizeof(struct volume_batch) };
	memcpy(writer->tag, volume->arena->durable_tag, sizeof writer->tag);	/* what the log has is durable: see log_is_broken */
}

long log_add(struct volume *volume, struct log_writer *writer, enum volume_item_kind kind, uint64_t ino, const void *item,
	     uint32_t size)
{
	struct volume_item head = { kind, (uint32_t)sizeof head + size, ino };

	if (writer->size + head.size > room(volume)) {
		long result = log_write(volume, writer, false);

		if (result)
			return result;
	}
	memcpy(body(volume) + writer->size, &head, sizeof head);
	memcpy(body(volume) + writer->size + sizeof head, item, size);
	writer->size += head.size;
	writer->count++;
	return 0;
}

long log_chunk(struct volume *volume, struct log_writer *writer, uint64_t ino, uint64_t index, const struct volume_entry *entry)
{
	struct chunk_item item = { index, *entry };

	return log_add(volume, writer, ITEM_CHUNK, ino, &item, sizeof item);
}

/* A batch that does not fit before the area's end stands at its beginning. */
long log_write(struct volume *volume, struct log_writer *writer, bool is_last)
{
	struct volume_arena *arena = volume->arena;
	struct volume_batch batch = { is_last ? BATCH_LAST : 0, writer->count };
	uint32_t blocks = blocks_of(writer->size), at = writer->head + blocks > arena->log_blocks ? 0 : writer->head;
	uint32_t skipped = at == writer->head ? 0 : arena->log_blocks - writer->head;
	struct volume_seal seal = { .magic = VOLUME_MAGIC_LOG, .size = writer->size };

	if (writer->used + skipped + blocks > arena->log_blocks)
		return LOG_FULL;
	__atomic_store_n(&arena->log_is_broken, 1, __ATOMIC_RELEASE);
	seal.version = ++arena->version;
	memcpy(body(volume), &batch, sizeof batch);
	memset(body(volume) + writer->size, 0, (uint64_t)blocks * VOLUME_BLOCK - HEAD - writer->size);
	cipher_begin(volume);
	cipher_seal_body(volume, &seal, writer->tag, body(volume), writer->size);
	cipher_end(volume);
	memcpy(arena->log_buffer, &seal, sizeof seal);
	VOL_TRY(volume->host->write(volume->context, arena->log_buffer, (uint64_t)blocks * VOLUME_BLOCK,
				    (uint64_t)(VOLUME_LOG_BLOCK + at) * VOLUME_BLOCK));
	writer->head = at + blocks;
	writer->used += skipped + blocks;
	writer->version = seal.version;
	memcpy(writer->tag, seal.tag, sizeof seal.tag);
	writer->size = sizeof batch;
	writer->count = 0;
	return 0;
}

/* Reads one at that block: 1 if it is the one of that version, behind the one with that tag. */
static long read_at(struct volume *volume, uint32_t at, uint64_t version, const uint8_t *before, struct volume_seal *seal)
{
	struct volume_arena *arena = volume->arena;
	uint64_t place = (uint64_t)(VOLUME_LOG_BLOCK + at) * VOLUME_BLOCK;
	bool is_right;

	if (at >= arena->log_blocks)
		return 0;
	VOL_TRY(volume->host->read(volume->context, arena->log_buffer, VOLUME_BLOCK, place));
	memcpy(seal, arena->log_buffer, sizeof *seal);
	if (seal->magic != VOLUME_MAGIC_LOG || seal->version != version || seal->size < sizeof(struct volume_batch) ||
	    seal->size > BATCH_BLOCKS * VOLUME_BLOCK - HEAD || blocks_of(seal->size) > arena->log_blocks - at)
		return 0;
	if (blocks_of(seal->size) > 1)
		VOL_TRY(volume->host->read(volume->context, arena->log_buffer + VOLUME_BLOCK,
					   (uint64_t)(blocks_of(seal->size) - 1) * VOLUME_BLOCK, place + VOLUME_BLOCK));
	cipher_begin(volume);
	is_right = cipher_open_body(volume, seal, before, body(volume), seal->size);
	cipher_end(volume);
	return is_right;
}

long log_read(struct volume *volume, struct log_place *place, const struct volume_batch **batch, uint32_t *size)
{
	struct volume_seal seal;
	uint32_t at = place->head;
	long result = read_at(volume, at, place->version, place->tag, &seal);

	if (result == 0 && at) {
		at = 0;
		result = read_at(volume, at, place->version, place->tag, &seal);
	}
	if (result <= 0)
		return result < 0 ? -EIO : 0;
	*batch = (const struct volume_batch *)body(volume);
	*size = seal.size;
	place->head = at + blocks_of(seal.size);
	place->version++;
	memcpy(place->tag, seal.tag, sizeof seal.tag);
	return 1;
}

static uint32_t size_of(uint32_t kind)
{
	switch (kind) {
	case ITEM_CHUNK:
		return sizeof(struct volume_item) + sizeof(struct chunk_item);
	case ITEM_INODE:
		return sizeof(struct volume_item) + sizeof(struct volume_record);
	case ITEM_CUT:
		return sizeof(struct volume_item) + sizeof(uint64_t);
	default:
		return 0;
	}
}

const struct volume_item *log_item(const struct volume_batch *batch, uint32_t size, uint32_t *at, bool *is_wrong)
{
	const struct volume_item *item;

	*at = *at ? *at : sizeof *batch;
	if (*at == size)
		return NULL;
	item = (const struct volume_item *)((const uint8_t *)batch + *at);
	if (size - *at < sizeof *item || item->size > size - *at || item->size != size_of(item->kind)) {
		*is_wrong = true;
		return NULL;
	}
	*at += item->size;
	return item;
}
