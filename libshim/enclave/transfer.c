/*
 * transfer.c - read and write calls on descriptors.
 *
 * Owns: sending each to the descriptor's operations, to the stream layer, or on the plain way. Must never: know how a
 * shield works. Called by: dispatch.c.
 */
#include "dispatch.h"
#include "descriptor.h"
#include "stream.h"

enum { VECTORS_MAX = 1024, CONTROL_MAX = 16384, MSG_PEEK_ = 2, MSG_OOB_ = 1, MSG_TRUNC_ = 0x20, MSG_DONTWAIT_ = 0x40,
       MSG_WAITALL_ = 0x100, MSG_ERRQUEUE_ = 0x2000, MSG_WAITFORONE_ = 0x10000, RWF_NOWAIT_ = 8, SOL_SOCKET_ = 1,
       SCM_RIGHTS_ = 1,
       OTHER_QUEUES = MSG_OOB_ | MSG_ERRQUEUE_,		/* they don't take from the stream */
       MESSAGE_SIZE = 64, MESSAGE_SIZE_AT = 56 };	/* the kernel's struct mmsghdr */

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
	bool     was_held;		/* some of it had been read ahead */
};

static bool is_streaming(const struct frame *frame)
{
	return stream_meets_ring() && (int)frame->arg[0] >= 0;
}

static long served(long result)
{
	if (result > 0)
		thread_self()->stats.bytes_in += (uint64_t)result;
	return return_by_jump(result);
}

static long sent(long result)
{
	if (result > 0)
		thread_self()->stats.bytes_out += (uint64_t)result;
	return return_by_jump(result);
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
	struct descriptor *descriptor;
	long result;

	if (stream_post((int)frame->arg[0], transfer->parts, transfer->count, transfer->flags, transfer->is_plain, &result))
		return result;
	descriptor = descriptor_of((int)frame->arg[0]);
	result = sent(sys_pass(frame));
	if (result > 0 && descriptor)
		descriptor->is_connected = true;
	return result;
}

/* Leaves out the first `done` bytes; whether there is room for more. */
static bool parts_skip(struct transfer *transfer, uint64_t done)
{
	for (; transfer->count; transfer->parts++, transfer->count--) {
		uint64_t part = done < transfer->parts->size ? done : transfer->parts->size;

		transfer->parts->base += part;
		transfer->parts->size -= part;
		done -= part;
		if (transfer->parts->size)
			return true;
	}
	return false;
}

/* The kernel discards bytes of a stream without touching the program's memory. */
static long by_host(struct frame *frame, uint32_t flags)
{
	return flags & MSG_TRUNC_ && descriptor_kind((int)frame->arg[0]) == KIND_STREAM ? pass_by_gate(frame) : sys_pass(frame);
}

/* What the host has behind `done` bytes that were held. */
static long receive_more(struct frame *frame, const struct transfer *transfer, uint32_t flags)
{
	struct message_header header = { .vectors = (uint64_t)transfer->parts, .vector_count = transfer->count };
	struct frame more = { .nr = __NR_recvmsg, .arg = { frame->arg[0], (uint64_t)&header, flags } };

	return by_host(&more, flags);
}

/*
 * Takes what is held. True: the read is over, with *done bytes or an error. Else the rest is to be read: all of it with
 * MSG_WAITALL; or as far as it goes without waiting, for a full buffer says nothing of how much more the kernel has, and
 * programs take a short read for all there is.
 */
static bool receive_held(struct frame *frame, struct transfer *transfer, long *done)
{
	int fd = (int)frame->arg[0];
	bool is_part = stream_held_is_part(fd), is_all = transfer->flags & MSG_WAITALL_ && !(transfer->flags & MSG_DONTWAIT_);
	uint32_t how = (transfer->flags & MSG_PEEK_ ? TAKE_PEEK : 0) | (transfer->flags & MSG_TRUNC_ ? TAKE_NOTHING : 0);
	long result;

	if (*done && !stream_held_size(fd))
		return true;		/* an end or an error is for the next read */
	if (!stream_take(fd, transfer->parts, transfer->count, how, &result))
		return false;
	transfer->was_held = true;
	if (result <= 0) {
		*done = *done ? *done : result;
		return true;
	}
	*done += result;
	if (!parts_skip(transfer, (uint64_t)result))
		return true;
	if (!is_all)
		transfer->flags |= MSG_DONTWAIT_;
	if (!(how & TAKE_PEEK))
		return !is_part && !is_all;
	stream_tell(fd);
	result = receive_more(frame, transfer, transfer->flags);
	*done += result > 0 ? result : 0;
	return true;
}

