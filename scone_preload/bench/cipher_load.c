/*
 * cipher_load.c - AES-256-GCM alone, in pieces of 4 KiB over 1 MiB that stays in the cache: what encrypting can't go below.
 *
 * Owns: its buffer. Must never: count a piece that doesn't open.
 * Called by: scone_preload/bench/files.py. Usage: cipher_load seal|open; slices.h has what follows.
 */
#include <intel-ipsec-mb.h>
#include <string.h>
#include "slices.h"

enum { PIECE = 4096, PIECES = 256, NONCE = 12, TAG = 16 };

static uint8_t plain[PIECES][PIECE], sealed[PIECES][PIECE], tags[PIECES][TAG], nonce[NONCE];
static struct gcm_key_data key;
static struct gcm_context_data context;
static IMB_MGR *cipher;

static int seal(void)
{
	for (int i = 0; i < PIECES; i++) {
		nonce[0] = (uint8_t)i;
		IMB_AES256_GCM_ENC(cipher, &key, &context, sealed[i], plain[i], PIECE, nonce, nonce, NONCE, tags[i], TAG);
	}
	return 0;
}

static int unseal(void)
{
	uint8_t tag[TAG];

	for (int i = 0; i < PIECES; i++) {
		nonce[0] = (uint8_t)i;
		IMB_AES256_GCM_DEC(cipher, &key, &context, plain[i], sealed[i], PIECE, nonce, nonce, NONCE, tag, TAG);
		if (memcmp(tag, tags[i], TAG) != 0)
			fail("tag");
	}
	return 0;
}

static const struct load loads[] = {
	{ .name = "seal", .step = seal,   .batch = 1 },
	{ .name = "open", .step = unseal, .batch = 1 },
};

int main(int argc, char **argv)
{
	static const uint8_t zeros[32];

	cipher = alloc_mb_mgr(0);
	if (argc != 2 || !cipher)
		return 2;
	init_mb_mgr_auto(cipher, NULL);
	IMB_AES256_GCM_PRE(cipher, zeros, &key);
	seal();
	return serve(&loads[strcmp(argv[1], "open") == 0]);
}
