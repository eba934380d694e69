/*
 * turns.h - whether a thread's event-loop turns cross by the ring.
 *
 * Owns: struct turns, what a thread has measured of its turns. Must never: decide anything but speed.
 * Used by: epoll.c, stream_write.c, thread.h.
 */
#ifndef SCONE_TURNS_H
#define SCONE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

/* What an event costs: time that passes, in cycles; time of a core, in nanoseconds, the twin's with it. */
struct turn_cost {
	uint64_t passed, core;
};

struct turns {
	bool     by_ring;		/* they cross now */
	uint8_t  phase;			/* enum turn_phase, of turns.c */
	uint8_t  rest;			/* turns in a row that had no use for the helper */
	uint8_t  wins, losses;		/* pairs of tries in a row that were cheaper by the ring; that were not */
	uint32_t average;		/* events a turn, times 16 */
	uint32_t left;			/* turns left in this phase */
	uint32_t events;		/* that it brought */
	struct turn_cost start;		/* the clocks when it began */
	struct turn_cost gate;		/* the last try by it */
};

struct thread;

/* A turn of the calling thread's has brought `events`. Not while it holds lane_data(). */
void turns_judge(struct thread *thread, long events);
#endif
