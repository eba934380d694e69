/*
 * slices.h - a load that lives through several slices of time, so that others can have theirs between.
 *
 * Owns: the talk with scone_preload/bench/slices.py. Says "ready"; each line on standard input is a slice's seconds, answered by
 * a line with the operations that were done and the seconds they took. Must never: be included by anything else.
 * Used by: file_load.c, sqlite_load.c, cipher_load.c.
 */
#include <stdint.h>
#include "clock.h"

enum { SLICE_END = 1 };

/* One kind of load; functions that a kind hasn't are NULL. */
struct load {
	const char *name;
	int (*step)(void);	/* one operation: 0, or SLICE_END when there are no more in this slice, and none was done */
	int batch;		/* operations between two looks at the clock */
	void (*begin)(void);	/* before a slice, outside of its time */
	void (*finish)(void);	/* inside of a slice's time, at its end */
	void (*tidy)(void);	/* after a slice, outside of its time */
};

static uint64_t random_state = 0x9e3779b97f4a7c15;

static inline uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

static void slice(const struct load *load, double seconds)
{
	unsigned long done = 0;
	int is_over = 0;
	double start, took;

	if (load->begin)
		load->begin();
	start = now_s();
	while (!is_over && now_s() - start < seconds)
		for (int i = 0; i < load->batch && !is_over; i++) {
			is_over = load->step() == SLICE_END;
			done += !is_over;
		}
	if (load->finish)
		load->finish();
	took = now_s() - start;
	if (load->tidy)
		load->tidy();
	printf("%lu %.9f\n", done, took);
	fflush(stdout);
}

/* Slices as they are asked for, until standard input ends. */
static int serve(const struct load *load)
{
	char line[64];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		slice(load, atof(line));
	return 0;
}
