/*
 * core_kill.c SEED ROUNDS KILLS: processes that share an arena are killed at random moments; the others go on.
 *
 * Owns: nothing. Must never: take a half written chunk of a killed write for damage. Used by: test_core.py.
 *
 * Each worker writes whole chunks of its own file, all words of a chunk the number of the write. What it noted as written before it
 * was killed must be there, in memory and (if a commit returned meanwhile) on the disk; a chunk that was being written may be
 * anything of old and new.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core_disk.h"

enum { WORKERS = 4, CHUNKS = 400, WORDS = VOLUME_BLOCK / 8, PATIENCE_S = 60 };

struct work {
	uint64_t ino;
	uint64_t written[CHUNKS], durable[CHUNKS], number;
	uint8_t  is_loose[CHUNKS];	/* was being written by one who was killed */
	int32_t  in_flight, count;	/* chunks; -1: none */
};

static struct work *works;
static struct disk *disk, *cut;
static struct volume volume;

static void write_chunks(struct work *work, struct vol_inode *inode, uint64_t *seed)
{
	static uint64_t words[8 * WORDS];
	int count = 1 + (int)dice(seed, 8), at = (int)dice(seed, (uint32_t)(CHUNKS - count));
	uint64_t number = ++work->number, end;

	for (int i = 0; i < count * WORDS; i++)
		words[i] = number;
	work->count = count;
	__atomic_store_n(&work->in_flight, at, __ATOMIC_SEQ_CST);
	TRUE(inode_write(&volume, inode, words, (uint64_t)count * VOLUME_BLOCK, (uint64_t)at * VOLUME_BLOCK, &end) ==
	     count * VOLUME_BLOCK);
	for (int i = at; i < at + count; i++) {
		work->written[i] = number;
		work->is_loose[i] = 0;
	}
	__atomic_store_n(&work->in_flight, -1, __ATOMIC_SEQ_CST);
}

static void commit(struct work *work)
{
	static uint64_t before[CHUNKS];

	memcpy(before, work->written, sizeof before);
	OK(volume_commit(&volume));
	memcpy(work->durable, before, sizeof before);
}

/* Inodes that come and go, cuts, holes: for the locks and lists. */
static void churn(uint64_t *seed)
{
	static uint8_t bytes[100000];
	struct volume_record record = { .mode = 0100600 };
	struct vol_inode *inode;
	uint64_t end;

	OK(inode_new(&volume, &record, &inode));
	OK(inode_write(&volume, inode, bytes, 1 + dice(seed, sizeof bytes - 1), dice(seed, 3) * 600000, &end));
	OK(inode_truncate(&volume, inode, dice(seed, 40000)));
	OK(inode_punch(&volume, inode, 0, dice(seed, 20000)));
	inode_put(&volume, inode);
}

static void work_on(struct work *work, uint64_t seed)
{
	struct vol_inode *inode;

	alarm(PATIENCE_S);
	OK(inode_get(&volume, work->ino, &inode));
	for (;;) {
		uint32_t kind = dice(&seed, 40);

		if (kind == 0)
			commit(work);
		else if (kind == 1)
			OK(volume_maintain(&volume));
		else if (kind == 2 && dice(&seed, 8) == 0)
			OK(volume_checkpoint(&volume, false));
		else if (kind < 8)
			churn(&seed);
		else
			write_chunks(work, inode, &seed);
	}
}

static pid_t start(int at, uint64_t seed)
{
	pid_t pid = fork();

	TRUE(pid >= 0);
	if (pid == 0)
		work_on(&works[at], seed);
	return pid;
}

static void end(pid_t pid, struct work *work)
{
	int status;

	kill(pid, SIGKILL);
	TRUE(waitpid(pid, &status, 0) == pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_test(__FILE__, __LINE__, "a worker ended by itself", status);
	for (int i = work->in_flight; work->in_flight >= 0 && i < work->in_flight + work->count; i++)
		work->is_loose[i] = 1;
	work->in_flight = -1;
}

static void make_files(void)
{
	for (int i = 0; i < WORKERS; i++) {
		struct volume_record record = { .mode = 0100600 };
		struct vol_inode *inode;

		OK(inode_new(&volume, &record, &inode));
		inode->record.nlink = 1;
		inode_changed(&volume, inode);
		memset(&works[i], 0, sizeof works[i]);
		works[i].ino = inode->ino;
		works[i].in_flight = -1;
		inode_put(&volume, inode);
	}
	OK(volume_commit(&volume));
}

/* Every chunk is what it was `at_least`, or newer. */
static void judge(struct volume *of, const struct work *work, const uint64_t *at_least, bool is_exact)
{
	static uint64_t words[WORDS];
	struct vol_inode *inode;

	OK(inode_get(of, work->ino, &inode));
	for (int i = 0; i < CHUNKS; i++) {
		long size = inode_read(of, inode, words, sizeof words, (uint64_t)i * VOLUME_BLOCK);

		OK(size);
		memset((char *)words + size, 0, sizeof words - (uint64_t)size);
		for (int k = 0; k < WORDS && !work->is_loose[i]; k++)
			if (words[k] < at_least[i] || (is_exact && words[k] != at_least[i]) || words[k] != words[0])
				fail_test(__FILE__, i, is_exact ? "memory differs" : "synced data is gone", (long)words[k]);
	}
	inode_put(of, inode);
}

static void mount(struct disk *of, struct volume *to)
{
	struct volume_shape shape = core_shape(false);
	struct volume_found found;

	shape.log_blocks = 512;
	*to = disk_volume(of);
	OK(volume_mount(to, &shape, core_key, &found));
}

static void round_of(int kills, uint64_t *seed)
{
	struct volume_shape shape = core_shape(false);
	pid_t pids[WORKERS];
	struct volume after;

	memset(disk->bytes, 0, disk->size);
	shape.log_blocks = 512;
	volume = disk_volume(disk);
	OK(volume_format(&volume, &shape, core_key, 0755, 0, 0));
	volume_end(&volume);
	mount(disk, &volume);
	make_files();
	for (int i = 0; i < WORKERS; i++)
		pids[i] = start(i, *seed += 7919);
	for (int i = 0; i < kills; i++) {
		struct timespec pause = { 0, dice(seed, 3000000) };
		int at = (int)dice(seed, WORKERS);

		nanosleep(&pause, NULL);
		end(pids[at], &works[at]);
		pids[at] = start(at, *seed += 7919);
	}
	for (int i = 0; i < WORKERS; i++)
		end(pids[i], &works[i]);
	memcpy(cut->bytes, disk->bytes, disk->size);
	cut->size = disk->size;
	for (int i = 0; i < WORKERS; i++)
		judge(&volume, &works[i], works[i].written, true);
	OK(volume_commit(&volume));
	volume_end(&volume);
	mount(disk, &after);
	for (int i = 0; i < WORKERS; i++)
		judge(&after, &works[i], works[i].written, true);
	OK(volume_checkpoint(&after, true));
	volume_end(&after);
	mount(cut, &after);
	for (int i = 0; i < WORKERS; i++)
		judge(&after, &works[i], works[i].durable, false);
	volume_end(&after);
}

int main(int argc, char **argv)
{
	uint64_t seed = (uint64_t)atol(argv[1]);
	int rounds = atoi(argv[2]), kills = atoi(argv[3]);

	(void)argc;
	works = shared(sizeof *works * WORKERS);
	disk = disk_new();
	cut = disk_new();
	for (int i = 0; i < rounds; i++)
		round_of(kills, &seed);
	printf("%d rounds, %d kills, %u reports\n", rounds, rounds * kills, disk->reports);
	return 0;
}
