/*
 * locks_cases.c - open files and locks, case by case: waiting, deadlocks, deaths, tables that are full.
 *
 * Owns: the cases; each has a new volume. Must never: judge by how long something took. Run by: test_locks.py.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "standin.h"
#include "cases.h"
#include "../../libshim/volume/file_inner.h"

static struct volume *volume;
static struct vol_inode *inode, *other;
static volatile uint32_t *shared;	/* words that processes share */

static void begin(void)
{
	struct volume_record record = { .mode = S_IFREG | 0644 };

	volume = standin_volume();
	IS(inode_new(volume, &record, &inode), 0);
	IS(inode_new(volume, &record, &other), 0);
	if (!shared)
		shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset((void *)shared, 0, 4096);
}

static struct vol_file *file_of(struct vol_inode *of)
{
	struct vol_file *file;

	inode_share(of);
	IS(file_new(volume, of, NULL, O_RDWR, &file), 0);
	return file;
}

static struct vol_range range_of(uint32_t type, uint64_t start, uint64_t end)
{
	return (struct vol_range){ .start = start, .end = end, .type = type, .pid = (uint32_t)getpid() };
}

static long set(struct vol_inode *on, uint32_t type, uint64_t start, uint64_t end)
{
	struct vol_range range = range_of(type, start, end);

	return lock_set(volume, on, &range);
}

/* F_SETLKW. */
static long set_waiting(struct vol_inode *on, uint32_t type, uint64_t start, uint64_t end)
{
	struct vol_range range = range_of(type, start, end);

	for (;;) {
		long result = lock_set(volume, on, &range);

		if (result != -EAGAIN)
			return result;
		result = lock_wait(volume, on, &range);
		if (result)
			return result;
	}
}

static void await(uint32_t word, uint32_t value)
{
	while (__atomic_load_n(&shared[word], __ATOMIC_ACQUIRE) != value)
		usleep(200);
}

static void say(uint32_t word, uint32_t value)
{
	__atomic_store_n(&shared[word], value, __ATOMIC_RELEASE);
}

static void ends_well(pid_t child)
{
	int status;

	IS(waitpid(child, &status, 0), child);
	IS(status, 0);
}

static uint32_t waiters(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < WAITERS_MAX; i++)
		count += locks_of(volume)->waiters[i].pid != 0;
	return count;
}

/* Lists are whole: each node is in one bucket, by its inode, or unused; an owner's locks don't overlap. Returns those held. */
static uint32_t check_lists(void)
{
	struct locks *locks = locks_of(volume);
	uint32_t held = 0;

	for (uint32_t i = 0; i < STRIPES; i++) {
		struct stripe *stripe = &locks->stripes[i];
		struct lock_node *nodes = locks->nodes[i];
		uint32_t count = 0;

		stripe_lock(volume, stripe);
		undo_forget(&stripe->undo);
		for (uint32_t at = stripe->unused; at; at = nodes[at].next)
			IS(++count <= stripe->used_to, true);
		for (uint32_t bucket = 0; bucket < BUCKETS; bucket++)
			for (uint32_t at = stripe->buckets[bucket]; at; at = nodes[at].next) {
				IS(++count <= stripe->used_to, true);
				held++;
				IS(stripe_index(nodes[at].ino), i);
				IS(nodes[at].start <= nodes[at].end, true);
				for (uint32_t after = nodes[at].next; after; after = nodes[after].next)
					IS(nodes[after].pid == nodes[at].pid && nodes[after].file == nodes[at].file &&
					   nodes[after].ino == nodes[at].ino && nodes[after].kind == nodes[at].kind &&
					   nodes[after].start <= nodes[at].end && nodes[at].start <= nodes[after].end, false);
			}
		IS(count, stripe->used_to);
		vol_unlock(volume, &stripe->lock);
	}
	return held;
}

