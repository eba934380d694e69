/*
 * volume_move.c - calls that move data between a volume's file and another descriptor; descriptors that are sent and received.
 *
 * Owns: sendfile, splice, copy_file_range with a file of a volume, by way of a buffer here. Must never: lose bytes that were
 * taken from a pipe, but when the volume can't take them. Called by: volume_file.c, volume_serve.c.
 */
#include "volume_inner.h"

enum { PIECE = 16384, SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1, CONTROL_MAX = 16384, MESSAGES_MAX = 1024, MESSAGE_SIZE = 64,
       AF_UNIX_ = 1, F_GETFL_ = 3 };

/* One side of a transfer: a volume's file, or whatever else the number is. */
struct side {
	struct use use;
	int      fd;
	bool     has_place;		/* `at` counts, and is given back to the program at `back` */
	uint64_t back;
	int64_t  at;
};

static long side_begin(struct side *side, uint64_t fd, uint64_t back)
{
	*side = (struct side){ .fd = (int)fd, .back = back, .has_place = back, .at = OFFSET_OWN };
	if (back) {
		TRY(copy_guarded(&side->at, (const void *)back, sizeof side->at));
		if (side->at < 0)
			return -EINVAL;
	}
	(void)use_begin(&side->use, (int)fd);
	return 0;
}

static long side_end(struct side *side, long done)
{
	use_end(&side->use);
	if (done > 0 && side->has_place)
		TRY(copy_guarded((void *)side->back, &side->at, sizeof side->at));
	return done;
}

static long side_move(struct side *side, uint8_t *bytes, uint64_t size, bool is_write)
{
	struct io_part part = { (uint64_t)bytes, size };
	bool has_place = side->has_place;
	struct frame frame = { .nr = is_write ? (has_place ? __NR_pwrite64 : __NR_write) : has_place ? __NR_pread64 : __NR_read,
			       .arg = { (uint64_t)side->fd, (uint64_t)bytes, size, has_place ? (uint64_t)side->at : 0 } };
	long result;

	if (side->use.open)
		result = is_write ? file_write(side->use.open, &part, 1, side->at, 0) : file_read(side->use.open, &part, 1, side->at);
	else
		result = dispatch_asked(&frame, (uint32_t)frame.nr);
	if (result > 0 && has_place)
		side->at += result;
	return result;
}

/* What was read and not written goes back, where it can. */
static void side_unread(struct side *side, long size)
{
	if (side->has_place)
		side->at -= size;
	else if (side->use.open)
		(void)(file_seek(side->use.open, -size, 1) < 0);
	else
		gate3(__NR_lseek, side->fd, -size, 1);
}

static long pieces_move(struct side *from, struct side *to, uint64_t size)
{
	uint8_t bytes[PIECE];
	uint64_t done = 0;

	while (done < size) {
		uint64_t want = size - done < PIECE ? size - done : PIECE;
		long got = side_move(from, bytes, want, false), put;

		if (got <= 0)
			return done ? (long)done : got;
		put = side_move(to, bytes, (uint64_t)got, true);
		if (put < got)
			side_unread(from, got - (put > 0 ? put : 0));
		if (put < 0)
			return done ? (long)done : put;
		done += (uint64_t)put;
		if (put < got || ((uint64_t)got < want && !from->use.open))
			break;
	}
	return (long)done;
}

static long transfer(uint64_t from_fd, uint64_t from_back, uint64_t to_fd, uint64_t to_back, uint64_t size)
{
	struct side from, to;
	long result;

	TRY(side_begin(&from, from_fd, from_back));
	result = side_begin(&to, to_fd, to_back);
	if (result == 0)
		result = pieces_move(&from, &to, size < 0x7ffff000 ? size : 0x7ffff000);
	result = side_end(&from, result);
	return side_end(&to, result);
}

/* F_GETFL: -EBADF for a number without a file, or of a place only. */
static long flags_of_number(uint64_t fd)
{
	struct use use;
	long flags = use_begin(&use, (int)fd) ? (long)use.open->file->flags : gate2(__NR_fcntl, (int)fd, F_GETFL_);

	use_end(&use);
	return flags >= 0 && flags & O_PATH ? -EBADF : flags;
}

