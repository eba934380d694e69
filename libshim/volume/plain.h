/*
 * plain.h - bytes and strings for code that has no libc.
 *
 * Owns: copying, comparing and measuring small things, inline. Must never: touch memory of the program that may not be there.
 * Used by: names.c and its parts, undo.c, file.c, lock.c.
 */
#ifndef SCONE_VOLUME_PLAIN_H
#define SCONE_VOLUME_PLAIN_H

#include <stdint.h>
#include <stdbool.h>

/* Copies; `to` may stand before `from` in the same memory. By words: most of what is copied is a name or a record. */
static inline void plain_copy(void *to, const void *from, uint64_t size)
{
	uint8_t *target = to;
	const uint8_t *source = from;

	for (; size >= 8; size -= 8, target += 8, source += 8)
		__builtin_memcpy(target, source, 8);
	for (; size; size--)
		*target++ = *source++;
}

/* Copies to a place that may stand behind `from` in the same memory. */
static inline void plain_copy_up(void *to, const void *from, uint64_t size)
{
	uint8_t *target = to;
	const uint8_t *source = from;

	while (size--)
		target[size] = source[size];
}

static inline void plain_clear(void *to, uint64_t size)
{
	uint8_t *target = to;

	for (; size >= 8; size -= 8, target += 8)
		__builtin_memset(target, 0, 8);
	for (; size; size--)
		*target++ = 0;
}

static inline bool plain_equal(const void *a, const void *b, uint64_t size)
{
	const uint8_t *left = a, *right = b;
	uint64_t one, other;

	for (; size >= 8; size -= 8, left += 8, right += 8) {
		__builtin_memcpy(&one, left, 8);
		__builtin_memcpy(&other, right, 8);
		if (one != other)
			return false;
	}
	for (; size; size--)
		if (*left++ != *right++)
			return false;
	return true;
}

/* Bytes before the NUL, at most `limit`. */
static inline uint64_t plain_size(const char *string, uint64_t limit)
{
	uint64_t size = 0;

	while (size < limit && string[size])
		size++;
	return size;
}

#endif
