/*
 * locks_oracle.c - random fcntl and flock locks of several processes, on a file of the kernel's and on a volume's: the same.
 *
 * Owns: the calls' choice; the parent picks, a child does each on both. Must never: wait for a lock. Usage: locks_oracle
 * DIRECTORY SEED STEPS. Run by: test_locks.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include "standin.h"

enum { CHILDREN = 4, SHARED = 2, OWN = 2, FILES = SHARED + OWN, BYTES = 24 };

enum { RANGE, OFD, FLOCK, CLOSE, TEST, KINDS };

struct order { uint32_t kind, file, type, to_end; uint64_t start, end; };

struct child { pid_t pid; int orders, answers; };

static struct volume *volume;
static struct vol_inode *inode;
static struct child children[CHILDREN];
static int fds[FILES], observer;
static struct vol_file *files[FILES], *observer_file;
static uint64_t state, seed, step;
static char path[4096];

static uint32_t pick(uint32_t count)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(state >> 33) % count;
}

static void differ(const struct order *order, const char *what, long our, long their)
{
	fprintf(stderr, "seed %lu, step %lu: kind %u, file %u, type %u, %lu..%lu%s: %s: %ld, not %ld\n", seed, step, order->kind,
		order->file, order->type, order->start, order->end, order->to_end ? " and on" : "", what, our, their);
	_exit(1);
}

static void open_file(uint32_t i)
{
	fds[i] = open(path, O_RDWR | O_CREAT, 0600);
	inode_share(inode);
	if (fds[i] < 0 || file_new(volume, inode, NULL, O_RDWR, &files[i]))
		abort();
}

static long native(long result)
{
	return result < 0 ? -errno : result;
}

static struct vol_range range_of(const struct order *order, uint32_t pid, uint32_t file)
{
	return (struct vol_range){ .start = order->start, .end = order->to_end ? ~0UL : order->end, .type = order->type,
				   .pid = pid, .file = file };
}

static struct flock native_range_of(const struct order *order)
{
	return (struct flock){ .l_type = (short)order->type, .l_whence = SEEK_SET, .l_start = (off_t)order->start,
			       .l_len = order->to_end ? 0 : (off_t)(order->end - order->start + 1) };
}

static void test(const struct order *order, uint32_t pid, int fd, uint32_t file)
{
	struct vol_range range = range_of(order, pid, file);
	struct flock their = native_range_of(order);

	if (fcntl(fd, pid ? F_GETLK : F_OFD_GETLK, &their))
		abort();
	lock_test(volume, inode, &range);
	if ((range.type == F_UNLCK) != (their.l_type == F_UNLCK))
		differ(order, "is there one", range.type, their.l_type);
}

static void obey(const struct order *order)
{
	static const uint32_t flocks[] = { [F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN };
	struct vol_range range = range_of(order, order->kind == RANGE ? (uint32_t)getpid() : 0, files[order->file]->number);
	struct flock native_range = native_range_of(order);
	long our = 0, their = 0;

	switch (order->kind) {
	case RANGE:
	case OFD:
		our = lock_set(volume, inode, &range);
		their = native(fcntl(fds[order->file], order->kind == RANGE ? F_SETLK : F_OFD_SETLK, &native_range));
		break;
	case FLOCK:
		our = lock_flock(volume, files[order->file], flocks[order->type] | LOCK_NB);
		their = native(flock(fds[order->file], (int)flocks[order->type] | LOCK_NB));
		break;
	case CLOSE:
		if (order->file < SHARED)
			return;
		close(fds[order->file]);
		lock_drop(volume, inode, (uint32_t)getpid());
		file_put(volume, files[order->file]);
		open_file(order->file);
		break;
	default:
		test(order, (uint32_t)getpid(), fds[order->file], 0);
	}
	if (our != their)
		differ(order, "result", our, their);
}

static void child_run(const struct child *child)
{
	struct order order;
	char done = 0;

	for (uint32_t i = SHARED; i < FILES; i++)
		open_file(i);
	while (read(child->orders, &order, sizeof order) == sizeof order) {
		step++;
		obey(&order);
		if (write(child->answers, &done, 1) != 1)
			break;
	}
	_exit(0);
}

static void child_start(struct child *child)
{
	int orders[2], answers[2];

	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		abort();
	for (uint32_t i = 0; i < SHARED; i++)
		file_share(files[i]);
	child->pid = fork();
	if (!child->pid) {
		for (int i = 0; i < CHILDREN; i++)
			if (&children[i] != child && children[i].pid) {
				close(children[i].orders);
				close(children[i].answers);
			}
		close(orders[1]);
		close(answers[0]);
		child_run(&(struct child){ .orders = orders[0], .answers = answers[1] });
	}
	close(orders[0]);
	close(answers[1]);
	child->orders = orders[1];
	child->answers = answers[0];
}

/* Its fcntl locks go by themselves; for what its open files own the shim has to know that it is gone. */
static void child_kill(struct child *child)
{
	static const struct order nobody;

	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	close(child->orders);
	close(child->answers);
	for (uint32_t i = 0; i < SHARED; i++)
		file_put(volume, files[i]);
	test(&nobody, 0, observer, observer_file->number);
}

