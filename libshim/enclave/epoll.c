/*
 * epoll.c - event loops: registrations, waits, and what the helper read ahead.
 *
 * Owns: the program's data of every registration (the kernel's copy is the descriptor number and a generation), and the
 * merging of the kernel's events with data that the enclave holds already. Must never: give the program data that it did
 * not register. Called by: dispatch.c.
 */
#include <linux/eventpoll.h>
#include <linux/time.h>
#include "check.h"
#include "dispatch.h"
#include "epoll.h"
#include "ring.h"
#include "signal.h"
#include "stream.h"
#include "turns.h"
#include "untrusted.h"

enum { PIECE_COUNT = 1024, PIECE_SIZE = 1024, EVENTS_MAX = 512, AHEAD_MAX = 64 };

struct registration {
	uint64_t data;
	uint32_t events;
	uint32_t generation : 30, is_used : 1, is_new : 1;	/* is_new: an edge is due for what is held */
};

struct epoll_set {
	struct mutex mutex;
	uint32_t users;			/* numbers that name it */
	struct epoll_set *next_free;
	struct registration *pieces[PIECE_COUNT];
};

static struct epoll_set *free_sets;
static struct mutex      sets_mutex;

static struct epoll_set *set_make(void)
{
	struct epoll_set *set;

	mutex_lock(&sets_mutex);
	set = free_sets;
	if (set)
		free_sets = set->next_free;
	mutex_unlock(&sets_mutex);
	if (!set)
		set = pages_map(sizeof *set);
	if (set)
		set->users = 1;
	return set;
}

void epoll_share(struct descriptor *from, struct descriptor *to)
{
	if (!from->epoll)
		return;
	__atomic_fetch_add(&from->epoll->users, 1, __ATOMIC_RELAXED);
	to->epoll = from->epoll;
	to->kind = KIND_EPOLL;
}

