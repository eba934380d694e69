/*
 * transfer.c - read and write calls on descriptors.
 *
 * Owns: sending each to the descriptor's operations, to the stream layer, or on the plain way. Must never: know how a
 * shield works. Called by: dispatch.c.
 */
#include "dispatch.h"
#include "descriptor.h"
#include "stream.h"

enum { VECTORS_MAX = 1024, MSG_PEEK_ = 2, MSG_DONTWAIT_ = 0x40, MSG_WAITALL_ = 0x100, MSG_NOSIGNAL_ = 0x4000,
       MSG_CMSG_CLOEXEC_ = 0x40000000 };

struct message_header {		/* the kernel's struct user_msghdr */
	uint64_t name; int32_t name_size, padding_1;
	uint64_t vectors, vector_count, control, control_size;
	uint32_t flags, padding_2;
};

/* What a read or write call says, whichever it is. */
struct transfer {
	struct io_part one, *parts;
	uint64_t count;
	uint32_t flags;			/* MSG_* */
	bool     is_plain;		/* nothing but bytes: no address, no control data */
};

static bool is_streaming(const struct frame *frame)
{
	return enclave.mode == MODE_ASYNC && !thread_self()->gate_only && (int)frame->arg[0] >= 0;
}

static long served(long result)
{
	if (result > 0)
		thread_self()->stats.bytes_in += (uint64_t)result;
	return result;
}

static bool vectors_get(struct transfer *transfer, struct io_part *parts, uint64_t vectors, uint64_t count)
{
	if (count > VECTORS_MAX || copy_guarded(parts, (const void *)vectors, count * sizeof *parts) < 0)
		return false;
	transfer->parts = parts;
	transfer->count = count;
	return true;
}

static void one_get(struct transfer *transfer, const struct frame *frame)
{
	transfer->one = (struct io_part) { frame->arg[1], frame->arg[2] };
	transfer->parts = &transfer->one;
	transfer->count = 1;
}

/* A write on a stream may go behind. SIGPIPE as natively. */
static long write_parts(struct frame *frame, const struct transfer *transfer)
{
	long result;

	if (!transfer->is_plain ||
	    !stream_post((int)frame->arg[0], transfer->parts, transfer->count, transfer->flags, &result)) {
		struct descriptor *descriptor = descriptor_of((int)frame->arg[0]);

		result = sys_pass(frame);
		if (result > 0)
			thread_self()->stats.bytes_out += (uint64_t)result;
		if (result > 0 && descriptor)
			descriptor->is_connected = true;
		return result;
	}
	if (result == -EPIPE && !(transfer->flags & MSG_NOSIGNAL_))
		gate3(__NR_tgkill, gate0(__NR_getpid), gate0(__NR_gettid), 13);
	return result;
}

/*
 * A full read-ahead buffer says nothing of how much more the kernel has, and programs take a short read for all there is:
 * what fits of the rest is read too, without waiting.
 */
static long read_on(const struct frame *frame, const struct transfer *transfer, long done)
{
	uint64_t skip = (uint64_t)done;
	long result = 1;

	for (uint64_t i = 0; i < transfer->count && result > 0; i++) {
		struct io_part part = transfer->parts[i];
		struct frame more = { .nr = __NR_recvfrom, .arg = { frame->arg[0], part.base + skip, part.size - skip,
								    MSG_DONTWAIT_, 0, 0 } };

		if (skip >= part.size) {
			skip -= part.size;
			continue;
		}
		skip = 0;
		result = sys_pass(&more);
		if (result > 0)
			done += result;
		if (result < (long)more.arg[2])
			break;
	}
	return done;
}

static long read_parts(struct frame *frame, const struct transfer *transfer, bool *is_done)
{
	bool may_have_more = stream_held_is_full((int)frame->arg[0]);
	long result;

	*is_done = transfer->is_plain && stream_take((int)frame->arg[0], transfer->parts, transfer->count,
						     transfer->flags & MSG_PEEK_, &result);
	if (!*is_done)
		return 0;
	if (may_have_more && result > 0 && !(transfer->flags & MSG_PEEK_) && !stream_is_held((int)frame->arg[0]))
		return read_on(frame, transfer, result);
	return result;
}

long sys_read(struct frame *frame);
long sys_read(struct frame *frame)
{
	struct transfer transfer = { .is_plain = true };
	bool is_done;
	long result;

	if (!is_streaming(frame))
		return served(sys_pass(frame));
	one_get(&transfer, frame);
	result = read_parts(frame, &transfer, &is_done);
	return served(is_done ? result : sys_pass(frame));
}

