/*
 * chains.c - replies made of records that each say their own size: directory listings, messages and what they control.
 *
 * Owns: walking them. Must never: trust a size before it is known to lie inside. Called by: believe.c.
 */
#include "check.h"
#include "predicates.h"

enum { RECORD_SIZE_AT = 16, NAME_AT = 18, NAME64_AT = 19, PIECE = 64, SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1, SOCKADDR_MAX = 128,
       MSG_TRUNC_ = 0x20, LENGTH_MAX = 0x7fffffff };

struct control { uint64_t size; int32_t level, type; };		/* the kernel's struct cmsghdr */

struct message_header {		/* the kernel's struct user_msghdr */
	uint64_t name; int32_t name_size, padding_1;
	uint64_t vectors, vector_count, control, control_size;
	uint32_t flags, padding_2;
};

struct message { struct message_header header; uint32_t size, padding; };	/* the kernel's struct mmsghdr */

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

/* The records in the program's buffer, argument 1; names begin at `name_at`. */
static long listing_check(const struct reply *reply, uint32_t name_at)
{
	uint64_t listing = reply->arg[1];
	long size = reply->result;

	for (uint64_t at = 0; size > 0 && at < (uint64_t)size;) {
		uint16_t record;
		long result;

		if ((uint64_t)size - at <= name_at)
			return check_refuse(reply->nr, "the rest of a listing", size);
		TRY(copy_guarded(&record, (void *)(listing + at + RECORD_SIZE_AT), sizeof record));
		if (record <= name_at || record > (uint64_t)size - at)
			return check_refuse(reply->nr, "a record's size", record);
		result = name_check(listing + at + name_at, listing + at + record);
		if (result == -EIO)
			return check_refuse(reply->nr, "a name in the record at", (long)at);
		TRY(result);
		at += record;
	}
	return size;
}

long believe_listing(const struct reply *reply)
{
	return listing_check(reply, NAME_AT);
}

long believe_listing64(const struct reply *reply)
{
	return listing_check(reply, NAME64_AT);
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

static long controls_check(uint32_t nr, uint64_t controls, uint64_t size)
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

/* A received header against the one before the call: sizes don't grow, control messages stay inside. */
static long header_check(uint32_t nr, const struct message_header *asked, const struct message_header *got)
{
	if (got->control_size > asked->control_size)
		return check_refuse(nr, "a size of control messages", (long)got->control_size);
	if (asked->name && (uint32_t)got->name_size > SOCKADDR_MAX)
		return check_refuse(nr, "an address size", got->name_size);
	return controls_check(nr, asked->control, got->control_size);
}

long believe_message(const struct reply *reply)
{
	struct message_header asked, got;

	TRY(reply->result);
	if (reply->asked_size[1] != sizeof asked)
		return check_refuse(reply->nr, "a message without a header", reply->result);
	memcpy(&asked, reply->asked[1], sizeof asked);
	TRY(copy_guarded(&got, (void *)reply->arg[1], sizeof got));
	TRY(header_check(reply->nr, &asked, &got));
	return reply->result;
}

/* The messages in the array that argument 1 points to, as many as the result counts. */
static long messages_check(const struct reply *reply, bool is_received)
{
	bool may_exceed = is_received && reply->arg[3] & MSG_TRUNC_;

	for (uint64_t i = 0; i < (uint64_t)reply->result; i++) {
		struct message asked, got;

		if ((i + 1) * sizeof asked > reply->asked_size[1])
			return check_refuse(reply->nr, "messages without headers", reply->result);
		memcpy(&asked, (const struct message *)reply->asked[1] + i, sizeof asked);
		TRY(copy_guarded(&got, (struct message *)reply->arg[1] + i, sizeof got));
		if (got.size > LENGTH_MAX ||
		    (!may_exceed && (long)got.size > vectors_sum(asked.header.vectors, asked.header.vector_count)))
			return check_refuse(reply->nr, "a message's length", got.size);
		if (is_received)
			TRY(header_check(reply->nr, &asked.header, &got.header));
	}
	return reply->result;
}

long believe_received_messages(const struct reply *reply)
{
	TRY(remaining_check(reply));
	TRY(reply->result);
	return messages_check(reply, true);
}

long believe_sent_messages(const struct reply *reply)
{
	TRY(reply->result);
	return messages_check(reply, false);
}
