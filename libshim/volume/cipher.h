/*
 * cipher.h - AES-256-GCM under the volume's data key.
 *
 * Owns: the expanded key in the arena, nonces. Must never: use a nonce twice, or hand out what a wrong tag came with.
 * Called by: cache.c, nodes.c, log.c, checkpoint.c, mount.c, each between cipher_begin and cipher_end.
 */
#ifndef SCONE_VOLUME_CIPHER_H
#define SCONE_VOLUME_CIPHER_H

#include "arena.h"

/* Expands the key into the arena, with what this machine can do best. -ENOSYS: it has no AES instructions. */
VOL_NODISCARD long cipher_prepare(struct volume *volume, const uint8_t key[VOLUME_KEY_SIZE]);

/* Bracket every use: the program's vector registers are kept. */
void cipher_begin(struct volume *volume);
void cipher_end(struct volume *volume);

/* Where a chunk or node stands, for its additional data. */
struct volume_place cipher_place(uint64_t ino, uint32_t level, uint64_t index);

/* Seals a block to `to` (which may be `from`), and puts nonce and tag into the entry. is_plain: `to` gets the bytes as they are,
 * the tag is a GMAC over place and bytes. */
void cipher_seal_block(struct volume *volume, struct volume_place place, bool is_plain, const void *from, void *to,
		       struct volume_entry *entry);

/* Opens one; false: the tag is wrong, and `to` is zeros. */
VOL_NODISCARD bool cipher_open_block(struct volume *volume, struct volume_place place, bool is_plain, const void *from, void *to,
				     const struct volume_entry *entry);

/* Seals `size` bytes behind a head in place. The head's first 16 bytes are additional data, and so is the tag of the batch or
 * checkpoint before it, unless that is NULL. And opens them; false: zeros. */
void cipher_seal_body(struct volume *volume, struct volume_seal *head, const uint8_t *before, void *body, uint64_t size);
VOL_NODISCARD bool cipher_open_body(struct volume *volume, const struct volume_seal *head, const uint8_t *before, void *body,
				    uint64_t size);

#endif