static void compare(const struct order *order)
{
	struct order look = *order;

	for (look.start = 0; look.start < BYTES; look.start++) {
		look.end = look.start;
		look.to_end = 0;
		look.type = F_WRLCK;
		test(&look, 0, observer, observer_file->number);
		look.type = F_RDLCK;
		test(&look, 0, observer, observer_file->number);
	}
	look.to_end = 1;
	test(&look, 0, observer, observer_file->number);
}

static void one_step(void)
{
	static const uint32_t types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	struct child *child = &children[pick(CHILDREN)];
	struct order order = { .kind = pick(3) ? RANGE : pick(KINDS), .file = pick(FILES), .type = types[pick(3)],
			       .to_end = !pick(8), .start = pick(BYTES) };
	char done;

	if (order.kind == TEST && order.type == F_UNLCK)
		order.type = F_RDLCK;
	if (!pick(100)) {		/* only if it owns nothing by files of its own, which nobody would put */
		struct order unlock = { .kind = OFD, .type = F_UNLCK, .to_end = 1 };

		for (unlock.file = SHARED; unlock.file < FILES; unlock.file++)
			for (unlock.kind = OFD; unlock.kind <= FLOCK; unlock.kind++)
				if (write(child->orders, &unlock, sizeof unlock) < 0 || read(child->answers, &done, 1) != 1)
					exit(1);
		child_kill(child);
		child_start(child);
		return;
	}
	order.end = order.start + pick(BYTES - (uint32_t)order.start);
	if (write(child->orders, &order, sizeof order) < 0 || read(child->answers, &done, 1) != 1)
		exit(1);
	compare(&order);
}

int main(int count, char **argument)
{
	struct volume_record record = { .mode = 0100600 };
	uint64_t steps;

	if (count != 4)
		return 2;
	snprintf(path, sizeof path, "%s/locked", argument[1]);
	seed = state = strtoul(argument[2], NULL, 0);
	steps = strtoul(argument[3], NULL, 0);
	volume = standin_volume();
	if (inode_new(volume, &record, &inode))
		return 3;
	for (uint32_t i = 0; i < SHARED; i++)
		open_file(i);
	observer = open(path, O_RDWR);
	inode_share(inode);
	if (observer < 0 || file_new(volume, inode, NULL, O_RDWR, &observer_file))
		return 3;
	for (int i = 0; i < CHILDREN; i++)
		child_start(&children[i]);
	for (step = 1; step <= steps; step++)
		one_step();
	for (int i = 0; i < CHILDREN; i++)
		child_kill(&children[i]);
	printf("%lu steps\n", steps);
	return 0;
}
