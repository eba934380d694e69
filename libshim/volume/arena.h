/*
 * arena.h - what the arena holds: the one layout that all processes of a volume share.
 *
 * Owns: struct volume_arena, the sizes of its pools, bits in it. Must never: hold a pointer (processes map it anywhere). Pools
 * are sparse: an untouched page costs nothing. Used by: the files of the core, and no others.
 *
 * A process may be killed between any two stores. So lists and marks are ordered such that what is left is always good
 * enough: at worst a block or a slot that nobody uses until the next mount.
 */
#ifndef SCONE_VOLUME_ARENA_H
#define SCONE_VOLUME_ARENA_H

#include "inode.h"

/* As libc's; who links the core has them. */
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

enum {
	NODE_SLOTS      = 32768,	/* of any level; each of level 1 has a window */
	NODE_BUCKETS    = 65536,
	INODE_SLOTS     = 65536,
	INODE_BUCKETS   = 131072,
	INODES_MAX      = 1 << 26,	/* numbers */
	BLOCKS_MAX      = 1 << 28,	/* 1 TiB */
	FREED_MAX       = 1 << 24,	/* runs of blocks that wait to be free */
	STAGINGS        = 16,
	STAGING_BLOCKS  = VOLUME_FAN,
	BATCH_BLOCKS    = 128,		/* at most in a batch of the log */
	WINDOW          = VOLUME_FAN * VOLUME_BLOCK,
	TABLE_PER_CHUNK = VOLUME_BLOCK / 256,
};

enum vol_node_flags { NODE_CHANGED = 1, NODE_LOADING = 2, NODE_PLAIN = 4, NODE_MAPPED = 8 };

/* One bit for each of a node's 128 entries. */
struct mask { uint64_t word[2]; };

struct vol_node {
	struct vol_lock lock;
	uint32_t sequence;	/* odd while valid chunks change: who reads without the lock looks before and after */
	uint64_t ino, index;
	uint32_t level;
	uint32_t next;		/* in its hash bucket */
	uint32_t is_used;	/* else the slot is free, or being filled */
	uint32_t flags;		/* enum vol_node_flags */
	uint32_t referenced;	/* since the eviction's hand came by */
	uint32_t changes;	/* of entries: whether one changed while the node was saved */
	uint32_t touched;	/* chunks of the window that have memory, about */
	uint32_t reserved;
	struct mask valid;	/* chunks whose bytes stand in the window */
	struct mask dirty;	/* whose bytes are newer than the entry */
	struct mask unlogged;	/* whose entry is newer than the log */
	struct mask logging;	/* whose entry is in a commit that is under way, or that somebody died in */
	struct mask streamed;	/* that were read past the cache: read again they get into it */
};
_Static_assert(sizeof(struct vol_node) == 136, "layout");

enum vol_inode_flags { INODE_UNLOGGED = 1, INODE_LOGGING = 2, INODE_CHANGED = 4, INODE_CUTTING = 8 };

struct block_run { uint32_t block, count; };

/* Blocks that were taken for what a staging buffer holds (or, the last one, the log's buffer), until something names them: so many of
 * `run` are named by now; is_placing: one more may be. Who is killed meanwhile leaves this, and the others are taken back. */
struct block_use { struct block_run run; uint32_t named, is_placing; };

/* Blocks that become free with the next commit (or checkpoint): from head to mark when the one under way is durable, from mark
 * on with the one after it. */
struct freed { uint64_t head, mark, tail; };

enum freed_kind { FREED_BY_COMMIT, FREED_BY_CHECKPOINT, FREED_KINDS };

struct volume_arena {
	uint32_t is_mounted;
	uint32_t is_broken;	/* a sync failed: nothing can be promised any more */
	uint32_t is_readonly, is_plain;
	uint32_t is_quiet;	/* a mount replays: nothing is freed, it finds out itself what is used */
	uint32_t cipher;	/* enum cipher_kind */
	uint32_t log_blocks, batch_blocks;
	uint64_t cache_size;	/* in chunks */
	uint64_t nonce_low;
	uint32_t nonce_high;
	uint32_t reserved;
	uint8_t  volume_id[16];
	uint8_t  key[2048] __attribute__((aligned(64)));	/* struct gcm_key_data */

