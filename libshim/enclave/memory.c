/*
 * memory.c - memory, text and locks for code that has no libc.
 *
 * Owns: memcpy and friends, guarded string copies, struct text, mutex. Must never: allocate from the program's heap or
 * touch vector registers. Used by: everything in enclave/.
 */
#include <linux/futex.h>
#include <linux/mman.h>
#include "enclave.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	void *destination = to;

	__asm__ volatile("rep movsb" : "+D"(destination), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	void *destination = to;

	__asm__ volatile("rep stosb" : "+D"(destination), "+c"(size) : "a"(byte) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *left = a, *right = b;

	for (size_t i = 0; i < size; i++)
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	return 0;
}

size_t string_size(const char *string)
{
	size_t size = 0;

	while (string[size])
		size++;
	return size;
}

bool string_equal(const char *a, const char *b)
{
	size_t size = string_size(a);

	return size == string_size(b) && memcmp(a, b, size) == 0;
}

bool string_starts(const char *string, const char *prefix)
{
	for (; *prefix; prefix++, string++)
		if (*string != *prefix)
			return false;
	return true;
}

/* By pieces that end at page boundaries: a string may end right before a page that is not there. */
long copy_string(char *to, const char *from, size_t capacity)
{
	size_t done = 0;

	while (done < capacity) {
		size_t piece = PAGE_SIZE - ((uintptr_t)(from + done) & (PAGE_SIZE - 1));

		if (piece > capacity - done)
			piece = capacity - done;
		if (piece > 256)
			piece = 256 - ((uintptr_t)(from + done) & 255);
		TRY(copy_guarded(to + done, from + done, piece));
		for (size_t i = done; i < done + piece; i++)
			if (!to[i])
				return (long)i;
		done += piece;
	}
	return -ENAMETOOLONG;
}

void *pages_map(size_t size)
{
	long address = gate6(__NR_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return address < 0 ? NULL : (void *)address;
}

void mutex_lock(struct mutex *mutex)
{
	uint32_t state = 0;

	if (__atomic_compare_exchange_n(&mutex->state, &state, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(&mutex->state, 2, __ATOMIC_ACQUIRE) != 0)
		gate4(__NR_futex, &mutex->state, FUTEX_WAIT_PRIVATE, 2, 0);
}

void mutex_unlock(struct mutex *mutex)
{
	if (__atomic_exchange_n(&mutex->state, 0, __ATOMIC_RELEASE) == 2)
		gate3(__NR_futex, &mutex->state, FUTEX_WAKE_PRIVATE, 1);
}

void text_add(struct text *text, const char *string)
{
	while (*string && text->size + 1 < text->capacity)
		text->bytes[text->size++] = *string++;
	text->bytes[text->size] = 0;
}

void text_add_number(struct text *text, long number)
{
	char digits[24];
	size_t at = sizeof digits - 1;
	unsigned long rest = number < 0 ? 0UL - (unsigned long)number : (unsigned long)number;

	digits[at] = 0;
	do
		digits[--at] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (number < 0)
		digits[--at] = '-';
	text_add(text, digits + at);
}

void text_add_hex(struct text *text, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits - 1;

	digits[at] = 0;
	do
		digits[--at] = "0123456789abcdef"[number % 16];
	while (number /= 16);
	digits[--at] = 'x';
	digits[--at] = '0';
	text_add(text, digits + at);
}
