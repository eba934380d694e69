/*
 * file_load.c - loads for a directory: reads and writes of one big file, appends, names.
 *
 * Owns: DIRECTORY/data, which `prepare` makes, and files beside it. Must never: take a short read or write for a whole one.
 * Called by: scone_preload/bench/files.py. Usage: file_load KIND DIRECTORY MIB; slices.h has what follows.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "slices.h"

enum { PIECE = 4096, MIB = 1 << 20, APPEND = 100, SLICE_MIB = 64 };

static char bytes[MIB] __attribute__((aligned(4096)));
static char data_path[4096], other_path[4096];
static int data, other = -1;
static uint64_t pieces;		/* of the data file: a power of two */
static uint64_t at, in_slice;	/* operations so far: at all, in this slice */

static void begin(void) { in_slice = 0; }

/* Every number below `pieces` once, in an order that no read-ahead follows. */
static uint64_t scattered(uint64_t index)
{
	index = (index * 0x9e3779b1 + 0x7f4a7c15) & (pieces - 1);
	index ^= index >> 7;
	return (index * 0x85ebca6b) & (pieces - 1);
}

static int read_piece(uint64_t piece)
{
	if (pread(data, bytes, PIECE, (off_t)(piece * PIECE)) != PIECE)
		fail("pread");
	return 0;
}

static int write_piece(uint64_t piece)
{
	memcpy(bytes, &at, sizeof(at));
	if (pwrite(data, bytes, PIECE, (off_t)(piece * PIECE)) != PIECE)
		fail("pwrite");
	return 0;
}

static int read_any(void)   { return read_piece(random_next() & (pieces - 1)); }
static int write_any(void)  { at++; return write_piece(random_next() & (pieces - 1)); }
static int read_once(void)  { return at == pieces ? SLICE_END : read_piece(scattered(at++)); }
static int write_once(void) { return at == pieces ? SLICE_END : write_piece(scattered(at++)); }

static int read_mib(void)
{
	if (pread(data, bytes, MIB, (off_t)(at++ * MIB % (pieces * PIECE))) != MIB)
		fail("pread");
	return 0;
}

static int read_mib_once(void)
{
	return at == pieces * PIECE / MIB || in_slice++ == SLICE_MIB ? SLICE_END : read_mib();
}

static void open_other(void)
{
	begin();
	other = open(other_path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (other < 0)
		fail(other_path);
}

static int write_mib(void)
{
	if (in_slice++ == SLICE_MIB)
		return SLICE_END;
	memcpy(bytes, &in_slice, sizeof(in_slice));
	if (write(other, bytes, MIB) != MIB)
		fail("write");
	return 0;
}

static void sync_data(void)
{
	if (fdatasync(data) != 0)
		fail("fdatasync");
}

static void sync_other(void)
{
	if (fdatasync(other) != 0)
		fail("fdatasync");
}

static void remove_other(void)
{
	if (close(other) != 0 || unlink(other_path) != 0)
		fail(other_path);
}

static int append(void)
{
	if (write(other, bytes, APPEND) != APPEND || fdatasync(other) != 0)
		fail("append");
	return 0;
}

static int create(void)
{
	int fd = open(other_path, O_CREAT | O_EXCL | O_WRONLY, 0600);

	if (fd < 0 || close(fd) != 0 || unlink(other_path) != 0)
		fail("create");
	return 0;
}

static int open_close(void)
{
	int fd = open(data_path, O_RDONLY);

	if (fd < 0 || close(fd) != 0)
		fail("open");
	return 0;
}

static int stat_data(void)
{
	struct stat state;

	if (stat(data_path, &state) != 0 || (uint64_t)state.st_size != pieces * PIECE)
		fail("stat");
	return 0;
}

static const struct load loads[] = {
	{ .name = "read",       .step = read_any,      .batch = 16 },
	{ .name = "read-once",  .step = read_once,     .batch = 1 },	/* each piece at most once in the program's life */
	{ .name = "write",      .step = write_any,     .batch = 16 },
	{ .name = "write-once", .step = write_once,    .batch = 1, .finish = sync_data },
	{ .name = "seq-read",   .step = read_mib,      .batch = 1 },
	{ .name = "seq-once",   .step = read_mib_once, .batch = 1, .begin = begin },
	{ .name = "seq-write",  .step = write_mib,     .batch = 1, .begin = open_other, .tidy = remove_other },
	{ .name = "seq-sync",   .step = write_mib,     .batch = 1, .begin = open_other, .finish = sync_other, .tidy = remove_other },
	{ .name = "append",     .step = append,        .batch = 1, .begin = open_other, .tidy = remove_other },
	{ .name = "create",     .step = create,        .batch = 4 },
	{ .name = "open",       .step = open_close,    .batch = 8 },
	{ .name = "stat",       .step = stat_data,     .batch = 16 },
};

static int prepare(void)
{
	data = open(data_path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	for (uint64_t i = 0; i < pieces * PIECE / MIB; i++) {
		for (size_t j = 0; j < MIB / sizeof(uint64_t); j++)
			((uint64_t *)bytes)[j] = random_next();
		if (write(data, bytes, MIB) != MIB)
			fail(data_path);
	}
	sync_data();
	return 0;
}

/* So that the loads that are not "once" begin with all in the cache. Twice: a volume keeps what is read again. */
static void read_all(void)
{
	for (uint64_t i = 0; i < 2 * pieces * PIECE / MIB; i++)
		read_mib();
	at = 0;
}

int main(int argc, char **argv)
{
	pieces = argc == 4 ? strtoull(argv[3], NULL, 10) * MIB / PIECE : 0;
	if (!pieces || (pieces & (pieces - 1)))
		return 2;
	snprintf(data_path, sizeof(data_path), "%s/data", argv[2]);
	snprintf(other_path, sizeof(other_path), "%s/other", argv[2]);
	if (strcmp(argv[1], "prepare") == 0)
		return prepare();
	data = open(data_path, O_RDWR);
	if (data < 0)
		fail(data_path);
	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		if (strcmp(loads[i].name, argv[1]) != 0)
			continue;
		if (!strstr(argv[1], "once"))
			read_all();
		return serve(&loads[i]);
	}
	return 2;
}