/* What the kernel looks at before it moves a byte, also when there is none to move. */
static long may_transfer(uint64_t from_fd, uint64_t to_fd, long append_error)
{
	long from = flags_of_number(from_fd), to = flags_of_number(to_fd);

	if (from < 0 || to < 0 || (from & O_ACCMODE) == O_WRONLY || (to & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	return to & O_APPEND ? append_error : 0;
}

long file_sendfile(struct frame *frame)
{
	struct use use;
	bool is_listing;

	TRY(may_transfer(frame->arg[1], frame->arg[0], -EINVAL));
	is_listing = use_begin(&use, (int)frame->arg[1]) && is_directory(use.open->inode);
	use_end(&use);
	if (is_listing)
		return -EINVAL;
	return transfer(frame->arg[1], frame->arg[2], frame->arg[0], 0, frame->arg[3]);
}

/* One side is a pipe, else it is an error: a volume's file is none. */
long file_splice(struct frame *frame)
{
	const uint64_t *arg = frame->arg;
	enum descriptor_kind from = descriptor_kind((int)arg[0]), to = descriptor_kind((int)arg[2]);

	if (from != KIND_PIPE && to != KIND_PIPE)
		return -EINVAL;
	if ((from == KIND_PIPE && arg[1]) || (to == KIND_PIPE && arg[3]))
		return -ESPIPE;
	return transfer(arg[0], arg[1], arg[2], arg[3], arg[4]);
}

/* Where one side of a copy begins. */
static uint64_t copy_place(uint64_t back, const struct use *use)
{
	int64_t at;

	return back && copy_guarded(&at, (const void *)back, sizeof at) == 0 ? (uint64_t)at : use->open->file->offset;
}

/* As much as the file has at the beginning of the call: a copy within one file may make it longer. -EINVAL: it would run over
 * itself. */
static int64_t copy_size(const struct frame *frame, const struct use *from, const struct use *to)
{
	uint64_t at = copy_place(frame->arg[1], from), place = copy_place(frame->arg[3], to), end = from->open->inode->record.size;
	uint64_t size = at >= end ? 0 : frame->arg[4] < end - at ? frame->arg[4] : end - at;

	return from->open->inode == to->open->inode && place + size > at && place < at + size ? -EINVAL : (int64_t)size;
}

/* Into or out of a volume it is as between file systems. */
long file_copy_range(struct frame *frame)
{
	const uint64_t *arg = frame->arg;
	struct use from, to;
	bool is_from = use_begin(&from, (int)arg[0]), is_to = use_begin(&to, (int)arg[2]);
	bool is_same = is_from && is_to && from.open->mount == to.open->mount;
	bool is_file = is_same && !is_directory(from.open->inode) && !is_directory(to.open->inode);
	int64_t size = is_file ? copy_size(frame, &from, &to) : 0;

	use_end(&from);
	use_end(&to);
	if (flags_of_number(arg[0]) < 0 || flags_of_number(arg[2]) < 0)
		return -EBADF;
	if (arg[5])
		return -EINVAL;
	if (is_same && !is_file)
		return -EISDIR;
	TRY(may_transfer(arg[0], arg[2], -EBADF));
	if (!is_same)
		return -EXDEV;
	TRY(size);
	return transfer(arg[0], arg[1], arg[2], arg[3], (uint64_t)size);
}

/* ---- descriptors in messages ---- */

struct message_header {		/* the kernel's struct user_msghdr */
	uint64_t name; int32_t name_size, padding_1;
	uint64_t vectors, vector_count, control, control_size;
	uint32_t flags, padding_2;
};

/* Each descriptor in a message's control data is given to `each`. */
static void rights_each(uint64_t message, void (*each)(int fd))
{
	struct { uint64_t size; int32_t level, type; } control;
	struct message_header header;
	int32_t fd;

	if (copy_guarded(&header, (const void *)message, sizeof header) < 0)
		return;
	for (uint64_t at = 0; at + sizeof control <= header.control_size && at < CONTROL_MAX; at += (control.size + 7) & ~7UL) {
		if (copy_guarded(&control, (const void *)(header.control + at), sizeof control) < 0 ||
		    control.size < sizeof control || control.size > header.control_size - at)
			return;
		for (uint64_t i = sizeof control; control.level == SOL_SOCKET_ && control.type == SCM_RIGHTS_ &&
						  i + sizeof fd <= control.size; i += sizeof fd)
			if (copy_guarded(&fd, (const void *)(header.control + at + i), sizeof fd) == 0)
				each(fd);
	}
}

/* While it is under way nobody may have it open: this process holds it, until it ends. */
static void right_hold(int fd)
{
	struct use use;

	if (!use_begin(&use, fd))
		return;
	if (!hold_find(use.open->mount, HOLD_SENT, use.open->file, 0)) {
		file_share(use.open->file);
		if (hold_new(use.open->mount, HOLD_SENT, use.open->file) < 0)
			file_put(&use.open->mount->volume, use.open->file);
	}
	use_end(&use);
}

void rights_hold(const struct frame *frame)
{
	rights_each(frame->arg[1], right_hold);
}

static void right_adopt(int fd)
{
	if (!thread_self()->gate_only)
		open_file_adopt(fd);
}

void rights_adopt(const struct frame *frame, long result)
{
	if (frame->nr == __NR_pidfd_getfd)
		right_adopt((int)result);
	else if (frame->nr == __NR_recvmsg)
		rights_each(frame->arg[1], right_adopt);
	else
		for (long i = 0; i < result && i < MESSAGES_MAX; i++)
			rights_each(frame->arg[1] + (uint64_t)i * MESSAGE_SIZE, right_adopt);
}

/* ---- addresses ---- */

long address_refuse(const struct frame *frame)
{
	struct { uint16_t family; char path[108]; char end; } address = { 0 };
	uint32_t size = (uint32_t)frame->arg[2];
	struct spot spot;
	long result;

	if (size <= sizeof address.family || size > sizeof address - 1 ||
	    copy_guarded(&address, (const void *)frame->arg[1], size) < 0 || address.family != AF_UNIX_ || !address.path[0])
		return 0;
	result = spot_find(&spot, AT_FDCWD, (uint64_t)address.path, WALK_FOLLOW);
	if (result == 0 && spot.mount)
		result = volume_refuse(spot.mount, (uint32_t)frame->nr, "unix sockets can't lie in a volume", -EPERM);
	else if (result == 0 && spot.is_moved)
		result = volume_refuse(&mounts[0], (uint32_t)frame->nr, "name the unix socket by an absolute path", -EPERM);
	spot_end(&spot);
	return result < 0 ? result : 0;
}
