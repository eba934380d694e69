/*
 * chains.c - replies made of records that each say their own size: directory listings, control messages.
 *
 * Owns: walking them. Must never: trust a size before it is known to lie inside. Called by: fd.c, transfer.c.
 */
#include "chains.h"
#include "check.h"

enum { RECORD_SIZE_AT = 16, PIECE = 64, SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1 };

struct control { uint64_t size; int32_t level, type; };		/* the kernel's struct cmsghdr */

/* Whether a name begins at `at`, ends before `end`, and names an entry of this directory. */
static long name_check(uint64_t at, uint64_t end)
{
	char piece[PIECE];

	for (uint64_t begin = at; at < end; at += sizeof piece) {
		uint64_t size = end - at < sizeof piece ? end - at : sizeof piece;

		TRY(copy_guarded(piece, (void *)at, size));
		for (uint64_t i = 0; i < size; i++) {
			if (!piece[i])
				return at + i > begin ? 0 : -EIO;
			if (piece[i] == '/')
				return -EIO;
		}
	}
	return -EIO;
}

long listing_check(uint32_t nr, uint64_t listing, long size, uint32_t name_at)
{
	for (uint64_t at = 0; size > 0 && at < (uint64_t)size;) {
		uint16_t record;
		long result;

		if ((uint64_t)size - at <= name_at)
			return check_refuse(nr, "the rest of a listing", size);
		TRY(copy_guarded(&record, (void *)(listing + at + RECORD_SIZE_AT), sizeof record));
		if (record <= name_at || record > (uint64_t)size - at)
			return check_refuse(nr, "a record's size", record);
		result = name_check(listing + at + name_at, listing + at + record);
		if (result == -EIO)
			return check_refuse(nr, "a name in the record at", (long)at);
		TRY(result);
		at += record;
	}
	return size;
}

static long rights_check(uint32_t nr, uint64_t at, uint64_t end)
{
	for (; at + sizeof(int32_t) <= end; at += sizeof(int32_t)) {
		int32_t fd;

		TRY(copy_guarded(&fd, (void *)at, sizeof fd));
		if (fd < 0)
			return check_refuse(nr, "a received descriptor", fd);
	}
	return 0;
}

long controls_check(uint32_t nr, uint64_t controls, uint64_t size)
{
	for (uint64_t at = 0; at < size && size - at >= sizeof(struct control);) {
		struct control control;

		TRY(copy_guarded(&control, (void *)(controls + at), sizeof control));
		if (control.size < sizeof control || control.size > size - at)
			return check_refuse(nr, "a control message's size", (long)control.size);
		if (control.level == SOL_SOCKET_ && control.type == SCM_RIGHTS_)
			TRY(rights_check(nr, controls + at + sizeof control, controls + at + control.size));
		at += (control.size + 7) & ~7UL;
	}
	return 0;
}
