/*
 * oracle.c - random operations of several processes in two directories, which must not differ in anything that is seen.
 *
 * Owns: the workers (processes that share what was open when they were forked, and take turns), the choices, the comparison.
 * Must never: give up silently; a difference names seed, turn and operation, and ends all with status 1.
 * Run by: test_oracle.py, wrapped, one directory in a volume and one on the disk. Usage: oracle DIR DIR SEED TURNS WORKERS.
 *
 *   coordinator ── turn ──► worker w (some process): choose(seed, turn), do it on side 0, on side 1, compare ── byte ──► coordinator
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "oracle.h"

enum { WORKERS_MAX = 8, DEPTH_MAX = 64, TREE_EVERY = 400, RESPAWN_EVERY = 150, BIG = 4 << 20 };

static struct worker { pid_t pid; int to, from; } workers[WORKERS_MAX];
static uint64_t seed, turn, random_state;
static time_t begun;
static struct choice choice;
static const struct operation *operation;

static uint64_t draw(uint64_t below)
{
	random_state += 0x9e3779b97f4a7c15;
	uint64_t x = random_state;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return (x ^ (x >> 31)) % below;
}

static void differ(const char *what, long one, long other)
{
	fprintf(stderr, "DIFFERENT: %s: %ld, %ld\n  seed %lu turn %lu pid %d: %s slot %d %d map %d flags %o how %d mode %o at %ld"
		" size %zu fill %u path '%s' path_2 '%s'\n", what, one, other, seed, turn, getpid(), operation->name, choice.slot,
		choice.slot_2, choice.map, choice.flags, choice.how, choice.mode, choice.at, choice.size, choice.fill, choice.path,
		choice.path_2);
	exit(1);
}

/* A path of few names, so that they meet. */
static void choose_path(char *path)
{
	static const char *const odd[] = { "", ".", "./", "a//b", "a/.", "a/..", "a/../b", "b/", "a/b/", "c/./d" };
	int depth = 1 + (int)draw(3);

	path[0] = 0;
	if (draw(20) == 0 && !getenv("ORACLE_EASY")) {
		strcpy(path, odd[draw(sizeof(odd) / sizeof(odd[0]))]);
		return;
	}
	if (draw(200) == 0 && !getenv("ORACLE_EASY")) {
		memset(path, 0, PATH_SIZE);
		memset(path, 'n', 255 + draw(2));	/* the longest name, or one more */
		return;
	}
	for (int i = 0; i < depth; i++) {
		int is_inner = i + 1 < depth && draw(8);	/* d, e, f are directories, mostly */
		char name[2] = { (char)(is_inner ? 'd' + draw(3) : 'a' + draw(6)), 0 };

		strcat(strcat(path, i ? "/" : ""), name);
	}
}

/* One that has a file, mostly. */
static int choose_slot(void)
{
	int slot = (int)draw(SLOTS);

	for (int i = 0; i < 4 && slots[slot][0] < 0; i++)
		slot = (int)draw(SLOTS);
	return slot;
}

static int64_t choose_offset(void)
{
	static const int64_t edges[] = { 0, 4096, 16384, 524288 };	/* where a volume's files change their shape */
	uint64_t kind = draw(100);

	if (kind < 40)
		return (int64_t)draw(20000);
	if (kind < 60)
		return edges[draw(4)] + (int64_t)draw(3) * (draw(2) ? 1 : 4096);
	return (int64_t)draw(kind < 99 ? 1 << 20 : 68 << 20);
}

static void choose(void)
{
	static const int ways[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR, O_RDWR };
	static const int more[] = { O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_CREAT | O_TRUNC, O_APPEND, O_CREAT | O_APPEND,
				    O_DIRECTORY, O_NOFOLLOW, O_PATH, 0, O_SYNC };
	long sum = 0, at;

	random_state = seed;
	random_state = draw(1ULL << 62) ^ turn * 0xd1342543de82ef95;
	random_state = draw(1ULL << 62);	/* so that neighbours have nothing in common */
	for (size_t i = 0; i < operation_count; i++)
		sum += operations[i].weight;
	at = (long)draw((uint64_t)sum);
	for (operation = operations; at >= operation->weight; operation++)
		at -= operation->weight;
	choice.slot = choose_slot();
	choice.slot_2 = choose_slot();
	choice.map = (int)draw(MAPS);
	choice.flags = ways[draw(6)] | more[draw(sizeof(more) / sizeof(more[0]))];
	choice.how = (int)draw(1 << 16);
	choice.mode = (mode_t)(draw(8) ? 0600 | draw(01000) : draw(010000));
	choice.at = choose_offset();
	choice.size = draw(draw(3) ? 5000 : DATA_MAX);
	choice.fill = (uint32_t)draw(1ULL << 32);
	choose_path(choice.path);
	choose_path(choice.path_2);
}

