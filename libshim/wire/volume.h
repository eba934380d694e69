/*
 * volume.h - a volume's container on the host's disk.
 *
 * Owns: the layout of the container file (docs/volume.md has it with worked bytes), little endian, in blocks of 4 KiB. Must
 * never: hold a function, or a pointer. Used by: volume/; scone_preload/volume/format.py mirrors it, and a test compares
 * the two. The superblock (blocks 0 and 1) is Python's alone: keys are taken out of it before the core sees the container.
 */
#ifndef SCONE_WIRE_VOLUME_H
#define SCONE_WIRE_VOLUME_H

#include <stdint.h>

enum {
	VOLUME_BLOCK      = 4096,
	VOLUME_FAN        = 128,	/* entries a node */
	VOLUME_DIRECT     = 4,		/* entries in a record: a file of at most so many chunks has no node */
	VOLUME_HEIGHT_MAX = 5,		/* 1: 512 KiB, 2: 64 MiB, 3: 8 GiB, 4: 1 TiB, 5: 128 TiB */
	VOLUME_KEY_SIZE   = 32,
	VOLUME_NONCE_SIZE = 12,
	VOLUME_TAG_SIZE   = 16,
	VOLUME_NAME_MAX   = 255,
	VOLUME_TABLE_INO  = 0,		/* the inode table is a file itself; its record stands in the checkpoint */
	VOLUME_ROOT_INO   = 1,
	VOLUME_CHECKPOINT_BLOCK = 2,	/* and 3: the checkpoint with sequence s stands in block 2 + s % 2 */
	VOLUME_LOG_BLOCK  = 4,		/* the first of the log's; data blocks follow it */
};

/* Where a chunk or a node is, and what authenticates it. All zero: a hole, which reads as zeros. */
struct volume_entry {
	uint32_t block;		/* of the container; 16 TiB at most */
	uint8_t  nonce[VOLUME_NONCE_SIZE];
	uint8_t  tag[VOLUME_TAG_SIZE];
};
_Static_assert(sizeof(struct volume_entry) == 32, "disk layout");

/* What a chunk or node is, authenticated with it: AES-256-GCM's additional data. Level 0: data, 1: node over chunks, ... */
struct volume_place {
	uint64_t ino;
	uint64_t index;		/* of the chunk or node in its level; level << 56 is added to it */
};
_Static_assert(sizeof(struct volume_place) == 16, "disk layout");

struct volume_time { int64_t seconds; uint32_t nanoseconds, reserved; };
_Static_assert(sizeof(struct volume_time) == 16, "disk layout");

/* A record of the inode table: number n stands at n * 256. nlink 0 and mode 0: free. nlink 0 with a mode: an orphan, which
 * was open when the volume was last used; the next mount frees it. */
struct volume_record {
	uint32_t mode;		/* as st_mode */
	uint32_t nlink;
	uint32_t uid, gid;
	uint64_t size;		/* bytes */
	uint64_t chunks;	/* that are no holes */
	struct volume_time accessed, modified, changed, born;
	uint32_t device;	/* st_rdev of a device node */
	uint32_t generation;	/* how often the number was used */
	uint64_t parent;	/* of a directory: the inode that `..` is */
	uint8_t  height;	/* 0: entry[] are the first chunks; else entry[0] is the node over all, at this level */
	uint8_t  reserved[7];
	uint64_t reserved_2;
	struct volume_entry entry[VOLUME_DIRECT];
};
_Static_assert(sizeof(struct volume_record) == 256, "disk layout");

/* A record of a directory's contents: `size` bytes with padding to 8, never across a chunk's end. ino 0: unused room. */
struct volume_name {
	uint64_t ino;
	uint16_t size;		/* of the whole record: to the next one */
	uint8_t  name_size;
	uint8_t  type;		/* DT_REG ... */
	uint32_t reserved;
	/* the name follows, without NUL */
};
_Static_assert(sizeof(struct volume_name) == 16, "disk layout");

/* ---- sealed blocks: a head in the clear, authenticated with the sealed body behind it ---- */

enum { VOLUME_MAGIC_CHECKPOINT = 0x504b4353 /* "SCKP" */, VOLUME_MAGIC_LOG = 0x474f4c53 /* "SLOG" */ };

struct volume_seal {
	uint32_t magic;
	uint32_t size;		/* of the body, which follows the seal: bytes. magic, size and version are additional data; a
				 * batch's has the tag of the batch or checkpoint before it as well */
	uint64_t version;	/* counts checkpoints and batches of the volume's whole life; a batch's is one more than that before */
	uint8_t  nonce[VOLUME_NONCE_SIZE];
	uint8_t  tag[VOLUME_TAG_SIZE];
	uint32_t reserved;
};
_Static_assert(sizeof(struct volume_seal) == 48, "disk layout");

/* The body of a checkpoint. */
struct volume_checkpoint {
	uint64_t sequence;	/* of checkpoints: block 2 + sequence % 2 */
	uint64_t log_at;	/* block of the log area, from 0, in which the first batch after this checkpoint stands, if any */
	uint64_t block_count;	/* no block from here on is in use */
	uint64_t seconds;	/* when */
	uint32_t is_clean;	/* 1: the volume was closed; there are no batches */
	uint32_t reserved;
	struct volume_record table;	/* of the inode table */
};
_Static_assert(sizeof(struct volume_checkpoint) == 40 + 256, "disk layout");

/*
 * A batch of the log: seal and body in as many whole blocks as it takes, the next batch in the block behind it (in block 0
 * of the area when it would not fit at the end). Its version is one more than that of the batch or checkpoint before.
 * The body is items, each a head and what its kind says. A commit is one or more batches; only the last has BATCH_LAST.
 */
struct volume_batch {
	uint32_t flags;		/* enum volume_batch_flags */
	uint32_t count;		/* of items */
};
_Static_assert(sizeof(struct volume_batch) == 8, "disk layout");

enum volume_batch_flags { BATCH_LAST = 1 };

enum volume_item_kind {
	ITEM_CHUNK = 1,		/* struct volume_item, u64 index, struct volume_entry: the chunk's new entry (a hole: all zero) */
	ITEM_INODE = 2,		/* struct volume_item, struct volume_record: all but height and entry[] of the inode's */
	ITEM_CUT   = 3,		/* struct volume_item, u64 index: chunks from this one on are holes */
};

struct volume_item {
	uint32_t kind;		/* enum volume_item_kind */
	uint32_t size;		/* of the whole item */
	uint64_t ino;
};
_Static_assert(sizeof(struct volume_item) == 16, "disk layout");

#endif
