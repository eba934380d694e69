/*
 * volume_lock.c - fcntl(2) and flock(2) on a volume's files.
 *
 * Owns: the flags that F_GETFL tells, locks as the program says them. Must never: wait with something of the arena locked.
 * Called by: volume_file.c.
 */
#include "volume_inner.h"
#include "signal.h"

enum { SEEK_SET_, SEEK_CUR_, SEEK_END_, LOCK_SH_ = 1, LOCK_EX_ = 2, LOCK_NB_ = 4, LOCK_UN_ = 8 };

#define FLAGS_SETTABLE ((uint32_t)(O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME))

/* The kernel's. */
struct lock { int16_t type, whence; int32_t padding; int64_t start, size; int32_t pid, padding_2; };

static bool is_waiting(uint32_t command)
{
	return command == F_SETLKW || command == F_OFD_SETLKW;
}

static bool is_test(uint32_t command)
{
	return command == F_GETLK || command == F_OFD_GETLK;
}

static bool is_of_file(uint32_t command)
{
	return command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

static long range_make(const struct open_file *open, const struct lock *lock, uint32_t command, struct vol_range *range)
{
	int64_t start = lock->start, end;

	if (lock->whence == SEEK_CUR_)
		start += (int64_t)open->file->offset;
	else if (lock->whence == SEEK_END_)
		start += (int64_t)open->inode->record.size;
	else if (lock->whence != SEEK_SET_)
		return -EINVAL;
	end = lock->size > 0 ? start + lock->size - 1 : lock->size < 0 ? start - 1 : -1;
	if (lock->size < 0)
		start += lock->size;
	if (start < 0 || (lock->size > 0 && end < start))
		return start < 0 ? -EINVAL : -EOVERFLOW;
	if (lock->type != F_RDLCK && lock->type != F_WRLCK && lock->type != F_UNLCK)
		return -EINVAL;
	if (is_of_file(command) && lock->pid)
		return -EINVAL;
	*range = (struct vol_range){ .start = (uint64_t)start, .end = lock->size ? (uint64_t)end : ~0ULL, .type = (uint32_t)lock->type,
				     .pid = is_of_file(command) ? 0 : process_number(),
				     .file = is_of_file(command) ? open->file->number : 0 };
	return 0;
}

static long may_lock(const struct open_file *open, const struct vol_range *range)
{
	uint32_t mode = open->file->flags & O_ACCMODE;

	if ((range->type == F_RDLCK && mode == O_WRONLY) || (range->type == F_WRLCK && mode == O_RDONLY))
		return -EBADF;
	return 0;
}

/* A signal of the program's ends a wait as it would natively. */
static long wait_ended(void)
{
	return signal_restarts(thread_self()) ? -GATE_RESTART : -EINTR;
}

/* One that only dead processes had is not noticed by itself. */
static bool is_open_file_in_the_way(struct open_file *open, struct vol_range range)
{
	lock_test(volume_of(open), open->inode, &range);
	return range.type != F_UNLCK && !range.pid;
}

static long lock_change(struct open_file *open, const struct vol_range *range, bool waits)
{
	struct volume *volume = volume_of(open);
	long result;

	TRY(may_lock(open, range));
	for (;;) {
		result = lock_set(volume, open->inode, range);
		if (result == -EAGAIN && is_open_file_in_the_way(open, *range)) {
			holds_reap(open->mount, true);
			result = lock_set(volume, open->inode, range);
		}
		if (result != -EAGAIN || !waits)
			return result;
		if (thread_self()->signal_pending)
			return wait_ended();
		TRY(lock_wait(volume, open->inode, range));
	}
}

static long lock_tell(struct open_file *open, struct lock *lock, struct vol_range *range, uint64_t to)
{
	struct vol_range wanted = *range;

	lock_test(volume_of(open), open->inode, range);
	if (range->type != F_UNLCK && !range->pid) {
		holds_reap(open->mount, true);
		*range = wanted;
		lock_test(volume_of(open), open->inode, range);
	}
	lock->type = (int16_t)range->type;
	if (range->type != F_UNLCK) {
		lock->whence = SEEK_SET_;
		lock->start = (int64_t)range->start;
		lock->size = range->end == ~0ULL ? 0 : (int64_t)(range->end - range->start + 1);
		lock->pid = range->pid ? (int32_t)range->pid : -1;
	}
	return copy_guarded((void *)to, lock, sizeof *lock);
}

static long lock_call(struct open_file *open, uint32_t command, uint64_t to)
{
	struct vol_range range;
	struct lock lock;

	if (open->file->flags & O_PATH)
		return -EBADF;
	TRY(copy_guarded(&lock, (const void *)to, sizeof lock));
	TRY(range_make(open, &lock, command, &range));
	if (is_test(command))
		return range.type == F_UNLCK && command == F_GETLK ? -EINVAL : lock_tell(open, &lock, &range, to);
	return lock_change(open, &range, is_waiting(command));
}

long file_control(struct open_file *open, struct frame *frame)
{
	uint32_t command = (uint32_t)frame->arg[1];

	switch (command) {
	case F_GETFL:
		return (long)open->file->flags;
	case F_SETFL:
		if (open->file->flags & O_PATH)
			return -EBADF;
		open->file->flags = (open->file->flags & ~FLAGS_SETTABLE) | ((uint32_t)frame->arg[2] & FLAGS_SETTABLE);
		return 0;
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return lock_call(open, command, frame->arg[2]);
	case F_GET_SEALS:
	case F_ADD_SEALS:
		return -EINVAL;
	case F_SETLEASE:
	case F_NOTIFY:
		return volume_refuse(open->mount, __NR_fcntl, "volumes have no leases and notices", -EINVAL);
	case F_GETLEASE:
		return F_UNLCK;
	default:
		return -SHIELD_PLAIN;
	}
}

long file_flock(struct open_file *open, uint32_t operation)
{
	uint32_t kind = operation & ~(uint32_t)LOCK_NB_;
	long result;

	if (open->file->flags & O_PATH)
		return -EBADF;
	if (kind != LOCK_SH_ && kind != LOCK_EX_ && kind != LOCK_UN_)
		return -EINVAL;
	result = lock_flock(volume_of(open), open->file, kind);
	if (result != -EAGAIN)
		return result;
	for (;;) {
		holds_reap(open->mount, true);	/* whoever has it may be dead */
		result = lock_flock(volume_of(open), open->file, kind);
		if (result != -EAGAIN || operation & LOCK_NB_)
			return result;
		if (thread_self()->signal_pending)
			return wait_ended();
		lock_flock_wait(volume_of(open), open->file, kind);
	}
}