static void same_time(const char *what, const struct timespec *one, const struct timespec *other)
{
	time_t now = time(NULL);
	long apart = one->tv_sec - other->tv_sec;
	int is_set = one->tv_sec < begun - 5 || one->tv_sec > now + 5;	/* by utimensat, not by the clock */

	if (is_set ? apart || one->tv_nsec != other->tv_nsec : apart < -2 || apart > 2)
		differ(what, one->tv_sec, other->tv_sec);
}

static void same_stat(const char *what, const struct stat *one, const struct stat *other)
{
	if (one->st_mode != other->st_mode || one->st_nlink != other->st_nlink || one->st_uid != other->st_uid ||
	    one->st_gid != other->st_gid) {
		fprintf(stderr, "%s: mode %o %o, nlink %lu %lu, uid %u %u, gid %u %u\n", what, one->st_mode, other->st_mode,
			one->st_nlink, other->st_nlink, one->st_uid, other->st_uid, one->st_gid, other->st_gid);
		differ("stat", 0, 0);
	}
	if (S_ISREG(one->st_mode) && one->st_size != other->st_size)
		differ("st_size", one->st_size, other->st_size);
	same_time("st_mtime", &one->st_mtim, &other->st_mtim);
	same_time("st_ctime", &one->st_ctim, &other->st_ctim);
}

/* What can be seen of the slot and the path afterwards. */
static void look(void)
{
	struct stat of[SIDES];
	long value[SIDES];
	int error[SIDES];

	for (int side = 0; side < SIDES; side++)
		value[side] = fstat(slots[choice.slot][side], &of[side]);
	if (value[0] != value[1])
		differ("fstat", value[0], value[1]);
	if (value[0] == 0)
		same_stat("fstat", &of[0], &of[1]);
	for (int side = 0; side < SIDES; side++)
		value[side] = lseek(slots[choice.slot][side], 0, SEEK_CUR);
	if (value[0] != value[1] && !S_ISDIR(of[0].st_mode))
		differ("offset", value[0], value[1]);
	for (int side = 0; side < SIDES; side++) {
		value[side] = fstatat(roots[side], choice.path, &of[side], choice.how & 1 ? AT_SYMLINK_NOFOLLOW : 0);
		error[side] = value[side] ? errno : 0;
	}
	if (error[0] != error[1])
		differ("stat's errno", error[0], error[1]);
	if (value[0] == 0)
		same_stat("stat", &of[0], &of[1]);
}

/* ORACLE_SKIP names operations that are left out, while one looks for other differences. */
static int is_skipped(void)
{
	const char *names = getenv("ORACLE_SKIP");
	char all[1024], one[64];

	snprintf(all, sizeof(all), " %s ", names ? names : "");
	snprintf(one, sizeof(one), " %s ", operation->name);
	return strstr(all, one) != NULL;
}

static void take_turn(void)
{
	static struct result result[SIDES];

	choose();
	if (is_skipped())
		return;
	for (int side = 0; side < SIDES; side++) {
		result[side].value = 0;
		result[side].size = 0;
		errno = 0;
		operation->run(&choice, side, &result[side]);
		result[side].error = result[side].value < 0 ? errno : 0;
	}
	if (getenv("ORACLE_TRACE"))
		fprintf(stderr, "%lu pid %d %s slot %d=%d %d=%d how %d at %ld size %zu flags %o %s %s: %ld %d\n", turn, getpid(),
			operation->name, choice.slot, slots[choice.slot][0], choice.slot_2, slots[choice.slot_2][0], choice.how,
			choice.at, choice.size, choice.flags, choice.path, choice.path_2, result[0].value, result[0].error);
	if (result[0].error != result[1].error)
		differ("errno", result[0].error, result[1].error);
	if (result[0].value != result[1].value)
		differ("result", result[0].value, result[1].value);
	if (result[0].size != result[1].size)
		differ("size of what was read", (long)result[0].size, (long)result[1].size);
	for (size_t i = 0; i < result[0].size; i++)
		if (result[0].data[i] != result[1].data[i])
			differ("byte", (long)i, result[0].data[i] << 8 | result[1].data[i]);
	look();
}

/* ---- whole trees ---- */

