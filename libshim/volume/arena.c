/*
 * arena.c - locks, bits, staging buffers, and an arena's first bytes.
 *
 * Owns: struct vol_lock, the staging buffers. Must never: touch the container. Called by: all files of the core.
 */
#include "arena.h"
#include "cipher.h"

enum { SPINS = 200, WAIT_NS = 20000000, CACHE_DEFAULT = 256 << 20, CACHE_MIN = 2 << 20 };
#define HAS_WAITERS 0x80000000u

bool vol_try_lock(struct volume *volume, struct vol_lock *lock)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&lock->word, &none, volume->host->self(volume->context), false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* One wait for whoever holds it; true: it is ours. A holder that is still the same after a wait may be dead. */
static bool lock_after_wait(struct volume *volume, struct vol_lock *lock, uint32_t self)
{
	uint32_t seen = __atomic_load_n(&lock->word, __ATOMIC_RELAXED), waited = seen | HAS_WAITERS;

	if (!seen)
		return __atomic_compare_exchange_n(&lock->word, &seen, self | HAS_WAITERS, false, __ATOMIC_ACQUIRE,
						   __ATOMIC_RELAXED);
	if (seen != waited &&
	    !__atomic_compare_exchange_n(&lock->word, &seen, waited, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return false;
	volume->host->wait(volume->context, &lock->word, waited, WAIT_NS);
	if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) != waited ||
	    volume->host->is_alive(volume->context, waited & ~HAS_WAITERS))
		return false;
	return __atomic_compare_exchange_n(&lock->word, &waited, self | HAS_WAITERS, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Unbounded as every lock's wait: it ends when the holder lets go, or dies. */
void vol_lock(struct volume *volume, struct vol_lock *lock)
{
	uint32_t self;

	for (int i = 0; i < SPINS; i++) {
		if (vol_try_lock(volume, lock))
			return;
		__builtin_ia32_pause();
	}
	self = volume->host->self(volume->context);
	while (!lock_after_wait(volume, lock, self))
		;
}

bool vol_lock_is_dead(struct volume *volume, const struct vol_lock *lock)
{
	uint32_t holder = __atomic_load_n(&lock->word, __ATOMIC_RELAXED) & ~HAS_WAITERS;

	return holder && !volume->host->is_alive(volume->context, holder);
}

void vol_unlock(struct volume *volume, struct vol_lock *lock)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) & HAS_WAITERS)
		volume->host->wake(volume->context, &lock->word, 1);
}

uint64_t bits_next(const uint64_t *bits, uint64_t at, uint64_t end)
{
	while (at < end) {
		uint64_t word = __atomic_load_n(&bits[at / 64], __ATOMIC_RELAXED) >> at % 64;

		if (word) {
			at += (uint64_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at = (at / 64 + 1) * 64;
	}
	return end;
}

uint64_t bits_next_clear(const uint64_t *bits, uint64_t at, uint64_t end)
{
	while (at < end) {
		uint64_t word = ~__atomic_load_n(&bits[at / 64], __ATOMIC_RELAXED) >> at % 64;

		if (word) {
			at += (uint64_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at = (at / 64 + 1) * 64;
	}
	return end;
}

uint64_t bits_count(const uint64_t *bits, uint64_t end)
{
	uint64_t count = 0;

	for (uint64_t at = 0; at < end; at += 64) {
		uint64_t word = bits[at / 64] & (end - at < 64 ? (1ULL << (end - at)) - 1 : ~0ULL);

		for (; word; word &= word - 1)
			count++;
	}
	return count;
}

uint32_t staging_take(struct volume *volume)
{
	uint32_t first = volume->host->self(volume->context) % STAGINGS;

	for (uint32_t i = 0; i < STAGINGS; i++)
		if (vol_try_lock(volume, &volume->arena->staging[(first + i) % STAGINGS]))
			return (first + i) % STAGINGS;
	vol_lock(volume, &volume->arena->staging[first]);
	return first;
}

void staging_give(struct volume *volume, uint32_t staging)
{
	vol_unlock(volume, &volume->arena->staging[staging]);
}

uint64_t volume_arena_size(void)
{
	return sizeof(struct volume_arena);
}

void *volume_region(struct volume *volume, enum vol_region region)
{
	return volume->arena->region[region];
}

long arena_make(struct volume *volume, const struct volume_shape *shape, const uint8_t *key)
{
	struct volume_arena *arena = volume->arena;
	uint64_t size = shape->cache_size ? shape->cache_size : CACHE_DEFAULT;

	if (shape->log_blocks < 16 || shape->log_blocks > 1 << 20 || arena->is_mounted)
		return -EINVAL;
	arena->cache_size = (size < CACHE_MIN ? CACHE_MIN : size) / VOLUME_BLOCK;
	arena->log_blocks = shape->log_blocks;
	arena->batch_blocks = shape->log_blocks / 4 < BATCH_BLOCKS ? shape->log_blocks / 4 : BATCH_BLOCKS;
	arena->is_readonly = shape->is_readonly;
	arena->is_plain = shape->is_plain;
	memcpy(arena->volume_id, shape->volume_id, sizeof arena->volume_id);
	volume->host->random(volume->context, &arena->nonce_low, sizeof arena->nonce_low);
	volume->host->random(volume->context, &arena->nonce_high, sizeof arena->nonce_high);
	arena->table.record.mode = 0100600;
	return cipher_prepare(volume, key);
}

long arena_may_change(const struct volume *volume)
{
	if (__atomic_load_n(&volume->arena->is_broken, __ATOMIC_RELAXED))
		return -EIO;
	return volume->arena->is_readonly ? -EROFS : 0;
}

void arena_waits(struct volume *volume)
{
	int64_t none = 0;

	if (!__atomic_load_n(&volume->arena->waiting_since, __ATOMIC_RELAXED))
		__atomic_compare_exchange_n(&volume->arena->waiting_since, &none, volume->host->now(volume->context).seconds | 1,
					    false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
