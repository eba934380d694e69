/*
 * name_index.c - which record of which directory has a name: a hash table in the arena, so that most lookups read one record.
 *
 * Owns: the table's slots behind struct names_tree, and names_tree.known. Must never: be believed without the directory's own
 * bytes, except that a name of a directory that is listed and isn't in it doesn't exist. Called by: names_tree.c, names_change.c.
 *
 * Open addressing, at most half full; a removal moves what follows up, so there are no marks of removed ones. It is never
 * repaired: whenever it may be wrong, or is full, it starts anew.
 */
#include "names_tree.h"

static struct index_slot *slots_of(const struct names_tree *tree)
{
	return (struct index_slot *)((uint8_t *)tree + INDEX_AT);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15) * (b ^ 0xe7037ed1a0b428db);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t index_hash(const struct names_tree *tree, uint64_t ino, const char *name, uint32_t size)
{
	uint64_t hash = mix(tree->seed ^ ino, tree->seed + size), word;

	for (; size >= 8; size -= 8, name += 8) {
		__builtin_memcpy(&word, name, 8);
		hash = mix(hash ^ word, tree->seed);
	}
	word = 0;
	for (uint32_t i = 0; i < size; i++)
		word |= (uint64_t)(uint8_t)name[i] << 8 * i;
	hash = mix(hash ^ word, ~tree->seed);
	return hash ? hash : 1;
}

static struct known *set_of(const struct names_tree *tree, uint64_t ino)
{
	return (struct known *)tree->known[mix(ino, 0) % KNOWN_SETS];
}

bool index_is_listed(const struct names_tree *tree, uint64_t ino)
{
	const struct known *set = set_of(tree, ino);

	for (int i = 0; i < KNOWN_WAYS; i++)
		if (set[i].ino == ino)
			return set[i].listed == tree->generation && tree->generation;
	return false;
}

struct known *index_known(struct names_tree *tree, uint64_t ino)
{
	struct known *set = set_of(tree, ino), *unused = NULL;

	for (int i = 0; i < KNOWN_WAYS; i++) {
		if (set[i].ino == ino)
			return &set[i];
		if (!set[i].ino && !unused)
			unused = &set[i];
	}
	if (!unused)
		unused = &set[tree->victim++ % KNOWN_WAYS];
	*unused = (struct known){ .ino = ino };
	return unused;
}

void index_forget(struct names_tree *tree, uint64_t ino)
{
	struct known *set = set_of(tree, ino);

	for (int i = 0; i < KNOWN_WAYS; i++)
		if (set[i].ino == ino)
			set[i] = (struct known){ 0 };
}

long index_find(struct volume *volume, struct vol_inode *directory, const char *name, uint32_t size, uint32_t limit,
		struct place *place)
{
	const struct names_tree *tree = tree_of(volume);
	const struct index_slot *slots = slots_of(tree);
	uint64_t hash = index_hash(tree, directory->ino, name, size), mask = (1UL << tree->index_bits) - 1;

	for (uint64_t i = 0; i < limit && i <= mask; i++) {
		const struct index_slot *slot = &slots[(hash + i) & mask];
		uint64_t found = __atomic_load_n(&slot->hash, __ATOMIC_RELAXED);
		long result;

		if (!found)
			return -ENOENT;
		if (found != hash)
			continue;
		place->position = __atomic_load_n(&slot->position, __ATOMIC_RELAXED);
		result = directory_match(volume, directory, place->position, name, size, &place->ino);
		if (result)
			return result < 0 ? result : 0;
	}
	return -EAGAIN;
}

void index_restart(struct volume *volume, uint32_t bits)
{
	struct names_tree *tree = tree_of(volume);

	while (!tree->seed)
		volume->host->random(volume->context, &tree->seed, sizeof tree->seed);
	if (!++tree->generation)
		tree->generation = 1;
	if (tree->index_bits)
		volume->host->forget(volume->context, slots_of(tree), sizeof(struct index_slot) << tree->index_bits);
	tree->index_bits = bits < INDEX_BITS_FIRST ? INDEX_BITS_FIRST : bits;
	tree->index_used = 0;
}

bool index_add(struct volume *volume, uint64_t hash, uint64_t position)
{
	struct names_tree *tree = tree_of(volume);
	struct index_slot *slots = slots_of(tree);
	uint64_t mask = (1UL << tree->index_bits) - 1, at = hash & mask;

	for (; slots[at].hash; at = (at + 1) & mask)
		if (slots[at].hash == hash && slots[at].position == position)
			return true;
	if (tree->index_used >= mask / 2) {
		index_restart(volume, tree->index_bits < INDEX_BITS_MAX ? tree->index_bits + 1 : INDEX_BITS_MAX);
		return false;
	}
	slots[at].position = position;
	slots[at].hash = hash;
	tree->index_used++;
	return true;
}

void index_remove(struct names_tree *tree, uint64_t hash, uint64_t position)
{
	struct index_slot *slots = slots_of(tree);
	uint64_t mask = (1UL << tree->index_bits) - 1, at = hash & mask, next;

	for (; slots[at].hash != hash || slots[at].position != position; at = (at + 1) & mask)
		if (!slots[at].hash)
			return;
	tree->index_used--;
	/* What follows, up to the next gap, moves up unless it would then stand before where its search begins. */
	for (next = (at + 1) & mask; slots[next].hash; next = (next + 1) & mask) {
		if (((next - slots[next].hash) & mask) < ((next - at) & mask))
			continue;
		slots[at] = slots[next];
		at = next;
	}
	slots[at] = (struct index_slot){ 0 };
}

/* false: the index started anew meanwhile. */
static long list_chunk(struct volume *volume, struct vol_inode *directory, uint64_t index, bool *is_whole)
{
	struct names_tree *tree = tree_of(volume);
	struct volume_name *entry;
	struct chunk chunk;
	long size;

	VOL_TRY(chunk_read(volume, directory, index, &chunk));
	for (uint32_t at = 0; at < VOLUME_BLOCK; at += (uint32_t)size) {
		size = chunk_record(&chunk, at, &entry);
		VOL_TRY(size);
		if (!entry->ino)
			continue;
		if (!index_add(volume, index_hash(tree, directory->ino, (char *)(entry + 1), entry->name_size),
			       index * VOLUME_BLOCK + at)) {
			*is_whole = false;
			return 0;
		}
	}
	return 0;
}

long index_list(struct volume *volume, struct vol_inode *directory)
{
	struct names_tree *tree = tree_of(volume);
	uint64_t count = directory_chunks(directory);
	bool is_whole = false;

	if (count > INDEXED_CHUNKS_MAX)
		return -EFBIG;
	for (int i = 0; i <= INDEX_BITS_MAX && !is_whole; i++) {
		is_whole = true;
		for (uint64_t index = 0; index < count && is_whole; index++)
			VOL_TRY(list_chunk(volume, directory, index, &is_whole));
	}
	if (!is_whole)
		return -EFBIG;
	index_known(tree, directory->ino)->listed = tree->generation;
	return 0;
}