static void same_file(const char *path)
{
	static unsigned char bytes[SIDES][1 << 16];
	int fd[SIDES];
	ssize_t size[SIDES];

	for (int side = 0; side < SIDES; side++)
		fd[side] = openat(roots[side], path, O_RDONLY | O_NOFOLLOW);
	for (int64_t at = 0; fd[0] >= 0; at += at < BIG ? 1 << 16 : 1 << 20) {
		for (int side = 0; side < SIDES; side++)
			size[side] = pread(fd[side], bytes[side], sizeof(bytes[side]), at);
		if (size[0] != size[1] || (size[0] > 0 && memcmp(bytes[0], bytes[1], (size_t)size[0]) != 0)) {
			fprintf(stderr, "in %s from %ld on\n", path, at);
			differ("contents", size[0], size[1]);
		}
		if (size[0] <= 0)
			break;
	}
	for (int side = 0; side < SIDES; side++)
		close(fd[side]);
}

static void same_tree(const char *path, int depth)
{
	int fd = openat(roots[0], path, O_RDONLY | O_DIRECTORY);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *one;

	if (!directory || depth == DEPTH_MAX)
		differ("directory", depth, errno);
	while ((one = readdir(directory))) {
		char inner[2 * PATH_SIZE];
		struct stat of[SIDES];

		if (strcmp(one->d_name, ".") == 0 || strcmp(one->d_name, "..") == 0)
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, one->d_name);
		for (int side = 0; side < SIDES; side++)
			if (fstatat(roots[side], inner, &of[side], AT_SYMLINK_NOFOLLOW) != 0) {
				fprintf(stderr, "%s\n", inner);
				differ("a name of side 0, on side", side, errno);
			}
		same_stat(inner, &of[0], &of[1]);
		if (S_ISREG(of[0].st_mode))
			same_file(inner);
		if (S_ISDIR(of[0].st_mode))
			same_tree(inner, depth + 1);
	}
	closedir(directory);
}

/* ---- processes ---- */

static void work(int to_read, int to_write)
{
	while (read(to_read, &turn, sizeof(turn)) == sizeof(turn)) {
		take_turn();
		if (write(to_write, "", 1) != 1)
			exit(2);
	}
	exit(0);
}

static void start_worker(struct worker *worker)
{
	int there[2], back[2];

	if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0)
		exit(2);
	worker->pid = fork();
	if (worker->pid == 0) {
		for (int i = 0; i < WORKERS_MAX; i++)
			if (workers[i].pid && &workers[i] != worker) {
				close(workers[i].to);
				close(workers[i].from);
			}
		close(there[1]);
		close(back[0]);
		work(there[0], back[1]);
	}
	close(there[0]);
	close(back[1]);
	worker->to = there[1];
	worker->from = back[0];
}

static void end_worker(struct worker *worker)
{
	int status;

	close(worker->to);
	if (waitpid(worker->pid, &status, 0) != worker->pid || status != 0) {
		fprintf(stderr, "a worker ended with %x, seed %lu, turn %lu\n", status, seed, turn);
		exit(1);
	}
	close(worker->from);
	worker->pid = 0;
}

static void hand_turn(struct worker *worker)
{
	char byte;

	if (!worker->pid)
		start_worker(worker);
	if (write(worker->to, &turn, sizeof(turn)) != sizeof(turn) || read(worker->from, &byte, 1) != 1)
		end_worker(worker);	/* it has told why, and its status ends this one */
}

int main(int argc, char **argv)
{
	uint64_t turns = argc == 6 ? strtoull(argv[4], NULL, 10) : 0;
	int count = argc == 6 ? atoi(argv[5]) : 0;

	if (!turns || count < 1 || count > WORKERS_MAX)
		return 2;
	seed = strtoull(argv[3], NULL, 10);
	begun = time(NULL);
	umask(0);
	operation = operations;
	for (int side = 0; side < SIDES; side++) {
		snprintf(root_paths[side], sizeof(root_paths[side]), "%s", argv[1 + side]);
		mkdir(root_paths[side], 0777);
		roots[side] = open(root_paths[side], O_RDONLY | O_DIRECTORY);
		if (roots[side] < 0)
			return 2;
	}
	memset(slots, -1, sizeof(slots));
	for (turn = 1; turn <= turns; turn++) {
		uint64_t who = (turn * 0x9e3779b97f4a7c15 >> 33) % ((uint64_t)count + 1);

		if (turn % RESPAWN_EVERY == 0 && workers[turn / RESPAWN_EVERY % (uint64_t)count].pid)
			end_worker(&workers[turn / RESPAWN_EVERY % (uint64_t)count]);
		if (who == (uint64_t)count)
			take_turn();		/* the coordinator's own: what it opens, workers inherit */
		else
			hand_turn(&workers[who]);
		if (turn % TREE_EVERY == 0)
			same_tree(".", 0);
	}
	for (int i = 0; i < count; i++)
		if (workers[i].pid)
			end_worker(&workers[i]);
	same_tree(".", 0);
	printf("same after %lu turns\n", turns);
	return 0;
}
