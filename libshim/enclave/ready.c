/*
 * ready.c - what the host says is ready: only what the program asked for.
 *
 * Owns: the copies of the requests of poll and select, against which the replies are checked, whichever exit they came
 * by. Must never: write what the kernel wouldn't, another thread may be using it. Called by: poll.c.
 */
#include <linux/poll.h>
#include "check.h"
#include "ready.h"

enum { POLLED_MAX = 1 << 20, POLLED_HERE = 256, SETS = 3, WORDS_MAX = (1 << 20) / 64, WORDS_HERE = 16 };

/* Room for `size` bytes: `here` if it suffices, else pages that room_free() gives back; NULL without memory. */
static void *room_take(void *here, size_t capacity, size_t size)
{
	return size <= capacity ? here : pages_map(size);
}

static void room_free(void *room, const void *here, size_t size)
{
	if (room != here)
		gate2(__NR_munmap, room, size);
}

/*
 * The number of ready descriptors, or -EIO. Only revents are looked at, and taken back where they are a lie: another
 * thread of the program may change fd and events meanwhile.
 */
static long polled_check(uint32_t nr, const struct pollfd *asked, struct pollfd *program, size_t count)
{
	long ready = 0;

	for (size_t i = 0; i < count; i++) {
		const int16_t none = 0;
		int16_t revents;

		TRY(copy_guarded(&revents, &program[i].revents, sizeof revents));
		ready += revents != 0;
		if (!(revents & ~(asked[i].events | POLLERR | POLLHUP | POLLNVAL)) && (asked[i].fd >= 0 || !revents))
			continue;
		TRY(copy_guarded(&program[i].revents, &none, sizeof none));
		return check_refuse(nr, "events that were not asked for", revents);
	}
	return ready;
}

long polled_pass(struct frame *frame, long (*pass)(struct frame *frame))
{
	struct pollfd here[POLLED_HERE], *program = (struct pollfd *)frame->arg[0], *asked;
	size_t count = (uint32_t)frame->arg[1], size = count * sizeof *asked;
	long result, ready;

	if (count > POLLED_MAX || !count)
		return pass(frame);
	asked = room_take(here, sizeof here, size);
	if (!asked)
		return -ENOMEM;
	if (copy_guarded(asked, program, size) < 0) {
		room_free(asked, here, size);
		return pass(frame);		/* the kernel's error */
	}
	result = pass(frame);
	if (result >= 0) {
		ready = polled_check((uint32_t)frame->nr, asked, program, count);
		if (ready >= 0 && ready != result)
			ready = check_refuse((uint32_t)frame->nr, "a count of ready descriptors", result);
		result = ready;
	}
	room_free(asked, here, size);
	return result;
}

static long bits(uint64_t word)
{
	long count = 0;

	for (; word; word &= word - 1)
		count++;
	return count;
}

/*
 * `asked` and `got`: three sets of `words` each. The kernel looks at no more numbers than its table has (64 at least):
 * the words after those stay as they were and don't count.
 */
static bool selected_is_true(const uint64_t *asked, const uint64_t *got, size_t words, long result)
{
	long count = 0;
	bool same = true;

	for (size_t i = 0; i < SETS * words; i++) {
		if (got[i] & ~asked[i])
			return false;
		count += bits(got[i]);
	}
	for (size_t i = words; i > 1 && same && count != result; i--) {
		for (size_t set = 0; set < SETS; set++) {
			size_t at = set * words + i - 1;

			same = same && got[at] == asked[at];
			count -= bits(got[at]);
		}
	}
	return same && count == result;
}

/* The three sets that the frame's arguments 1 to 3 point to; absent ones are empty. */
static long sets_get(const struct frame *frame, uint64_t *sets, size_t words)
{
	memset(sets, 0, SETS * words * sizeof *sets);
	for (size_t i = 0; i < SETS; i++)
		if (frame->arg[1 + i])
			TRY(copy_guarded(&sets[i * words], (void *)frame->arg[1 + i], words * sizeof *sets));
	return 0;
}

static long sets_put(const struct frame *frame, const uint64_t *sets, size_t words)
{
	for (size_t i = 0; i < SETS; i++)
		if (frame->arg[1 + i])
			TRY(copy_guarded((void *)frame->arg[1 + i], &sets[i * words], words * sizeof *sets));
	return 0;
}

long selected_pass(struct frame *frame, long (*pass)(struct frame *frame))
{
	uint64_t here[2 * SETS * WORDS_HERE], *asked;
	size_t words = ((uint32_t)frame->arg[0] + 63UL) / 64, size = 2 * SETS * words * sizeof *asked;
	long result;

	if (words > WORDS_MAX || !words)
		return pass(frame);
	asked = room_take(here, sizeof here, size);
	if (!asked)
		return -ENOMEM;
	result = sets_get(frame, asked, words);
	if (result < 0) {
		room_free(asked, here, size);
		return pass(frame);		/* the kernel's error */
	}
	result = pass(frame);
	if (result >= 0) {
		uint64_t *got = &asked[SETS * words];

		if (sets_get(frame, got, words) < 0 || !selected_is_true(asked, got, words, result)) {
			result = check_refuse((uint32_t)frame->nr, "ready descriptors", result);
			if (sets_put(frame, asked, words) < 0)
				result = -EFAULT;
		}
	}
	room_free(asked, here, size);
	return result;
}
