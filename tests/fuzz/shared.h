/*
 * shared.h - stands in for untrusted.h where the enclave is fuzzed: every touch of shared memory is the host's chance.
 *
 * Owns: the same words, in C that a sanitizer sees, with host_before() and host_after() around each. A value that is
 * fetched twice is fetched different. Must never: be included by the product. Used by: tools/fuzz, by -include.
 */
#ifndef SCONE_UNTRUSTED_H
#define SCONE_UNTRUSTED_H

#include <stddef.h>
#include <stdint.h>

void host_before(void *shared, size_t size);
void host_after(void *shared, size_t size);

static inline uint32_t fetch32(const void *shared)
{
	uint32_t value;

	host_before((void *)shared, sizeof value);
	value = __atomic_load_n((const uint32_t *)shared, __ATOMIC_ACQUIRE);
	host_after((void *)shared, sizeof value);
	return value;
}

static inline uint64_t fetch64(const void *shared)
{
	uint64_t value;

	host_before((void *)shared, sizeof value);
	value = __atomic_load_n((const uint64_t *)shared, __ATOMIC_ACQUIRE);
	host_after((void *)shared, sizeof value);
	return value;
}

static inline void put32(void *shared, uint32_t value)
{
	__atomic_store_n((uint32_t *)shared, value, __ATOMIC_RELEASE);
}

static inline void put64(void *shared, uint64_t value)
{
	__atomic_store_n((uint64_t *)shared, value, __ATOMIC_RELEASE);
}

static inline uint32_t exchange32(void *shared, uint32_t value)
{
	host_before(shared, sizeof value);
	return __atomic_exchange_n((uint32_t *)shared, value, __ATOMIC_SEQ_CST);
}

static inline int replace32(void *shared, uint32_t old, uint32_t value)
{
	host_before(shared, sizeof value);
	return __atomic_compare_exchange_n((uint32_t *)shared, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline int replace8(void *shared, uint8_t old, uint8_t value)
{
	host_before(shared, sizeof value);
	return __atomic_compare_exchange_n((uint8_t *)shared, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline void copy_in(void *to, const void *shared, size_t size)
{
	host_before((void *)shared, size);
	__builtin_memcpy(to, shared, size);
	host_after((void *)shared, size);
}

static inline void copy_out(void *shared, const void *from, size_t size)
{
	__builtin_memcpy(shared, from, size);
}

/* linux/stat.h leaves these to libc's own where libc's headers were seen. */
#define S_IFREG 0100000
#define S_ISREG(mode) (((mode) & 0170000) == S_IFREG)

#endif