	/* counters, read by counter() (spare: chunks' memory in free slots): right but for what killed processes left; a maintainer counts anew */
	uint64_t cached, spare, dirty, changed_nodes, changed_inodes, inodes_used;
	int64_t  scanned;	/* seconds; when mapped windows were last looked at */
	int64_t  waiting_since;	/* seconds; when the oldest change that isn't committed was made. 0: none */

	struct vol_lock commit;
	uint64_t commits_begun, commits_done;	/* numbers of commits: the last that began, and that ended well */
	uint32_t log_is_broken;		/* a commit ended half way: the log can't be appended to, only a checkpoint helps */
	uint32_t log_head, log_used;	/* in blocks of the log's area */
	uint32_t durable_sequence;	/* odd while the next two change */
	uint64_t version;		/* the last that was given to a batch or checkpoint */
	uint64_t durable_version;
	uint8_t  durable_tag[VOLUME_TAG_SIZE];
	uint64_t checkpoint_sequence;
	uint32_t kept_head, block_highest;	/* a mount's: where the last commit stands; one more than the highest block named */
	uint64_t kept_version, kept_end;
	uint8_t  kept_tag[VOLUME_TAG_SIZE];

	struct vol_lock blocks;		/* of what is next */
	uint32_t block_count;		/* of the container, as far as it is known */
	uint32_t block_free;
	uint32_t lowest, lowest_word;	/* no free block (no 64 of them) before it */
	uint32_t next_run, runs;	/* where the last few adjacent ones were found; how many such there were */
	struct freed freed[FREED_KINDS];
	uint32_t is_taking, taking_for;	/* what the allocator's holder is doing: the next one ends it, if this one was killed */
	uint32_t is_releasing, releasing_kind;
	struct block_run taking, releasing;
	uint64_t releasing_head;
	struct block_use block_use[STAGINGS + 1];

	struct vol_lock inodes;		/* of the inodes' list and numbers */
	uint32_t inode_hand;
	uint64_t inode_generation;	/* counts evictions */
	uint64_t ino_lowest;
	struct vol_lock nodes;		/* of the nodes' list */
	uint32_t node_hand, flush_hand;
	uint32_t node_end;		/* no slot from there on was ever used */
	uint32_t windows;		/* 1: one was mapped since the mount */
	struct vol_inode table;		/* the inode table's own */
	struct vol_lock staging[STAGINGS];

	uint64_t node_taken[NODE_SLOTS / 64];	/* slots that are used, or being filled */
	uint64_t node_pending[NODE_SLOTS / 64];	/* nodes with dirty or unlogged chunks */
	uint64_t node_changed[NODE_SLOTS / 64];	/* nodes to be saved by the next checkpoint */
	uint64_t inode_taken[INODE_SLOTS / 64];
	uint64_t inode_pending[INODE_SLOTS / 64];
	uint64_t inode_changed[INODE_SLOTS / 64];

	uint8_t  log_buffer[BATCH_BLOCKS * VOLUME_BLOCK] __attribute__((aligned(4096)));	/* the commit lock's */
	uint8_t  staging_bytes[STAGINGS][STAGING_BLOCKS * VOLUME_BLOCK] __attribute__((aligned(4096)));
	uint32_t inode_bucket[INODE_BUCKETS] __attribute__((aligned(4096)));
	uint32_t node_bucket[NODE_BUCKETS] __attribute__((aligned(4096)));
	struct vol_inode inode[INODE_SLOTS] __attribute__((aligned(4096)));
	struct vol_node node[NODE_SLOTS] __attribute__((aligned(4096)));
	struct volume_entry entry[NODE_SLOTS][VOLUME_FAN] __attribute__((aligned(4096)));
	uint64_t hash[NODE_SLOTS][VOLUME_FAN] __attribute__((aligned(4096)));	/* of mapped chunks, as last written */
	uint64_t used[BLOCKS_MAX / 64] __attribute__((aligned(4096)));
	uint64_t ino_used[INODES_MAX / 64] __attribute__((aligned(4096)));
	struct block_run freed_run[FREED_KINDS][FREED_MAX] __attribute__((aligned(4096)));
	uint8_t  region[VOL_REGION_COUNT][VOL_REGION_SIZE] __attribute__((aligned(4096)));
	uint8_t  window[NODE_SLOTS][WINDOW] __attribute__((aligned(4096)));
};