void epoll_release(struct descriptor *descriptor)
{
	struct epoll_set *set = descriptor->epoll;

	descriptor->epoll = NULL;
	if (!set || __atomic_sub_fetch(&set->users, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < PIECE_COUNT; i++)
		if (set->pieces[i])
			memset(set->pieces[i], 0, PIECE_SIZE * sizeof *set->pieces[i]);
	mutex_lock(&sets_mutex);
	set->next_free = free_sets;
	free_sets = set;
	mutex_unlock(&sets_mutex);
}

static struct registration *registration_of(struct epoll_set *set, uint32_t fd, bool make)
{
	struct registration **piece;

	if (fd >= PIECE_COUNT * PIECE_SIZE)
		return NULL;
	piece = &set->pieces[fd / PIECE_SIZE];
	if (!*piece && make)
		*piece = pages_map(PIECE_SIZE * sizeof **piece);
	return *piece ? &(*piece)[fd % PIECE_SIZE] : NULL;
}

void epoll_leave(int fd)
{
	struct descriptor *closed = descriptor_of(fd);

	for (int at = -1; closed && !closed->is_shared && (at = descriptor_next_epoll(at)) >= 0;) {
		struct epoll_set *set = descriptor_of(at)->epoll;
		struct registration *entry;

		if (!set)
			continue;
		mutex_lock(&set->mutex);
		entry = registration_of(set, (uint32_t)fd, false);
		if (entry && entry->is_used)
			gate4(__NR_epoll_ctl, at, EPOLL_CTL_DEL, fd, 0);
		mutex_unlock(&set->mutex);
	}
}

static struct epoll_set *set_of(int epfd)
{
	struct descriptor *descriptor = descriptor_of(epfd);
	struct epoll_set *set = descriptor ? __atomic_load_n(&descriptor->epoll, __ATOMIC_ACQUIRE) : NULL;

	if (likely(set) || !descriptor)
		return set;
	mutex_lock(&descriptor->mutex);
	if (!descriptor->epoll) {
		__atomic_store_n(&descriptor->epoll, set_make(), __ATOMIC_RELEASE);
		descriptor->kind = KIND_EPOLL;
	}
	mutex_unlock(&descriptor->mutex);
	return descriptor->epoll;
}

/* Adds or changes: the kernel is told a number and a generation instead of the program's data. */
static long control_change(struct frame *frame, struct epoll_set *set)
{
	struct epoll_event event, told;
	struct frame told_frame = *frame;
	struct registration *entry;
	uint32_t fd = (uint32_t)frame->arg[2], generation;
	long result;

	TRY(copy_guarded(&event, (void *)frame->arg[3], sizeof event));
	entry = registration_of(set, fd, true);
	if (!entry)
		return sys_pass(frame);		/* no such number: the kernel's error */
	generation = (entry->generation + 1) & 0x3fffffff;
	told = (struct epoll_event) { event.events, (uint64_t)generation << 32 | fd };
	told_frame.arg[3] = (uint64_t)&told;
	result = sys_pass(&told_frame);
	if (result == 0)
		*entry = (struct registration) { event.data, event.events, generation & 0x3fffffff, true, true };
	return result;
}

long sys_epoll_ctl(struct frame *frame);
long sys_epoll_ctl(struct frame *frame)
{
	struct epoll_set *set;
	struct registration *entry;
	long result;

	if (thread_self()->is_guest)
		return pass_by_gate(frame);
	set = set_of((int)frame->arg[0]);
	if (!set)
		return sys_pass(frame);
	mutex_lock(&set->mutex);
	if (frame->arg[1] != EPOLL_CTL_DEL) {
		result = control_change(frame, set);
	} else {
		result = sys_pass(frame);
		entry = registration_of(set, (uint32_t)frame->arg[2], false);
		if (result == 0 && entry)
			entry->is_used = false;
	}
	mutex_unlock(&set->mutex);
	if (result == 0 && enclave.mode == MODE_ASYNC && frame->arg[1] != EPOLL_CTL_DEL)
		stream_watch((int)frame->arg[2]);
	return result;
}

/* The kernel's event as the program's: false when it isn't one that the program registered. */
static bool event_translate(uint32_t nr, struct epoll_set *set, struct epoll_event *event)
{
	const uint32_t always = EPOLLERR | EPOLLHUP;
	struct registration *entry = registration_of(set, (uint32_t)event->data, false);

	if (!entry || !entry->is_used || entry->generation != (uint32_t)(event->data >> 32))
		return false;		/* of a number that was closed and registered anew */
	if (event->events & ~(entry->events | always)) {
		check_refuse(nr, "events that were not asked for", event->events);
		return false;
	}
	event->data = entry->data;
	entry->is_new = false;
	if (entry->events & EPOLLONESHOT)
		entry->events &= EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE;
	return true;
}

/* By the gate the kernel has put its events into the program's memory. */
static long events_translate_in_place(uint32_t nr, struct epoll_set *set, uint64_t events, long count)
{
	long kept = 0;

	for (long i = 0; i < count; i++) {
		struct epoll_event event;

		TRY(copy_guarded(&event, (void *)(events + (uint64_t)i * sizeof event), sizeof event));
		if (event_translate(nr, set, &event))
			TRY(copy_guarded((void *)(events + (uint64_t)kept++ * sizeof event), &event, sizeof event));
	}
	return kept;
}

static int64_t now_ms(void)
{
	int64_t time[2] = { 0 };

	gate2(__NR_clock_gettime, CLOCK_MONOTONIC, time);
	return time[0] * 1000 + time[1] / 1000000;
}

/* For how many milliseconds the program would wait; negative: for ever. */
static int64_t timeout_of(const struct frame *frame)
{
	int64_t time[2];

	if (frame->nr != __NR_epoll_pwait2)
		return (int32_t)frame->arg[3];
	if (!frame->arg[3])
		return -1;
	if (copy_guarded(time, (const void *)frame->arg[3], sizeof time) < 0 || (uint64_t)time[0] > UINT32_MAX)
		return UINT32_MAX;
	return time[0] * 1000 + time[1] / 1000000;
}

/* Whether a wait that brought nothing of the program's may go on: the host could bring nothing for ever. `end`: 0 at first. */
static bool may_wait_on(const struct frame *frame, int64_t *end)
{
	int64_t timeout = timeout_of(frame), now = now_ms();

	if (!*end)
		*end = now + timeout;
	return timeout < 0 || now < *end;
}

static long wait_by_gate(struct frame *frame, struct epoll_set *set)
{
	long result, kept;
	int64_t end = 0;

	do {
		result = pass_by_gate(frame);
		if (result <= 0)
			return result;
		mutex_lock(&set->mutex);
		kept = events_translate_in_place((uint32_t)frame->nr, set, frame->arg[1], result);
		mutex_unlock(&set->mutex);
	} while (kept == 0 && may_wait_on(frame, &end));
	return kept;
}

/* Events for data that the enclave holds: the kernel does not know that there is something to read. */
static long events_held(struct epoll_set *set, uint64_t events, long capacity)
{
	long count = 0;

	for (int fd = stream_held_first(); fd >= 0 && count < capacity; fd = stream_held_next(fd)) {
		struct registration *entry = registration_of(set, (uint32_t)fd, false);
		struct epoll_event event = { .events = EPOLLIN };

		if (!entry || !entry->is_used || !(entry->events & EPOLLIN) || (entry->events & EPOLLET && !entry->is_new))
			continue;
		event.data = entry->data;
		entry->is_new = false;
		if (entry->events & EPOLLONESHOT)
			entry->events &= EPOLLONESHOT | EPOLLET;
		TRY(copy_guarded((void *)(events + (uint64_t)count++ * sizeof event), &event, sizeof event));
	}
	return count;
}

/* The program's events from `held` on: what the turn brought; those for descriptors that are there already are merged. */
static long turn_unpack(const struct frame *frame, struct epoll_set *set, const struct epoll_event *lane, long result,
			long held)
{
	struct epoll_event *program = (struct epoll_event *)frame->arg[1];
	long count = held;

	for (long i = 0; i < result && count < (int)frame->arg[2]; i++) {
		struct epoll_event event, other;
		long at;

		copy_in(&event, &lane[i], sizeof event);
		if (!event_translate((uint32_t)frame->nr, set, &event))
			continue;
		for (at = 0; at < held; at++) {
			TRY(copy_guarded(&other, &program[at], sizeof other));
			if (other.data == event.data)
				break;
		}
		if (at < held)
			event.events |= other.events;
		TRY(copy_guarded(&program[at < held ? at : count++], &event, sizeof event));
	}
	return count;
}

/*
 * The helper reads by the number, also where the event is of an earlier connection with that number, which a copy keeps
 * open. Until all is held, no thread closes a number that is being read: see stream_forget().
 */
static void aheads_hold(const struct epoll_event *lane, const struct ring_ahead *ahead, size_t count, struct lane *owner)
{
	for (size_t i = 0; i < count; i++) {
		struct epoll_event event;

		copy_in(&event, &lane[ahead[i].event], sizeof event);
		stream_hold((int)(uint32_t)event.data, &ahead[i], owner);
	}
}

static long wait_by_ring(struct frame *frame, struct epoll_set *set)
{
	struct thread *thread = thread_self();
	long capacity = (int)frame->arg[2] < EVENTS_MAX ? (int)frame->arg[2] : EVENTS_MAX;	/* the rest comes next turn */
	struct ring_ahead ahead[AHEAD_MAX];
	long args[6] = { (long)frame->arg[0], 0, capacity, (long)frame->arg[3], 0, 0 }, result, held;
	struct epoll_event *lane = lane_data(thread, (size_t)capacity * sizeof *lane);
	const uint64_t asked[6] = { frame->arg[0], 0, (uint64_t)capacity };	/* not what the program has room for */
	size_t ahead_count;
	int64_t end = 0;

	if (!lane)
		return wait_by_gate(frame, set);
	args[1] = (long)lane;
	do {
		mutex_lock(&set->mutex);
		held = events_held(set, frame->arg[1], (int)frame->arg[2]);
		mutex_unlock(&set->mutex);
		TRY(held);
		if (held)
			args[3] = 0;
		result = ring_turn(thread, __NR_epoll_wait, args, RING_EINTR, ahead, &ahead_count);
		thread->has_posted = false;
		if (result != -GATE_RESTART)
			result = check_result(__NR_epoll_wait, &call_shapes[__NR_epoll_wait], asked, result);
		if (result < 0)
			return held ? held : result;
		mutex_lock(&set->mutex);
		aheads_hold(lane, ahead, ahead_count, thread->lane);
		held = turn_unpack(frame, set, lane, result, held);
		mutex_unlock(&set->mutex);
	} while (held == 0 && result > 0 && may_wait_on(frame, &end));
	return held;
}

static bool is_worth_crossing(const struct thread *thread)
{
	return enclave.is_exit_dear || (thread->turns.by_ring && !thread->posts_paused) || thread->has_posted ||
	       stream_held_first() >= 0;
}

long sys_epoll_wait(struct frame *frame);
long sys_epoll_wait(struct frame *frame)
{
	struct thread *thread = thread_self();
	struct epoll_set *set = thread->is_guest ? NULL : set_of((int)frame->arg[0]);
	long result;

	if (!set)
		return pass_by_gate(frame);
	thread->stats.turns++;
	if (enclave.mode == MODE_SYNC || enclave.has_signalfd || (int)frame->arg[2] <= 0 || !is_worth_crossing(thread) ||
	    !ring_attach(thread)) {
		result = wait_by_gate(frame, set);
	} else {
		thread->stats.calls_by_exit[WIRE_EXIT_RING]++;
		result = wait_by_ring(frame, set);
		lane_data_release(thread);
	}
	turns_judge(thread, result);
	return return_by_jump(result);
}

/* A wait with a mask of its own takes the gate: the mask is the thread's. */
static long wait_masked(struct frame *frame)
{
	struct thread *thread = thread_self();
	struct epoll_set *set = thread->is_guest ? NULL : set_of((int)frame->arg[0]);
	struct frame masked = *frame;
	long result;

	if (frame->arg[5] != 8)
		return -EINVAL;
	TRY(call_mask_begin(&masked.arg[4]));
	thread->stats.turns++;
	if (stream_held_first() >= 0 && set) {
		result = events_held(set, frame->arg[1], (int)frame->arg[2]);
		if (result > 0) {
			call_mask_end();
			return result;
		}
	}
	result = set ? wait_by_gate(&masked, set) : pass_by_gate(&masked);
	call_mask_end();
	return result;
}

long sys_epoll_pwait(struct frame *frame);
long sys_epoll_pwait(struct frame *frame)
{
	return frame->arg[4] ? wait_masked(frame) : sys_epoll_wait(frame);
}

long sys_epoll_pwait2(struct frame *frame);
long sys_epoll_pwait2(struct frame *frame)
{
	struct epoll_set *set = thread_self()->is_guest ? NULL : set_of((int)frame->arg[0]);

	if (frame->arg[4])
		return wait_masked(frame);
	return set ? wait_by_gate(frame, set) : pass_by_gate(frame);
}