/* A read of any kind: what is held first, then what the host has. */
static long receive(struct frame *frame, struct transfer *transfer)
{
	int fd = (int)frame->arg[0];
	enum stream_source source;
	long done = 0, result;

	while ((source = stream_read_begin(fd)) == STREAM_HELD)
		if (receive_held(frame, transfer, &done))
			return done;
	result = done ? receive_more(frame, transfer, transfer->flags) : by_host(frame, transfer->flags);
	stream_read_end(fd, source, transfer->flags & MSG_PEEK_ ? 0 : result);
	if (!done)
		return result;
	return result > 0 ? done + result : done;
}

long sys_read(struct frame *frame);
long sys_read(struct frame *frame)
{
	struct transfer transfer = { .is_plain = true };

	if (!is_streaming(frame))
		return served(sys_pass(frame));
	one_get(&transfer, frame);
	return served(receive(frame, &transfer));
}

long sys_readv(struct frame *frame);
long sys_readv(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .is_plain = true };

	if (is_streaming(frame) && stream_is_watched((int)frame->arg[0]) &&
	    vectors_get(&transfer, parts, frame->arg[1], frame->arg[2]))
		return served(receive(frame, &transfer));
	return served(sys_pass(frame));
}

/* At no position it is readv, also of a socket. */
long sys_preadv2(struct frame *frame);
long sys_preadv2(struct frame *frame)
{
	return (long)frame->arg[3] == -1 ? sys_readv(frame) : sys_pass(frame);
}

long sys_recvfrom(struct frame *frame);
long sys_recvfrom(struct frame *frame)
{
	struct transfer transfer = { .flags = (uint32_t)frame->arg[3] };
	uint32_t none = 0;
	long result;

	if (!is_streaming(frame) || transfer.flags & OTHER_QUEUES)
		return served(sys_pass(frame));
	one_get(&transfer, frame);
	result = receive(frame, &transfer);
	if (transfer.was_held && result >= 0 && frame->arg[4] && frame->arg[5])
		TRY(copy_guarded((void *)frame->arg[5], &none, sizeof none));
	return served(result);
}

/* The message that `header` of the program says, by `frame`, which receives it when nothing is held. */
static long receive_message(struct frame *frame, uint64_t at, uint32_t flags, bool *was_held)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .flags = flags };
	struct message_header header;
	long result;

	*was_held = false;
	if (copy_guarded(&header, (void *)at, sizeof header) < 0 ||
	    !vectors_get(&transfer, parts, header.vectors, header.vector_count))
		return sys_pass(frame);
	result = receive(frame, &transfer);
	*was_held = transfer.was_held;
	if (!transfer.was_held || result < 0)
		return result;
	header.name_size = 0;
	header.control_size = header.flags = 0;
	TRY(copy_guarded((void *)at, &header, sizeof header));
	return result;
}

long sys_recvmsg(struct frame *frame);
long sys_recvmsg(struct frame *frame)
{
	uint32_t flags = (uint32_t)frame->arg[2];
	bool was_held;

	if (!is_streaming(frame) || flags & OTHER_QUEUES || !stream_is_watched((int)frame->arg[0]))
		return served(by_host(frame, is_streaming(frame) ? flags : 0));
	return served(receive_message(frame, frame->arg[1], flags, &was_held));
}

/* Fills messages from what is held, as far as that goes; how many. */
static long receive_held_messages(const struct frame *frame)
{
	uint64_t count = (uint32_t)frame->arg[2], i;
	bool was_held = true;

	for (i = 0; i < count && stream_is_held((int)frame->arg[0]); i++) {
		uint64_t at = frame->arg[1] + i * MESSAGE_SIZE;
		struct frame one = { .nr = __NR_recvmsg, .arg = { frame->arg[0], at, frame->arg[3] & ~(uint64_t)MSG_WAITFORONE_ } };
		long result = receive_message(&one, at, (uint32_t)one.arg[2] | (i ? MSG_DONTWAIT_ : 0), &was_held);
		uint32_t size = (uint32_t)result;

		if (result < 0)
			return i ? (long)i : result;
		TRY(copy_guarded((void *)(at + MESSAGE_SIZE_AT), &size, sizeof size));
		served(result);
	}
	return (long)i;
}