static inline bool bit_test(const uint64_t *bits, uint64_t at)
{
	return __atomic_load_n(&bits[at / 64], __ATOMIC_RELAXED) >> at % 64 & 1;
}

/* True if it was not set before. */
static inline bool bit_set(uint64_t *bits, uint64_t at)
{
	if (bit_test(bits, at))
		return false;
	return !(__atomic_fetch_or(&bits[at / 64], 1ULL << at % 64, __ATOMIC_ACQ_REL) >> at % 64 & 1);
}

/* True if it was set before. */
static inline bool bit_clear(uint64_t *bits, uint64_t at)
{
	return __atomic_fetch_and(&bits[at / 64], ~(1ULL << at % 64), __ATOMIC_ACQ_REL) >> at % 64 & 1;
}

static inline bool mask_test(const struct mask *mask, uint32_t at)
{
	return mask->word[at / 64] >> at % 64 & 1;
}

/* Stores are whole words, so that who reads without the lock never sees half a mask word. */
static inline void mask_set(struct mask *mask, uint32_t at)
{
	__atomic_store_n(&mask->word[at / 64], mask->word[at / 64] | 1ULL << at % 64, __ATOMIC_RELEASE);
}

static inline void mask_clear(struct mask *mask, uint32_t at)
{
	__atomic_store_n(&mask->word[at / 64], mask->word[at / 64] & ~(1ULL << at % 64), __ATOMIC_RELEASE);
}

static inline bool mask_any(const struct mask *mask)
{
	return mask->word[0] | mask->word[1];
}

static inline uint64_t mask_count(const struct mask *mask)
{
	uint64_t count = 0;

	for (int i = 0; i < 2; i++)
		for (uint64_t word = mask->word[i]; word; word &= word - 1)
			count++;
	return count;
}

/* A counter's value. Some stores of killed processes are missing, so it may be below zero: then it is taken for that. */
static inline uint64_t counter(const uint64_t *of)
{
	int64_t value = (int64_t)__atomic_load_n(of, __ATOMIC_RELAXED);

	return value < 0 ? 0 : (uint64_t)value;
}

/* The first set bit from `at` on, or `end`. */
uint64_t bits_next(const uint64_t *bits, uint64_t at, uint64_t end);

/* The first clear bit from `at` on, or `end`. */
uint64_t bits_next_clear(const uint64_t *bits, uint64_t at, uint64_t end);

/* How many are set. */
uint64_t bits_count(const uint64_t *bits, uint64_t end);

/* Takes it unless somebody has it. */
bool vol_try_lock(struct volume *volume, struct vol_lock *lock);

/* A buffer of STAGING_BLOCKS in trusted memory that only the holder uses: its number, to be given back. */
uint32_t staging_take(struct volume *volume);
void staging_give(struct volume *volume, uint32_t staging);

/* The lock's holder is dead. */
bool vol_lock_is_dead(struct volume *volume, const struct vol_lock *lock);

/* An empty arena (zeros) gets its shape, key and nonces. -EINVAL. */
VOL_NODISCARD long arena_make(struct volume *volume, const struct volume_shape *shape, const uint8_t *key);

/* What is said before every change: -EIO once a sync failed, -EROFS. */
VOL_NODISCARD long arena_may_change(const struct volume *volume);

/* Something waits for a commit from now on, unless it did before. */
void arena_waits(struct volume *volume);

#endif
