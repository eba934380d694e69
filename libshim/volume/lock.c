/*
 * lock.c - locks by fcntl(2) and flock(2).
 *
 * Owns: which locks are held. Must never: wait, or leave a list of locks broken when it is killed. Called by:
 * enclave/volume_*.c, by file.h; file.c; lock_wait.c.
 *
 * Every change of a word in a stripe is noted for undoing first. A call that changes very many of its owner's locks is cut into
 * steps: what a kill leaves of it then are the dead owner's locks, which don't count.
 */
#include <linux/fcntl.h>
#include "file_inner.h"

enum { STEP_MAX = UNDO_SIZE / 2, LOCK_SH_ = 1, LOCK_EX_ = 2, LOCK_UN_ = 8 };

/* A stripe under its lock. */
struct held {
	struct volume *volume;
	struct stripe *stripe;
	struct lock_node *nodes;
	uint32_t *bucket;
	bool is_weaker;			/* locks became fewer, shorter or shared: waiters may try again */
};

void stripe_lock(struct volume *volume, struct stripe *stripe)
{
	vol_lock(volume, &stripe->lock);
	/* Words only: nothing of the store is needed, so it can't fail. */
	if (stripe->undo.used && undo_play(volume, &stripe->undo) < 0)
		__builtin_trap();
}

static uint32_t *bucket_of(struct stripe *stripe, uint64_t ino)
{
	return &stripe->buckets[ino * SPREAD >> 52 & (BUCKETS - 1)];
}

static struct held hold(struct volume *volume, uint64_t ino)
{
	struct locks *locks = locks_of(volume);
	uint32_t index = stripe_index(ino);
	struct stripe *stripe = &locks->stripes[index];

	stripe_lock(volume, stripe);
	return (struct held){ .volume = volume, .stripe = stripe, .nodes = locks->nodes[index], .bucket = bucket_of(stripe, ino) };
}

static void let_go(struct held *held)
{
	struct stripe *stripe = held->stripe;
	bool is_waited = false;

	undo_forget(&stripe->undo);
	if (held->is_weaker) {
		__atomic_store_n(&stripe->changes, stripe->changes + 1, __ATOMIC_RELEASE);
		is_waited = stripe->is_waited;
		stripe->is_waited = 0;
	}
	vol_unlock(held->volume, &stripe->lock);
	if (is_waited)
		held->volume->host->wake(held->volume->context, &stripe->changes, INT32_MAX);
}

/* Whether a lock on the inode could be held at all: without the stripe's lock, for those who would only take something back. */
static bool is_any(struct volume *volume, uint64_t ino)
{
	struct stripe *stripe = &locks_of(volume)->stripes[stripe_index(ino)];

	return __atomic_load_n(bucket_of(stripe, ino), __ATOMIC_ACQUIRE) || __atomic_load_n(&stripe->undo.used, __ATOMIC_ACQUIRE);
}