long sys_recvmmsg(struct frame *frame);
long sys_recvmmsg(struct frame *frame)
{
	struct frame rest = *frame;
	enum stream_source source;
	long done, result;

	if (!is_streaming(frame) || frame->arg[3] & OTHER_QUEUES)
		return pass_by_gate(frame);
	do {
		done = receive_held_messages(frame);
		if (done < 0 || (done && done == (long)(uint32_t)frame->arg[2]))
			return done;
		source = stream_read_begin((int)frame->arg[0]);
	} while (!done && source == STREAM_HELD);
	rest.arg[1] += (uint64_t)done * MESSAGE_SIZE;
	rest.arg[2] = (uint32_t)frame->arg[2] - (uint64_t)done;
	if (done && frame->arg[3] & MSG_WAITFORONE_)
		rest.arg[3] |= MSG_DONTWAIT_;
	result = source == STREAM_HELD ? 0 : pass_by_gate(&rest);
	stream_read_end((int)frame->arg[0], source, result);
	return result > 0 || !done ? done + result : done;
}

long sys_write(struct frame *frame);
long sys_write(struct frame *frame)
{
	struct transfer transfer = { .is_plain = true };

	if (!is_streaming(frame))
		return sent(sys_pass(frame));
	one_get(&transfer, frame);
	return write_parts(frame, &transfer);
}

long sys_writev(struct frame *frame);
long sys_writev(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .is_plain = true };

	if (is_streaming(frame) && vectors_get(&transfer, parts, frame->arg[1], frame->arg[2]))
		return write_parts(frame, &transfer);
	return sent(sys_pass(frame));
}

/* At no position it is writev, also to a socket. */
long sys_pwritev2(struct frame *frame);
long sys_pwritev2(struct frame *frame)
{
	if ((long)frame->arg[3] != -1)
		return sys_pass(frame);
	if (!frame->arg[5])
		return sys_writev(frame);
	if (is_streaming(frame)) {
		long result = stream_settle((int)frame->arg[0], frame->arg[5] & RWF_NOWAIT_ ? MSG_DONTWAIT_ : 0);

		if (result)
			return result;
	}
	return sys_pass(frame);
}

long sys_sendto(struct frame *frame);
long sys_sendto(struct frame *frame)
{
	struct transfer transfer = { .flags = (uint32_t)frame->arg[3], .is_plain = !frame->arg[4] };

	if (!is_streaming(frame))
		return sent(sys_pass(frame));
	one_get(&transfer, frame);
	return write_parts(frame, &transfer);
}

/* Connections that are given away: the others read and write past what the shim knows. */
static long rights_share(const struct message_header *header)
{
	struct { uint64_t size; int32_t level, type; } control;
	int32_t fd;

	for (uint64_t at = 0; at + sizeof control <= header->control_size && at < CONTROL_MAX; at += (control.size + 7) & ~7UL) {
		if (copy_guarded(&control, (void *)(header->control + at), sizeof control) < 0 ||
		    control.size < sizeof control || control.size > header->control_size - at)
			return 0;	/* the kernel's error */
		for (uint64_t i = sizeof control; control.level == SOL_SOCKET_ && control.type == SCM_RIGHTS_ &&
						  i + sizeof fd <= control.size; i += sizeof fd)
			if (copy_guarded(&fd, (void *)(header->control + at + i), sizeof fd) == 0)
				TRY(stream_share(fd));
	}
	return 0;
}

/* The same for each of `count` messages. */
static long rights_share_all(uint64_t messages, uint32_t count)
{
	struct message_header header;

	for (uint32_t i = 0; i < count && i < VECTORS_MAX; i++) {
		if (copy_guarded(&header, (const void *)(messages + i * MESSAGE_SIZE), sizeof header) < 0)
			return 0;		/* the kernel's error */
		if (header.control_size)
			TRY(rights_share(&header));
	}
	return 0;
}

/* What is learned here counts also while no helper is there. */
static bool is_async(const struct frame *frame)
{
	return enclave.mode == MODE_ASYNC && !thread_self()->gate_only && (int)frame->arg[0] >= 0;
}

long sys_sendmsg(struct frame *frame);
long sys_sendmsg(struct frame *frame)
{
	struct io_part parts[VECTORS_MAX];
	struct transfer transfer = { .flags = (uint32_t)frame->arg[2] };
	struct message_header header;

	if (!is_async(frame) || copy_guarded(&header, (void *)frame->arg[1], sizeof header) < 0 ||
	    !vectors_get(&transfer, parts, header.vectors, header.vector_count))
		return sent(sys_pass(frame));
	if (header.control_size)
		TRY(rights_share(&header));
	transfer.is_plain = !header.name && !header.control_size;
	return write_parts(frame, &transfer);
}

long sys_sendmmsg(struct frame *frame);
long sys_sendmmsg(struct frame *frame)
{
	if (is_async(frame))
		TRY(rights_share_all(frame->arg[1], (uint32_t)frame->arg[2]));
	if (is_streaming(frame)) {
		long result = stream_settle((int)frame->arg[0], (uint32_t)frame->arg[3]);

		if (result)
			return result;
	}
	return pass_by_gate(frame);
}