long sys_readv(struct frame *frame);
long sys_readv(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .is_plain = true };
	bool is_done = false;
	long result = 0;

	if (is_streaming(frame) && stream_is_held((int)frame->arg[0]) &&
	    vectors_get(&transfer, parts, frame->arg[1], frame->arg[2]))
		result = read_parts(frame, &transfer, &is_done);
	return served(is_done ? result : sys_pass(frame));
}

/* MSG_WAITALL: the rest of what was held comes from the host. */
static long receive_rest(struct frame *frame, long done)
{
	struct frame rest = *frame;
	long result;

	rest.arg[1] += (uint64_t)done;
	rest.arg[2] -= (uint64_t)done;
	result = sys_pass(&rest);
	return result > 0 ? done + result : done;
}

long sys_recvfrom(struct frame *frame);
long sys_recvfrom(struct frame *frame)
{
	uint32_t flags = (uint32_t)frame->arg[3];
	struct transfer transfer = { .flags = flags, .is_plain = !(flags & ~(uint32_t)(MSG_PEEK_ | MSG_DONTWAIT_ |
									 MSG_WAITALL_ | MSG_NOSIGNAL_)) };
	uint32_t none = 0;
	bool is_done;
	long result;

	if (!is_streaming(frame))
		return served(sys_pass(frame));
	one_get(&transfer, frame);
	result = read_parts(frame, &transfer, &is_done);
	if (!is_done)
		return served(sys_pass(frame));
	if (result > 0 && flags & MSG_WAITALL_ && !(flags & (MSG_PEEK_ | MSG_DONTWAIT_)) &&
	    (uint64_t)result < frame->arg[2])
		result = receive_rest(frame, result);
	if (result >= 0 && frame->arg[4] && frame->arg[5])
		TRY(copy_guarded((void *)frame->arg[5], &none, sizeof none));
	return served(result);
}

long sys_recvmsg(struct frame *frame);
long sys_recvmsg(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	uint32_t flags = (uint32_t)frame->arg[2];
	struct transfer transfer = { .flags = flags, .is_plain = !(flags & ~(uint32_t)(MSG_PEEK_ | MSG_DONTWAIT_ |
							    MSG_NOSIGNAL_ | MSG_CMSG_CLOEXEC_)) };
	struct message_header header;
	bool is_done = false;
	long result = 0;

	if (!is_streaming(frame) || copy_guarded(&header, (void *)frame->arg[1], sizeof header) < 0)
		return served(sys_pass(frame));
	if (vectors_get(&transfer, parts, header.vectors, header.vector_count))
		result = read_parts(frame, &transfer, &is_done);
	if (!is_done)
		return served(sys_pass(frame));
	if (result >= 0) {
		header.name_size = 0;
		header.control_size = header.flags = 0;
		TRY(copy_guarded((void *)frame->arg[1], &header, sizeof header));
	}
	return served(result);
}

long sys_write(struct frame *frame);
long sys_write(struct frame *frame)
{
	struct transfer transfer = { .is_plain = true };
	long result;

	if (is_streaming(frame)) {
		one_get(&transfer, frame);
		return write_parts(frame, &transfer);
	}
	result = sys_pass(frame);
	if (result > 0)
		thread_self()->stats.bytes_out += (uint64_t)result;
	return result;
}

long sys_writev(struct frame *frame);
long sys_writev(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .is_plain = true };

	if (is_streaming(frame) && vectors_get(&transfer, parts, frame->arg[1], frame->arg[2]))
		return write_parts(frame, &transfer);
	return sys_pass(frame);
}

long sys_sendto(struct frame *frame);
long sys_sendto(struct frame *frame)
{
	struct transfer transfer = { .flags = (uint32_t)frame->arg[3], .is_plain = !frame->arg[4] };

	if (!is_streaming(frame))
		return sys_pass(frame);
	one_get(&transfer, frame);
	return write_parts(frame, &transfer);
}

long sys_sendmsg(struct frame *frame);
long sys_sendmsg(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .flags = (uint32_t)frame->arg[2] };
	struct message_header header;

	if (!is_streaming(frame) || copy_guarded(&header, (void *)frame->arg[1], sizeof header) < 0 ||
	    !vectors_get(&transfer, parts, header.vectors, header.vector_count))
		return sys_pass(frame);
	transfer.is_plain = !header.name && !header.control_size;
	return write_parts(frame, &transfer);
}
