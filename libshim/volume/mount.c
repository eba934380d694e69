/*
 * mount.c - from a container to an arena.
 *
 * Owns: volume_mount, volume_format. Must never: change the container before all of it was checked. Called by: the runtime host,
 * scone-volume, tests.
 */
#include "blocks.h"
#include "cipher.h"
#include "commit.h"
#include "inodes.h"
#include "mount.h"
#include "node_pool.h"

enum { DIRECTORY = 0040000, MODE_MASK = 07777 };

/* Reads one of the two checkpoints: 1: it is right, 0: it is not ours, or torn, or zeros; *is_like: its head looks like one. */
static long read_checkpoint(struct volume *volume, uint32_t which, struct volume_seal *seal, struct volume_checkpoint *body,
			    bool *is_like)
{
	uint8_t *bytes = volume->arena->log_buffer;
	bool is_right;

	VOL_TRY(volume->host->read(volume->context, bytes, VOLUME_BLOCK, (VOLUME_CHECKPOINT_BLOCK + which) * VOLUME_BLOCK));
	memcpy(seal, bytes, sizeof *seal);
	memcpy(body, bytes + sizeof *seal, sizeof *body);
	if (seal->magic != VOLUME_MAGIC_CHECKPOINT || seal->size != sizeof *body)
		return 0;
	*is_like = true;
	cipher_begin(volume);
	is_right = cipher_open_body(volume, seal, NULL, body, sizeof *body);
	cipher_end(volume);
	return is_right && body->sequence % 2 == which;
}

static long find_checkpoint(struct volume *volume, struct volume_seal *seal, struct volume_checkpoint *body)
{
	struct volume_seal seals[2];
	struct volume_checkpoint bodies[2];
	long found[2];
	bool is_like = false;
	int newer;

	for (uint32_t i = 0; i < 2; i++) {
		found[i] = read_checkpoint(volume, i, &seals[i], &bodies[i], &is_like);
		if (found[i] < 0)
			volume->host->report(volume->context, 0, (VOLUME_CHECKPOINT_BLOCK + i) * VOLUME_BLOCK, VOLUME_BLOCK,
					     "a checkpoint can't be read");
		VOL_TRY(found[i]);
	}
	if (!found[0] && !found[1]) {
		volume->host->report(volume->context, 0, VOLUME_CHECKPOINT_BLOCK * VOLUME_BLOCK, 2 * VOLUME_BLOCK,
				     is_like ? "no checkpoint opens with this key" : "there is no checkpoint");
		return is_like ? -EKEYREJECTED : -EBADMSG;
	}
	newer = !found[0] || (found[1] && bodies[1].sequence > bodies[0].sequence);
	*seal = seals[newer];
	*body = bodies[newer];
	return 0;
}

/* What replay and survey left marked would be logged; the checkpoint that follows has it all. */
static void forget_marks(struct volume *volume)
{
	struct volume_arena *arena = volume->arena;

	for (uint64_t slot = 1; slot < INODE_SLOTS; slot++) {
		if (!bit_test(arena->inode_taken, slot))
			continue;
		arena->inode[slot].flags &= ~(uint32_t)(INODE_UNLOGGED | INODE_LOGGING | INODE_CUTTING);
		arena->inode[slot].cut = arena->inode[slot].cut_logging = 0;
	}
	for (uint64_t slot = 1; slot < arena->node_end; slot++) {
		struct vol_node *node = &arena->node[slot];
		struct vol_inode *inode = node->is_used ? inode_find(volume, node->ino) : NULL;

		if (!node->is_used)
			continue;
		node->unlogged = node->logging = (struct mask){ 0 };
		if (inode && node_is_plain(volume, inode))
			node->flags |= NODE_PLAIN;
		else if (inode)
			node->flags &= ~(uint32_t)NODE_PLAIN;
	}
	memset(arena->node_pending, 0, sizeof arena->node_pending);
	memset(arena->inode_pending, 0, sizeof arena->inode_pending);
	arena->waiting_since = 0;
}

static bool makes_sense(const struct volume *volume, const struct volume_checkpoint *body)
{
	return body->log_at < volume->arena->log_blocks && body->block_count <= BLOCKS_MAX;
}

