/*
 * untrusted.h - the only way in which the enclave touches memory that the host can change.
 *
 * Owns: the words fetch, put, exchange, copy_in, copy_out. Each fetch reads memory exactly once, into a local that the
 * compiler can't re-read. Must never: hand out a value twice, or check anything (that is the caller's).
 * Used by: the ring files and everything that looks at lane data.
 */
#ifndef SCONE_UNTRUSTED_H
#define SCONE_UNTRUSTED_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t fetch32(const void *shared)
{
	return __atomic_load_n((const volatile uint32_t *)shared, __ATOMIC_ACQUIRE);
}

static inline uint64_t fetch64(const void *shared)
{
	return __atomic_load_n((const volatile uint64_t *)shared, __ATOMIC_ACQUIRE);
}

static inline void put32(void *shared, uint32_t value)
{
	__atomic_store_n((volatile uint32_t *)shared, value, __ATOMIC_RELEASE);
}

static inline void put64(void *shared, uint64_t value)
{
	__atomic_store_n((volatile uint64_t *)shared, value, __ATOMIC_RELEASE);
}

/* The old value; a full barrier. */
static inline uint32_t exchange32(void *shared, uint32_t value)
{
	return __atomic_exchange_n((volatile uint32_t *)shared, value, __ATOMIC_SEQ_CST);
}

/* Whether it was `old` and is `value` now; a full barrier. */
static inline int replace32(void *shared, uint32_t old, uint32_t value)
{
	return __atomic_compare_exchange_n((volatile uint32_t *)shared, &old, value, 0, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* The same for a byte. */
static inline int replace8(void *shared, uint8_t old, uint8_t value)
{
	return __atomic_compare_exchange_n((volatile uint8_t *)shared, &old, value, 0, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* Copy `size` bytes in from the host's side, each byte once. The copy is what may be checked and used. */
static inline void copy_in(void *to, const void *shared, size_t size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(shared), "+c"(size) : : "memory");
}

/* Copy `size` bytes out to the host's side. */
static inline void copy_out(void *shared, const void *from, size_t size)
{
	__asm__ volatile("rep movsb" : "+D"(shared), "+S"(from), "+c"(size) : : "memory");
}

#endif
