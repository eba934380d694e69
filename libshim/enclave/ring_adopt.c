/*
 * ring_adopt.c - descriptors that the program has closed and the helper still sends on.
 *
 * Owns: the list of their numbers. Must never: close a number that means something else by now, nor go by the host's
 * words about which are in use. Used by: ring_post.c, ring_life.c.
 *
 * The helper closes a number when all was sent. A fork child has a copy of every number and no helper that would; were
 * it to keep one, the peer would see no end of file before the child ends.
 */
#include <asm/stat.h>
#include "ring_inner.h"

enum {
	ADOPTED_COUNT  = 256,
	ADOPTED_FD_MIN = 768,	/* where few programs count on a number being free */
	F_DUPFD_CLOEXEC_ = 1030,
};

static struct mutex adopted_mutex;	/* held over fork, so that the child's copy is whole */
static struct adopted {
	int32_t  fd_plus;	/* the number plus one; 0: never used */
	uint64_t device, inode;	/* of its socket or pipe */
} adopted[ADOPTED_COUNT];

static bool is_open(const struct adopted *each)
{
	struct stat status;

	return each->fd_plus && !gate2(__NR_fstat, each->fd_plus - 1, &status) && status.st_dev == each->device &&
	       status.st_ino == each->inode;
}

static struct adopted *place(void)
{
	for (uint32_t i = 0; i < ADOPTED_COUNT; i++)
		if (!is_open(&adopted[i]))
			return &adopted[i];
	return NULL;
}

int ring_adopt(int fd)
{
	struct adopted *to;
	struct stat status;
	long number = -1;

	mutex_lock(&adopted_mutex);
	to = place();
	if (to && !gate2(__NR_fstat, fd, &status))
		number = gate3(__NR_fcntl, fd, F_DUPFD_CLOEXEC_, ADOPTED_FD_MIN);
	if (number >= 0)
		*to = (struct adopted){ .fd_plus = (int32_t)number + 1, .device = status.st_dev,
					 .inode = status.st_ino };
	mutex_unlock(&adopted_mutex);
	return number < 0 ? -1 : (int)number;
}

void ring_fork_lock(void)   { mutex_lock(&adopted_mutex); }
void ring_fork_unlock(void) { mutex_unlock(&adopted_mutex); }

void ring_adopted_close(void)
{
	for (uint32_t i = 0; i < ADOPTED_COUNT; i++) {
		if (is_open(&adopted[i]))
			gate1(__NR_close, adopted[i].fd_plus - 1);
		adopted[i] = (struct adopted){ 0 };
	}
}