static void two_who_wait_for_each_other_are_told(void)
{
	pid_t child;

	begin();
	IS(set(inode, F_WRLCK, 0, 0), 0);
	child = fork();
	if (!child) {
		IS(set(other, F_WRLCK, 5, 5), 0);
		say(0, 1);
		IS(set_waiting(inode, F_WRLCK, 0, 10), 0);
		IS(set(inode, F_UNLCK, 0, ~0UL), 0);
		_exit(0);
	}
	await(0, 1);
	while (waiters() != 1)
		usleep(100);
	IS(set_waiting(other, F_RDLCK, 0, ~0UL), -EDEADLK);
	IS(set(inode, F_UNLCK, 0, ~0UL), 0);
	ends_well(child);
}

static void three_in_a_circle_are_told(void)
{
	pid_t children[2];

	begin();
	IS(set(inode, F_WRLCK, 0, 0), 0);
	for (uint32_t i = 0; i < 2; i++) {
		children[i] = fork();
		if (!children[i]) {
			IS(set(inode, F_WRLCK, 1 + i, 1 + i), 0);
			say(i, 1);
			await(0, 1);
			await(1, 1);
			IS(set_waiting(inode, F_WRLCK, i, i), 0);	/* the first waits for us, the second for the first */
			_exit(0);
		}
	}
	await(0, 1);
	await(1, 1);
	while (waiters() != 2)
		usleep(100);
	IS(set_waiting(inode, F_WRLCK, 2, 2), -EDEADLK);
	IS(set(inode, F_UNLCK, 0, ~0UL), 0);
	ends_well(children[0]);
	ends_well(children[1]);
	lock_forget(volume, (uint32_t)children[0]);
	lock_forget(volume, (uint32_t)children[1]);
	IS(check_lists(), 0);
}

/* The other waited for a lock of ours that it could have by now. */
static void who_is_about_to_wake_up_is_in_no_circle(void)
{
	struct waiter *waiter;

	begin();
	waiter = &locks_of(volume)->waiters[0];
	*waiter = (struct waiter){ .pid = 1, .blocker = (uint32_t)getpid(), .stripe = stripe_index(inode->ino) };
	waiter->changes = locks_of(volume)->stripes[waiter->stripe].changes;
	IS(lock_set(volume, other, &(struct vol_range){ .type = F_WRLCK, .end = 9, .pid = 1 }), 0);
	IS(lock_wait(volume, other, &(struct vol_range){ .type = F_WRLCK, .end = 9, .pid = (uint32_t)getpid() }), -EDEADLK);
	IS(set(inode, F_WRLCK, 7, 7), 0);
	IS(set(inode, F_UNLCK, 7, 7), 0);
	IS(lock_wait(volume, other, &(struct vol_range){ .type = F_WRLCK, .end = 9, .pid = (uint32_t)getpid() }), 0);
}

static void locks_of_a_killed_owner_are_free(void)
{
	struct vol_range range;
	pid_t child;

	begin();
	child = fork();
	if (!child) {
		IS(set(inode, F_WRLCK, 0, 99), 0);
		say(0, 1);
		pause();
	}
	await(0, 1);
	range = range_of(F_RDLCK, 50, 60);
	lock_test(volume, inode, &range);
	IS(range.type, F_WRLCK);
	IS(range.start, 0);
	IS(range.end, 99);
	IS(range.pid, child);
	IS(set(inode, F_RDLCK, 0, 0), -EAGAIN);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	range = range_of(F_RDLCK, 50, 60);
	lock_test(volume, inode, &range);
	IS(range.type, F_UNLCK);
	IS(set_waiting(inode, F_WRLCK, 0, ~0UL), 0);
	lock_drop(volume, inode, (uint32_t)getpid());
	IS(check_lists(), 0);
}

static void very_many_locks_of_one_owner(void)
{
	enum { LOCKS = 5000 };

	begin();
	for (uint64_t i = 0; i < LOCKS; i++)
		IS(set(inode, F_RDLCK, 2 * i, 2 * i), 0);
	IS(check_lists(), LOCKS);
	for (uint64_t i = 0; i < LOCKS - 1; i += 2)	/* what lies between joins two and two */
		IS(set(inode, F_RDLCK, 2 * i + 1, 2 * i + 1), 0);
	IS(check_lists(), LOCKS / 2);
	IS(set(inode, F_WRLCK, 0, ~0UL), 0);
	IS(check_lists(), 1);
	for (uint64_t i = 0; i < LOCKS; i++)
		IS(set(inode, F_UNLCK, 2 * i, 2 * i), 0);
	IS(check_lists(), LOCKS);
	IS(set(inode, F_UNLCK, 0, ~0UL), 0);
	IS(check_lists(), 0);
}

