/*
 * core_disk.h - a disk of paper for tests of the core, and a model of what a volume should hold.
 *
 * Owns: struct disk: bytes in memory that processes share, a record of writes since the last sync, errors on demand; struct model.
 * Must never: judge. Used by: core_*.c.
 */
#ifndef CORE_DISK_H
#define CORE_DISK_H

#include "../../libshim/volume/inode.h"

enum { DISK_SIZE = 48 << 20, RECORD_SIZE = 64 << 20, WRITES_MAX = 1 << 16, SYNCS_MAX = 64, FILES = 8, FILE_SIZE = 1 << 20, LOG_BLOCKS = 32 };

/* One write: its bytes stand in disk->record. */
struct disk_write { uint64_t at, size, from; };

/* In shared memory. */
struct disk {
	uint64_t size;				/* of the container now */
	uint64_t limit;				/* -ENOSPC behind it */
	int64_t  fail_after;			/* so many calls go well; then one gives fail_errno. Negative: never */
	int32_t  fail_errno, fail_only_once;
	uint32_t is_recording, writes, syncs, reports, is_kept;
	uint64_t record_size, calls;
	uint32_t kept_syncs, sync_at[SYNCS_MAX];	/* while is_kept: after so many writes came a sync */
	struct disk_write write[WRITES_MAX];
	uint8_t  bytes[DISK_SIZE];		/* as the host's page cache has it */
	uint8_t  synced[DISK_SIZE];		/* as of the last sync, while recording */
	uint8_t  record[RECORD_SIZE];
};

struct model_file { uint64_t ino, size; uint8_t *bytes; uint32_t is_loose; };	/* loose: an error left it unknown */
struct model { struct model_file file[FILES]; };

/* Shared memory, zeros. */
void *shared(uint64_t size);
struct disk *disk_new(void);
void disk_record(struct disk *disk);

/* A volume on the disk with a new arena; the arena's memory goes by volume_end. */
struct volume disk_volume(struct disk *disk);
void volume_end(struct volume *volume);
struct volume_shape core_shape(bool is_plain);
extern const uint8_t core_key[32];

uint32_t dice(uint64_t *seed, uint32_t sides);
void fail_test(const char *file, int line, const char *what, long result);
#define OK(expression) do { long ok_ = (expression); if (ok_ < 0) fail_test(__FILE__, __LINE__, #expression, ok_); } while (0)
#define TRUE(expression) do { if (!(expression)) fail_test(__FILE__, __LINE__, #expression, 0); } while (0)

void model_copy(struct model *to, const struct model *from);
void model_free(struct model *model);

/* One random change, of volume and model alike. An error of the volume is given, and its model keeps what it held. */
long model_step(struct volume *volume, struct model *model, uint64_t *seed);

/* 0: the volume holds just that; else a number that says what differs. Negative: an error. */
long model_compare(struct volume *volume, const struct model *model);

#endif