static long take_in(struct volume *volume, const struct volume_seal *seal, const struct volume_checkpoint *body,
		    struct volume_found *found)
{
	struct volume_arena *arena = volume->arena;
	struct log_place place = { .head = (uint32_t)body->log_at, .version = seal->version + 1 };

	if (!makes_sense(volume, body))
		return -EBADMSG;
	arena->table.record = body->table;
	arena->checkpoint_sequence = body->sequence;
	blocks_begin(volume, (uint32_t)body->block_count);
	memcpy(place.tag, seal->tag, sizeof place.tag);
	arena->is_quiet = 1;
	VOL_TRY(replay_log(volume, &place, &found->batches));
	arena->block_count = arena->block_highest > arena->block_count ? arena->block_highest : arena->block_count;
	VOL_TRY(survey_all(volume));
	VOL_TRY(replay_keep(volume));
	arena->is_quiet = 0;
	forget_marks(volume);
	blocks_count(volume);
	found->version = place.version - 1;
	memcpy(found->tag, place.tag, sizeof found->tag);
	found->was_clean = body->is_clean && !found->batches;
	arena->log_head = place.head % arena->log_blocks;
	return 0;
}

/* Nothing is written: the first commit writes a checkpoint. Batches of a commit that was taken back, or that the host held back,
 * may still turn up; the next versions are above all that the mounts before can have used, so none ever counts as newer. */
long volume_mount(struct volume *volume, const struct volume_shape *shape, const uint8_t key[VOLUME_KEY_SIZE],
		  struct volume_found *found)
{
	struct volume_arena *arena = volume->arena;
	struct volume_seal seal;
	struct volume_checkpoint body;
	long result;

	*found = (struct volume_found){ 0 };
	VOL_TRY(arena_make(volume, shape, key));
	VOL_TRY(find_checkpoint(volume, &seal, &body));
	result = take_in(volume, &seal, &body, found);
	if (result == -EIO || result == -EBADMSG) {
		volume->host->report(volume->context, 0, 0, 0, "the volume's log or tree is damaged, or can't be read");
		return -EBADMSG;
	}
	VOL_TRY(result);
	arena->durable_version = found->version;
	memcpy(arena->durable_tag, found->tag, sizeof found->tag);
	arena->version = found->version | 0xffffffff;
	arena->log_is_broken = 1;
	arena->is_mounted = 1;
	return 0;
}

static long write_zeros(struct volume *volume, uint64_t from, uint64_t end)
{
	uint8_t *zeros = volume->arena->log_buffer;

	memset(zeros, 0, sizeof volume->arena->log_buffer);
	while (from < end) {
		uint64_t count = end - from < BATCH_BLOCKS ? end - from : BATCH_BLOCKS;

		VOL_TRY(volume->host->write(volume->context, zeros, count * VOLUME_BLOCK, from * VOLUME_BLOCK));
		from += count;
	}
	return 0;
}

static long make_root(struct volume *volume, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct volume_record record = { .mode = DIRECTORY | (mode & MODE_MASK), .uid = uid, .gid = gid,
					.parent = VOLUME_ROOT_INO };
	struct vol_inode *root;

	bit_set(volume->arena->ino_used, VOLUME_TABLE_INO);
	volume->arena->ino_lowest = VOLUME_ROOT_INO;
	VOL_TRY(inode_new(volume, &record, &root));
	root->record.nlink = 2;
	inode_changed(volume, root);
	inode_put(volume, root);
	return 0;
}

long volume_format(struct volume *volume, const struct volume_shape *shape, const uint8_t key[VOLUME_KEY_SIZE],
		   uint32_t mode, uint32_t uid, uint32_t gid)
{
	uint32_t first = VOLUME_LOG_BLOCK + shape->log_blocks, count = first + 64;

	VOL_TRY(arena_make(volume, shape, key));
	VOL_TRY(arena_may_change(volume));
	VOL_TRY(volume->host->grow(volume->context, (uint64_t)count * VOLUME_BLOCK));
	VOL_TRY(write_zeros(volume, VOLUME_CHECKPOINT_BLOCK, first));
	blocks_begin(volume, count);
	blocks_count(volume);
	VOL_TRY(make_root(volume, mode, uid, gid));
	return volume_checkpoint(volume, true);
}
