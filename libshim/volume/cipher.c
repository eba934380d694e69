/*
 * cipher.c - AES-256-GCM by the objects of Intel's libIPSec_MB, which call nothing and allocate nothing.
 *
 * Owns: which of them is used, nonces, the comparison of tags. Must never: leave in memory what a wrong tag came with. Called
 * by: what seals and opens blocks, batches, checkpoints.
 *
 * Two of its variants are linked: SSE, and AVX2 (gen4). The one for AVX512 is left out: half a megabyte in every shim.
 */
#include <cpuid.h>
#include <intel-ipsec-mb.h>
#include "cipher.h"

enum cipher_kind { CIPHER_SSE, CIPHER_AVX };
enum { AAD_SIZE = 16, BITS_SSE = 1 << 25 | 1 << 19 | 1 << 9 | 1 << 1, BITS_AVX = 1 << 28 | 1 << 27, BIT_AVX2 = 1 << 5 };

/* What the objects tell of wrong arguments, which we never give: theirs would come with libc's headers. */
int imb_errno __attribute__((visibility("hidden")));
int imb_errno_types[64] __attribute__((visibility("hidden")));

_Static_assert(sizeof(struct gcm_key_data) <= sizeof((struct volume_arena *)0)->key, "the arena has room for it");

static bool has_avx2(void)
{
	uint32_t a, b, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & BITS_AVX) != BITS_AVX || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 6) == 6 && b & BIT_AVX2;
}

long cipher_prepare(struct volume *volume, const uint8_t key[VOLUME_KEY_SIZE])
{
	struct gcm_key_data *expanded = (struct gcm_key_data *)volume->arena->key;
	uint8_t unused[sizeof expanded->expanded_keys] __attribute__((aligned(16)));
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & BITS_SSE) != BITS_SSE)
		return -ENOSYS;
	volume->arena->cipher = has_avx2() ? CIPHER_AVX : CIPHER_SSE;
	cipher_begin(volume);
	aes_keyexp_256_sse(key, expanded->expanded_keys, unused);
	if (volume->arena->cipher == CIPHER_AVX)
		aes_gcm_precomp_256_avx_gen4(expanded);
	else
		aes_gcm_precomp_256_sse(expanded);
	cipher_end(volume);
	memset(unused, 0, sizeof unused);
	__asm__ volatile("" : : "r"(unused) : "memory");
	return 0;
}

void cipher_begin(struct volume *volume)
{
	volume->host->vectors_save(volume->context);
}

void cipher_end(struct volume *volume)
{
	volume->host->vectors_restore(volume->context);
}

struct volume_place cipher_place(uint64_t ino, uint32_t level, uint64_t index)
{
	return (struct volume_place){ ino, index + ((uint64_t)level << 56) };
}

/* The low half counts from a random start, and would take 2^64 seals to come round. */
static void nonce_new(struct volume *volume, uint8_t nonce[VOLUME_NONCE_SIZE])
{
	uint64_t low = __atomic_fetch_add(&volume->arena->nonce_low, 1, __ATOMIC_RELAXED);

	memcpy(nonce, &low, sizeof low);
	memcpy(nonce + sizeof low, &volume->arena->nonce_high, sizeof volume->arena->nonce_high);
}

static void encrypt(struct volume *volume, void *to, const void *from, uint64_t size, const uint8_t *nonce, const void *aad,
		    uint64_t aad_size, uint8_t *tag)
{
	const struct gcm_key_data *key = (const struct gcm_key_data *)volume->arena->key;
	struct gcm_context_data context;

	if (volume->arena->cipher == CIPHER_AVX)
		aes_gcm_enc_256_avx_gen4(key, &context, to, from, size, nonce, aad, aad_size, tag, VOLUME_TAG_SIZE);
	else
		aes_gcm_enc_256_sse(key, &context, to, from, size, nonce, aad, aad_size, tag, VOLUME_TAG_SIZE);
}

