/*
 * ready.c - what the host says is ready: only what the program asked for, and no later than it asked.
 *
 * Owns: the predicates of poll and select. Must never: take what another thread of the program may be changing (a pollfd's
 * fd and events) for the host's word. Called by: believe.c.
 */
#include <linux/poll.h>
#include "calls.gen.h"
#include "check.h"
#include "predicates.h"

enum { SETS = 3, PIECE = 16, MICROSECONDS = 1000000, NANOSECONDS = 1000000000 };

struct time { int64_t seconds, fraction; };

/* Only what was asked may have a fraction of more than a second (a timeval). */
long remaining_check(const struct reply *reply)
{
	for (uint32_t i = 0; i < reply->shape->arg_count; i++) {
		const struct arg_shape *at = &reply->shape->arg[i];
		int64_t unit = at->check == check_timeval ? MICROSECONDS : NANOSECONDS;
		struct time asked, got;

		if (at->kind != ARG_INOUT_STRUCT || reply->asked_size[i] != sizeof asked)
			continue;
		memcpy(&asked, reply->asked[i], sizeof asked);
		TRY(copy_guarded(&got, (void *)reply->arg[i], sizeof got));
		if (got.seconds == asked.seconds && got.fraction == asked.fraction)
			continue;
		if (__builtin_add_overflow(asked.seconds, asked.fraction / unit, &asked.seconds))
			asked.seconds = INT64_MAX;
		asked.fraction %= unit;
		if (got.seconds < 0 || got.fraction < 0 || got.fraction >= unit || got.seconds > asked.seconds ||
		    (got.seconds == asked.seconds && got.fraction > asked.fraction))
			return check_refuse(reply->nr, "a remaining time of seconds", got.seconds);
	}
	return 0;
}

/* Only revents are looked at: another thread of the program may change fd and events meanwhile. */
long believe_polled(const struct reply *reply)
{
	const struct pollfd *asked = reply->asked[0];
	struct pollfd *program = (struct pollfd *)reply->arg[0];
	size_t count = (uint32_t)reply->arg[1];
	long ready = 0;

	TRY(remaining_check(reply));
	TRY(reply->result);
	if (count * sizeof *asked > reply->asked_size[0])
		return check_refuse(reply->nr, "descriptors without memory", (long)count);
	for (size_t i = 0; i < count; i++) {
		int16_t revents;

		TRY(copy_guarded(&revents, &program[i].revents, sizeof revents));
		ready += revents != 0;
		if (revents & ~(asked[i].events | POLLERR | POLLHUP | POLLNVAL) || (asked[i].fd < 0 && revents))
			return check_refuse(reply->nr, "events that were not asked for", revents);
	}
	return ready == reply->result ? ready : check_refuse(reply->nr, "a count of ready descriptors", reply->result);
}

static long bits(uint64_t word)
{
	long count = 0;

	for (; word; word &= word - 1)
		count++;
	return count;
}

/* How far the sets were compared. The kernel looks at no more numbers than its table has (64 at least): the words after
 * those stay as they were and don't count. */
struct selection { long count; bool is_true; };

/* Up to PIECE words of the three sets, from `from` on. 0, or -EIO when a bit was not asked for. */
static long piece_compare(const struct reply *reply, size_t from, size_t words, struct selection *so_far)
{
	uint64_t got[SETS][PIECE] = { 0 };

	for (uint32_t set = 0; set < SETS; set++)
		if (reply->asked[1 + set])
			TRY(copy_guarded(got[set], (uint64_t *)reply->arg[1 + set] + from, words * 8));
	for (size_t i = 0; i < words; i++) {
		for (uint32_t set = 0; set < SETS; set++) {
			const uint64_t *asked = reply->asked[1 + set];
			uint64_t word = asked ? asked[from + i] : 0;

			if (got[set][i] & ~word)
				return -EIO;
			so_far->is_true = so_far->is_true && got[set][i] == word;
			so_far->count += bits(got[set][i]);
		}
		so_far->is_true = so_far->is_true || so_far->count == reply->result;
	}
	return 0;
}

long believe_selected(const struct reply *reply)
{
	struct selection so_far = { 0 };
	size_t words = SIZE_MAX;
	long result = 0;

	TRY(remaining_check(reply));
	TRY(reply->result);
	for (uint32_t set = 1; set <= SETS; set++)
		if (reply->asked[set] && reply->asked_size[set] / 8 < words)
			words = reply->asked_size[set] / 8;
	words = words == SIZE_MAX ? 0 : words;
	for (size_t i = 0; i < words && !result; i += PIECE)
		result = piece_compare(reply, i, words - i < PIECE ? words - i : PIECE, &so_far);
	if (result == -EIO || (words ? !so_far.is_true : reply->result != 0))
		return check_refuse(reply->nr, "ready descriptors", reply->result);
	return result < 0 ? result : reply->result;
}