static void when_there_is_no_room_for_locks(void)
{
	uint64_t i = 0;

	begin();
	locks_of(volume)->stripes[stripe_index(inode->ino)].used_to = NODES_MAX - 1 - 100;
	while (set(inode, F_RDLCK, 2 * i, 2 * i) == 0)
		i++;
	IS(i, 99);			/* one more than is left is always asked for: a lock may be split */
	IS(set(inode, F_RDLCK, 2 * i, 2 * i), -ENOLCK);
	IS(set(inode, F_UNLCK, 0, 8), -ENOLCK);	/* as natively, where unlocking may need room, too */
	lock_drop(volume, inode, (uint32_t)getpid());
	IS(set(inode, F_RDLCK, 0, 0), 0);
	lock_drop(volume, inode, (uint32_t)getpid());
}

static void flock_belongs_to_the_open_file(void)
{
	struct vol_file *one, *two;

	begin();
	one = file_of(inode);
	two = file_of(inode);
	IS(lock_flock(volume, one, LOCK_SH), 0);
	IS(lock_flock(volume, two, LOCK_SH), 0);
	IS(lock_flock(volume, one, LOCK_EX), -EAGAIN);
	IS(lock_flock(volume, two, LOCK_EX), 0);	/* the first lost its own by that, as natively */
	file_share(two);
	file_put(volume, two);
	IS(lock_flock(volume, one, LOCK_SH), -EAGAIN);
	lock_flock_wait(volume, one, LOCK_SH);
	file_put(volume, two);
	IS(lock_flock(volume, one, LOCK_EX), 0);
	IS(set(inode, F_WRLCK, 0, ~0UL), 0);		/* the two kinds know nothing of each other */
	IS(lock_flock(volume, one, LOCK_UN), 0);
	file_put(volume, one);
	lock_drop(volume, inode, (uint32_t)getpid());
	IS(check_lists(), 0);
}

static void files_are_found_by_their_place(void)
{
	struct vol_file *files[300], *found;

	begin();
	for (uint64_t i = 0; i < 300; i++) {
		files[i] = file_of(inode);
		file_place(volume, files[i], 7, 1000 + i % 150);	/* a place is given again when its file is gone: the later */
	}
	for (uint64_t i = 150; i < 300; i++) {
		found = file_at_place(volume, 7, 1000 + i % 150);
		IS(found == files[i], true);
		IS(found->users, 2);
		file_put(volume, found);
		file_put(volume, found);
		found = file_at_place(volume, 7, 1000 + i % 150);
		IS(found == files[i - 150], true);
		file_put(volume, found);
	}
	IS(file_at_place(volume, 8, 1000) == NULL, true);
	file_place(volume, files[0], 9, 9);
	IS(file_at_place(volume, 7, 1000) == NULL, true);
	found = file_at_place(volume, 9, 9);
	IS(found == files[0], true);
	file_put(volume, found);
	for (int i = 0; i < 150; i++)
		file_put(volume, files[i]);
	IS(file_at_place(volume, 9, 9) == NULL, true);
	IS(files_of(volume)->used_to, 300);
	IS(file_of(inode)->number <= 300, true);
}

static void the_table_of_files_may_be_full(void)
{
	struct vol_file *file = NULL;
	uint32_t users;
	long result;

	begin();
	users = inode->users;
	files_of(volume)->used_to = FILES_MAX - 3;
	for (int i = 0; i < 2; i++)
		file = file_of(inode);
	inode_share(inode);
	result = file_new(volume, inode, NULL, 0, &file);
	IS(result, -ENFILE);
	inode_put(volume, inode);
	file_put(volume, file);
	file_put(volume, file_of(inode));
	IS(inode->users, users + 1);
}

