/*
 * lock_wait.c - waiting for locks, and finding those who would wait for one another for ever.
 *
 * Owns: the table of who waits for whom. Must never: sleep with a lock held, or longer than LOCK_WAIT_NS: a lock's owner may
 * be killed, and nobody says so. Called by: enclave/volume_*.c, by file.h.
 *
 * A waiter's entry counts as long as no lock of its stripe became weaker since: then it is awake anyway, and looks again.
 */
#include <linux/fcntl.h>
#include "file_inner.h"

enum { CHAIN_MAX = 10 };		/* as Linux has it */

static bool counts(struct locks *locks, const struct waiter *waiter)
{
	return __atomic_load_n(&locks->stripes[waiter->stripe].changes, __ATOMIC_ACQUIRE) == waiter->changes;
}

/* Whom a process waits for; 0: nobody. */
static uint32_t blocker_of(struct volume *volume, uint32_t pid)
{
	struct locks *locks = locks_of(volume);

	for (uint32_t i = 0; i < WAITERS_MAX; i++)
		if (locks->waiters[i].pid == pid && counts(locks, &locks->waiters[i]) &&
		    volume->host->is_alive(volume->context, pid))
			return locks->waiters[i].blocker;
	return 0;
}

static bool is_deadlock(struct volume *volume, uint32_t pid, uint32_t blocker)
{
	for (int i = 0; i < CHAIN_MAX && blocker; i++) {
		if (blocker == pid)
			return true;
		blocker = blocker_of(volume, blocker);
	}
	return false;
}

/* An entry for who waits now; NULL: there is none, and a deadlock with it would not be found. */
static struct waiter *waiter_take(struct volume *volume, const struct waiter *fresh)
{
	struct locks *locks = locks_of(volume);
	struct waiter *found = NULL;

	for (uint32_t i = 0; i < WAITERS_MAX && !found; i++)
		if (!locks->waiters[i].pid)
			found = &locks->waiters[i];
	for (uint32_t i = 0; i < WAITERS_MAX && !found; i++)
		if (!volume->host->is_alive(volume->context, locks->waiters[i].pid))
			found = &locks->waiters[i];
	if (!found)
		return NULL;
	*found = (struct waiter){ .blocker = fresh->blocker, .stripe = fresh->stripe, .changes = fresh->changes };
	__atomic_store_n(&found->pid, fresh->pid, __ATOMIC_RELEASE);
	return found;
}

static long sleep(struct volume *volume, const struct waiter *fresh)
{
	struct locks *locks = locks_of(volume);
	struct waiter *waiter = NULL;
	bool is_found = false;

	if (fresh->pid && fresh->blocker) {
		vol_lock(volume, &locks->waiters_lock);
		is_found = is_deadlock(volume, fresh->pid, fresh->blocker);
		if (!is_found)
			waiter = waiter_take(volume, fresh);
		vol_unlock(volume, &locks->waiters_lock);
	}
	if (is_found)
		return -EDEADLK;
	volume->host->wait(volume->context, &locks->stripes[fresh->stripe].changes, fresh->changes, LOCK_WAIT_NS);
	if (waiter)
		__atomic_store_n(&waiter->pid, 0, __ATOMIC_RELEASE);
	return 0;
}

static long wait_for(struct volume *volume, const struct lock_node *wanted)
{
	struct locks *locks = locks_of(volume);
	struct waiter fresh = { .pid = wanted->pid, .stripe = stripe_index(wanted->ino) };
	struct stripe *stripe = &locks->stripes[fresh.stripe];
	uint32_t number;

	stripe_lock(volume, stripe);
	number = stripe_conflict(volume, fresh.stripe, wanted);
	fresh.changes = stripe->changes;
	fresh.blocker = locks->nodes[fresh.stripe][number].pid;
	if (number)
		stripe->is_waited = 1;
	vol_unlock(volume, &stripe->lock);
	return number ? sleep(volume, &fresh) : 0;
}

long lock_wait(struct volume *volume, struct vol_inode *inode, const struct vol_range *range)
{
	struct lock_node wanted = node_of_range(inode, range);

	return wait_for(volume, &wanted);
}

void lock_flock_wait(struct volume *volume, struct vol_file *file, uint32_t operation)
{
	struct lock_node wanted = node_of_flock(file_inode(volume, file), file, operation);
	long result = wait_for(volume, &wanted);

	(void)result;	/* only processes deadlock, not open files */
}