static void change(struct held *held, uint32_t *word, uint32_t value)
{
	undo_word(held->volume, &held->stripe->undo, word);
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void change_long(struct held *held, uint64_t *word, uint64_t value)
{
	change(held, (uint32_t *)word, (uint32_t)value);
	change(held, (uint32_t *)word + 1, (uint32_t)(value >> 32));
}

static bool is_same_owner(const struct lock_node *a, const struct lock_node *b)
{
	return a->ino == b->ino && a->kind == b->kind && a->pid == b->pid && a->file == b->file;
}

/* Takes the node at *link out of its list. */
static void node_remove(struct held *held, uint32_t *link)
{
	uint32_t number = *link;
	struct lock_node *node = &held->nodes[number];

	if (held->stripe->undo.used > STEP_MAX)
		undo_forget(&held->stripe->undo);
	change(held, link, node->next);
	change(held, &node->next, held->stripe->unused);
	change(held, &held->stripe->unused, number);
	held->is_weaker = true;
}

/* There is room for `count` nodes. */
static bool has_nodes(const struct held *held, uint32_t count)
{
	uint32_t at = held->stripe->unused;

	for (; count && at; count--)
		at = held->nodes[at].next;
	return NODES_MAX - 1 - held->stripe->used_to >= count;
}

static void node_add(struct held *held, const struct lock_node *fresh)
{
	uint32_t number = held->stripe->unused;
	struct lock_node *node;

	if (number)
		change(held, &held->stripe->unused, held->nodes[number].next);
	else
		change(held, &held->stripe->used_to, number = held->stripe->used_to + 1);
	node = &held->nodes[number];
	undo_word(held->volume, &held->stripe->undo, &node->next);
	*node = *fresh;
	node->next = *held->bucket;
	change(held, held->bucket, number);
}

static bool is_in_the_way(const struct lock_node *node, const struct lock_node *wanted)
{
	return node->ino == wanted->ino && node->kind == wanted->kind && node->start <= wanted->end &&
	       wanted->start <= node->end && (node->type == F_WRLCK || wanted->type == F_WRLCK) && !is_same_owner(node, wanted);
}

static bool is_dead(struct volume *volume, const struct lock_node *node)
{
	return node->pid && !volume->host->is_alive(volume->context, node->pid);
}

/* The one that begins first of those in the way; 0: none. */
static uint32_t conflict(struct held *held, const struct lock_node *wanted)
{
	uint32_t *link = held->bucket, first = 0;

	while (*link) {
		struct lock_node *node = &held->nodes[*link];

		if (!is_in_the_way(node, wanted)) {
			link = &node->next;
			continue;
		}
		if (is_dead(held->volume, node)) {
			node_remove(held, link);
			continue;
		}
		if (!first || node->start < held->nodes[first].start)
			first = *link;
		link = &node->next;
	}
	return first;
}

uint32_t stripe_conflict(struct volume *volume, uint32_t index, const struct lock_node *wanted)
{
	struct locks *locks = locks_of(volume);
	struct stripe *stripe = &locks->stripes[index];
	struct held held = { .volume = volume, .stripe = stripe, .nodes = locks->nodes[index],
			     .bucket = bucket_of(stripe, wanted->ino) };
	uint32_t first = conflict(&held, wanted);

	undo_forget(&stripe->undo);
	return first;
}

struct lock_node node_of_range(const struct vol_inode *inode, const struct vol_range *range)
{
	return (struct lock_node){ .ino = inode->ino, .start = range->start, .end = range->end, .kind = KIND_RANGE,
				   .type = (uint16_t)range->type, .pid = range->pid, .file = range->pid ? 0 : range->file };
}

struct lock_node node_of_flock(const struct vol_inode *inode, const struct vol_file *file, uint32_t operation)
{
	uint16_t type = operation & LOCK_UN_ ? F_UNLCK : operation & LOCK_EX_ ? F_WRLCK : F_RDLCK;

	return (struct lock_node){ .ino = inode->ino, .end = ~0UL, .kind = KIND_FLOCK, .type = type, .file = file->number };
}

/* What stays of an owner's lock when [start, end] becomes another's: of both sides two. */
static void node_cut(struct held *held, uint32_t *link, const struct lock_node *wanted)
{
	struct lock_node *node = &held->nodes[*link], tail = *node;
	bool has_head = node->start < wanted->start, has_tail = node->end > wanted->end;

	if (!has_head && !has_tail) {
		node_remove(held, link);
		return;
	}
	if (node->type == F_WRLCK || wanted->type == F_UNLCK)
		held->is_weaker = true;
	if (has_head)
		change_long(held, &node->end, wanted->start - 1);
	else
		change_long(held, &node->start, wanted->end + 1);
	if (has_head && has_tail) {
		tail.start = wanted->end + 1;
		node_add(held, &tail);
	}
}

/* The owner's locks make room for `wanted`, which grows by those of its own type that it touches. */
static void owner_settle(struct held *held, struct lock_node *wanted)
{
	uint32_t *link = held->bucket;

	while (*link) {
		struct lock_node *node = &held->nodes[*link];
		bool is_over = node->start <= wanted->end && wanted->start <= node->end;
		bool is_beside = (node->end != ~0UL && node->end + 1 == wanted->start) ||
				 (wanted->end != ~0UL && wanted->end + 1 == node->start);
		uint32_t number = *link;

		if (!is_same_owner(node, wanted) || !(is_over || (is_beside && node->type == wanted->type))) {
			link = &node->next;
			continue;
		}
		if (node->type == wanted->type) {
			wanted->start = node->start < wanted->start ? node->start : wanted->start;
			wanted->end = node->end > wanted->end ? node->end : wanted->end;
			node_remove(held, link);
			continue;
		}
		node_cut(held, link, wanted);
		if (*link == number)
			link = &node->next;
	}
}

/* Nothing is in the way: as the owner wants it. */
static long owner_set(struct held *held, struct lock_node *wanted)
{
	bool is_weaker = held->is_weaker;

	if (!has_nodes(held, 2))
		return -ENOLCK;
	owner_settle(held, wanted);
	if (wanted->type == F_UNLCK)
		return 0;
	/* What was taken out may come back at once, as part of the new one: then nobody gains by it. */
	if (wanted->type == F_WRLCK)
		held->is_weaker = is_weaker;
	node_add(held, wanted);
	return 0;
}

long lock_set(struct volume *volume, struct vol_inode *inode, const struct vol_range *range)
{
	struct lock_node wanted = node_of_range(inode, range);
	struct held held;
	long result;

	if (range->type == F_UNLCK && !is_any(volume, inode->ino))
		return 0;
	held = hold(volume, inode->ino);
	result = wanted.type != F_UNLCK && conflict(&held, &wanted) ? -EAGAIN : owner_set(&held, &wanted);
	let_go(&held);
	return result;
}

void lock_test(struct volume *volume, struct vol_inode *inode, struct vol_range *range)
{
	struct lock_node wanted = node_of_range(inode, range), *found;
	struct held held;
	uint32_t number;

	range->type = F_UNLCK;
	if (!is_any(volume, inode->ino))
		return;
	held = hold(volume, inode->ino);
	number = conflict(&held, &wanted);
	if (number) {
		found = &held.nodes[number];
		*range = (struct vol_range){ .start = found->start, .end = found->end, .type = found->type, .pid = found->pid,
					     .file = found->file };
	}
	let_go(&held);
}

/* All locks of one owner on the inode. */
static void owner_drop(struct held *held, const struct lock_node *owner)
{
	for (uint32_t *link = held->bucket; *link;) {
		struct lock_node *node = &held->nodes[*link];

		if (is_same_owner(node, owner))
			node_remove(held, link);
		else
			link = &node->next;
	}
}

void lock_drop(struct volume *volume, struct vol_inode *inode, uint32_t pid)
{
	struct lock_node owner = { .ino = inode->ino, .kind = KIND_RANGE, .pid = pid };
	struct held held;

	if (!is_any(volume, inode->ino))
		return;
	held = hold(volume, inode->ino);
	owner_drop(&held, &owner);
	let_go(&held);
}

void lock_release(struct volume *volume, struct vol_inode *inode, uint32_t file)
{
	struct lock_node owner = { .ino = inode->ino, .kind = KIND_RANGE, .file = file };
	struct held held;

	if (!is_any(volume, inode->ino))
		return;
	held = hold(volume, inode->ino);
	owner_drop(&held, &owner);
	owner.kind = KIND_FLOCK;
	owner_drop(&held, &owner);
	let_go(&held);
}

void lock_forget(struct volume *volume, uint32_t pid)
{
	for (uint32_t index = 0; index < STRIPES; index++) {
		struct locks *locks = locks_of(volume);
		struct held held = { .volume = volume, .stripe = &locks->stripes[index], .nodes = locks->nodes[index] };

		stripe_lock(volume, held.stripe);
		for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
			for (uint32_t *link = &held.stripe->buckets[bucket]; *link;) {
				if (held.nodes[*link].pid == pid && held.nodes[*link].kind == KIND_RANGE)
					node_remove(&held, link);
				else
					link = &held.nodes[*link].next;
			}
		}
		let_go(&held);
	}
}

long lock_flock(struct volume *volume, struct vol_file *file, uint32_t operation)
{
	struct vol_inode *inode = file_inode(volume, file);
	struct lock_node wanted = node_of_flock(inode, file, operation);
	struct held held;
	long result = 0;

	if (wanted.type == F_UNLCK && !is_any(volume, inode->ino))
		return 0;
	held = hold(volume, inode->ino);
	for (uint32_t *link = held.bucket; *link; link = &held.nodes[*link].next) {
		if (!is_same_owner(&held.nodes[*link], &wanted))
			continue;
		if (held.nodes[*link].type == wanted.type) {
			let_go(&held);
			return 0;
		}
		node_remove(&held, link);
		break;
	}
	if (wanted.type != F_UNLCK)
		result = conflict(&held, &wanted) ? -EAGAIN : has_nodes(&held, 1) ? 0 : -ENOLCK;
	if (wanted.type != F_UNLCK && !result)
		node_add(&held, &wanted);
	let_go(&held);
	return result;
}