/* A counter that only the lock protects; those who count are killed, too. */
static void the_lock_excludes_others(void)
{
	pid_t children[4] = { 0 };
	uint64_t seed = 3;

	begin();
	for (int round = 0; round < 300; round++) {
		for (int i = 0; i < 4; i++) {
			if (!children[i])
				children[i] = fork();
			if (children[i])
				continue;
			for (;;) {
				IS(set_waiting(inode, F_WRLCK, 10, 20), 0);
				say(0, shared[0] + 1);		/* this, or the next, may be the last it does */
				IS(shared[0], shared[1] + 1);
				say(1, shared[0]);
				IS(set(inode, F_UNLCK, 12, 14), 0);
				IS(set(inode, F_UNLCK, 0, ~0UL), 0);
			}
		}
		seed = seed * 6364136223846793005 + 1442695040888963407;
		usleep((useconds_t)(seed >> 33 & 1023));
		kill(children[seed >> 60 & 3], SIGKILL);
		waitpid(children[seed >> 60 & 3], NULL, 0);
		children[seed >> 60 & 3] = 0;
		IS(set_waiting(inode, F_WRLCK, 0, ~0UL), 0);
		say(1, shared[0]);		/* the killed one may have been between the two */
		IS(set(inode, F_UNLCK, 0, ~0UL), 0);
	}
	for (int i = 0; i < 4; i++)
		if (children[i]) {
			kill(children[i], SIGKILL);
			waitpid(children[i], NULL, 0);
		}
	IS(set_waiting(inode, F_WRLCK, 0, ~0UL), 0);
	lock_drop(volume, inode, (uint32_t)getpid());
	IS(check_lists(), 0);
	IS(shared[0] > 1000, true);
}

static void steps(void)
{
	struct vol_file *file = file_of(inode);
	long result = set(inode, F_WRLCK, 0, 99);

	file_place(volume, file, 3, 3);
	result |= set(inode, F_UNLCK, 40, 49);
	result |= set(inode, F_RDLCK, 20, 60);
	result |= lock_flock(volume, file, LOCK_SH);
	result |= lock_flock(volume, file, LOCK_EX);
	file_put(volume, file);
	result |= set(inode, F_UNLCK, 0, ~0UL);
	_exit(result != 0);
}

/* What is left of the tables when the child that is stopped dies: in a copy. */
static void look(pid_t dead)
{
	pid_t looker = fork();
	struct vol_file *file;

	if (looker) {
		ends_well(looker);
		return;
	}
	standin_fork();
	standin_dead = (uint32_t)dead;
	check_lists();
	IS(set(inode, F_WRLCK, 0, ~0UL), 0);
	file = file_of(inode);
	IS(file->users, 1);
	file_place(volume, file, 3, 3);
	IS(file_at_place(volume, 3, 3) == file, true);
	file_put(volume, file);
	file_put(volume, file);
	lock_forget(volume, (uint32_t)dead);
	lock_drop(volume, inode, (uint32_t)getpid());
	IS(check_lists() <= 1, true);		/* a flock, whose open file the dead one had */
	_exit(0);
}

static void a_death_at_any_instruction_leaves_whole_lists(void)
{
	pid_t child;
	int status;

	begin();
	file_put(volume, file_of(inode));
	child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		steps();
	}
	waitpid(child, &status, 0);
	for (long at = 0; !WIFEXITED(status); at++) {
		if (at % 23 == 5)
			look(child);
		IS(ptrace(PTRACE_SINGLESTEP, child, 0, 0), 0);
		IS(waitpid(child, &status, 0), child);
	}
	IS(WEXITSTATUS(status), 0);
}

static const struct named_case cases[] = {
	CASE(two_who_wait_for_each_other_are_told),
	CASE(three_in_a_circle_are_told),
	CASE(who_is_about_to_wake_up_is_in_no_circle),
	CASE(locks_of_a_killed_owner_are_free),
	CASE(very_many_locks_of_one_owner),
	CASE(when_there_is_no_room_for_locks),
	CASE(flock_belongs_to_the_open_file),
	CASE(files_are_found_by_their_place),
	CASE(the_table_of_files_may_be_full),
	CASE(the_lock_excludes_others),
	CASE(a_death_at_any_instruction_leaves_whole_lists),
};

int main(int count, char **argument)
{
	(void)count;
	return cases_run(cases, sizeof cases / sizeof *cases, argument);
}