static void decrypt(struct volume *volume, void *to, const void *from, uint64_t size, const uint8_t *nonce, const void *aad,
		    uint64_t aad_size, uint8_t *tag)
{
	const struct gcm_key_data *key = (const struct gcm_key_data *)volume->arena->key;
	struct gcm_context_data context;

	if (volume->arena->cipher == CIPHER_AVX)
		aes_gcm_dec_256_avx_gen4(key, &context, to, from, size, nonce, aad, aad_size, tag, VOLUME_TAG_SIZE);
	else
		aes_gcm_dec_256_sse(key, &context, to, from, size, nonce, aad, aad_size, tag, VOLUME_TAG_SIZE);
}

/* In the same time whatever they hold. */
static bool tag_equal(const uint8_t *a, const uint8_t *b)
{
	uint8_t differs = 0;

	for (int i = 0; i < VOLUME_TAG_SIZE; i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

/* A GMAC is over one piece, so place and bytes are put together. `tag` is over the copy in `to`. */
static void authenticate(struct volume *volume, const struct volume_place *place, const void *from, void *to,
			 const uint8_t *nonce, uint8_t *tag)
{
	uint8_t whole[AAD_SIZE + VOLUME_BLOCK] __attribute__((aligned(16))), nothing[16];

	memcpy(whole, place, AAD_SIZE);
	memcpy(whole + AAD_SIZE, from, VOLUME_BLOCK);
	encrypt(volume, nothing, nothing, 0, nonce, whole, sizeof whole, tag);
	memcpy(to, whole + AAD_SIZE, VOLUME_BLOCK);
}

void cipher_seal_block(struct volume *volume, struct volume_place place, bool is_plain, const void *from, void *to,
		       struct volume_entry *entry)
{
	nonce_new(volume, entry->nonce);
	if (is_plain)
		authenticate(volume, &place, from, to, entry->nonce, entry->tag);
	else
		encrypt(volume, to, from, VOLUME_BLOCK, entry->nonce, &place, AAD_SIZE, entry->tag);
}

bool cipher_open_block(struct volume *volume, struct volume_place place, bool is_plain, const void *from, void *to,
		       const struct volume_entry *entry)
{
	uint8_t tag[VOLUME_TAG_SIZE];

	if (is_plain)
		authenticate(volume, &place, from, to, entry->nonce, tag);
	else
		decrypt(volume, to, from, VOLUME_BLOCK, entry->nonce, &place, AAD_SIZE, tag);
	if (tag_equal(tag, entry->tag))
		return true;
	memset(to, 0, VOLUME_BLOCK);
	return false;
}

/* How long it is. */
static uint64_t body_aad(const struct volume_seal *head, const uint8_t *before, uint8_t aad[AAD_SIZE + VOLUME_TAG_SIZE])
{
	memcpy(aad, head, AAD_SIZE);
	if (before)
		memcpy(aad + AAD_SIZE, before, VOLUME_TAG_SIZE);
	return before ? AAD_SIZE + VOLUME_TAG_SIZE : AAD_SIZE;
}

void cipher_seal_body(struct volume *volume, struct volume_seal *head, const uint8_t *before, void *body, uint64_t size)
{
	uint8_t aad[AAD_SIZE + VOLUME_TAG_SIZE];

	nonce_new(volume, head->nonce);
	encrypt(volume, body, body, size, head->nonce, aad, body_aad(head, before, aad), head->tag);
}

bool cipher_open_body(struct volume *volume, const struct volume_seal *head, const uint8_t *before, void *body, uint64_t size)
{
	uint8_t aad[AAD_SIZE + VOLUME_TAG_SIZE], tag[VOLUME_TAG_SIZE];

	decrypt(volume, body, body, size, head->nonce, aad, body_aad(head, before, aad), tag);
	if (tag_equal(tag, head->tag))
		return true;
	memset(body, 0, size);
	return false;
}
