/*
 * memory.c - files that the runtime serves, beside a native file of the same content: every call gives the same.
 *
 * Owns: cases that run first on `native`, in the current directory, then on SERVED. Must never: know how it is served.
 * Used by: test_memory_files.py, with a handler that serves SERVED.
 */
#include "guard.h"
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define SERVED "/run/scone-test/file"

enum { SIZE = 10000 };

extern char **environ;
static unsigned char content[SIZE];
static const char *path;

static int opened(int flags)
{
	return (int)SYS(open(path, flags));
}

static void both(void (*check)(int fd))
{
	int fd;

	for (int i = 0; i < SIZE; i++)
		content[i] = (unsigned char)(i * 7 + i / 256);
	fd = file_of("native", content, SIZE);
	close(fd);
	SYS(chmod("native", 0440));
	path = "native";
	check(opened(O_RDONLY));
	path = SERVED;
	check(opened(O_RDONLY));
}

static void reads(int fd)
{
	unsigned char *bytes = guarded(SIZE);

	GIVES(10, read(fd, bytes, 10));
	CHECK(memcmp(bytes, content, 10) == 0);
	GIVES(SIZE - 10, read(fd, bytes, SIZE));
	CHECK(memcmp(bytes, content + 10, SIZE - 10) == 0);
	GIVES(0, read(fd, bytes, SIZE));
	GIVES(0, read(fd, bytes, 0));
	GIVES(0, lseek(fd, 0, SEEK_SET));
	FAILS(EFAULT, read(fd, faulting(), 10));
}
CASE(read_gives_the_bytes_once) { both(reads); }

static void preads(int fd)
{
	unsigned char *bytes = guarded(100);

	GIVES(100, pread(fd, bytes, 100, 5000));
	CHECK(memcmp(bytes, content + 5000, 100) == 0);
	GIVES(1, pread(fd, bytes, 100, SIZE - 1));
	GIVES(0, pread(fd, bytes, 100, SIZE));
	GIVES(0, pread(fd, bytes, 100, 1ll << 40));
	FAILS(EINVAL, pread(fd, bytes, 100, -1));
	GIVES(0, lseek(fd, 0, SEEK_CUR));
}
CASE(pread_leaves_the_offset_alone) { both(preads); }

static void vectors(int fd)
{
	unsigned char *a = guarded(3), *b = guarded(50);
	struct iovec parts[3] = { { a, 3 }, { NULL, 0 }, { b, 50 } };

	GIVES(53, readv(fd, parts, 3));
	CHECK(memcmp(a, content, 3) == 0 && memcmp(b, content + 3, 50) == 0);
	GIVES(53, preadv(fd, parts, 3, 100));
	CHECK(memcmp(a, content + 100, 3) == 0 && memcmp(b, content + 103, 50) == 0);
	GIVES(53, preadv2(fd, parts, 3, -1, 0));
	CHECK(memcmp(a, content + 53, 3) == 0);
	GIVES(106, lseek(fd, 0, SEEK_CUR));
	FAILS(EINVAL, preadv(fd, parts, 3, -5));
	FAILS(EINVAL, readv(fd, parts, 2000));
	FAILS(EFAULT, readv(fd, faulting(), 1));
	parts[0].iov_base = faulting();
	FAILS(EFAULT, readv(fd, parts, 1));
}
CASE(vectors_are_filled_in_order) { both(vectors); }

static void seeks(int fd)
{
	char byte;

	GIVES(500, lseek(fd, 500, SEEK_SET));
	GIVES(400, lseek(fd, -100, SEEK_CUR));
	GIVES(SIZE, lseek(fd, 0, SEEK_END));
	GIVES(SIZE + 50, lseek(fd, 50, SEEK_END));
	GIVES(0, read(fd, &byte, 1));
	FAILS(EINVAL, lseek(fd, -SIZE - 1, SEEK_END));
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
	FAILS(EINVAL, lseek(fd, 0, 9));
	GIVES(10, lseek(fd, 10, SEEK_DATA));
	GIVES(SIZE, lseek(fd, 10, SEEK_HOLE));
	FAILS(ENXIO, lseek(fd, SIZE, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, -1, SEEK_HOLE));
	GIVES(SIZE, lseek(fd, 0, SEEK_CUR));
}
CASE(seeking_is_as_in_a_file) { both(seeks); }

static void status(int fd)
{
	struct stat by_fd, by_at;
	struct statx more;

	GIVES(0, fstat(fd, &by_fd));
	CHECK(S_ISREG(by_fd.st_mode) && (by_fd.st_mode & 07777) == 0440);
	CHECK(by_fd.st_size == SIZE && by_fd.st_uid == geteuid() && by_fd.st_nlink == 1 && by_fd.st_ino != 0);
	CHECK(by_fd.st_blocks >= SIZE / 512 && by_fd.st_blksize > 0 && by_fd.st_mtime > 1000000000);
	GIVES(0, fstatat(fd, "", &by_at, AT_EMPTY_PATH));
	CHECK(memcmp(&by_fd, &by_at, sizeof by_at) == 0);
	GIVES(0, statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &more));
	CHECK(more.stx_size == SIZE && more.stx_ino == by_fd.st_ino && more.stx_mode == by_fd.st_mode);
	FAILS(ENOTDIR, fstatat(fd, "x", &by_at, 0));
	FAILS(ENOTDIR, openat(fd, "x", O_RDONLY));
	FAILS(EFAULT, syscall(SYS_fstat, fd, faulting()));
}
CASE(status_tells_of_the_file) { both(status); }

static void maps(int fd)
{
	unsigned char *map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);

	CHECK(map != MAP_FAILED && memcmp(map, content, SIZE) == 0);
	CHECK(map[SIZE] == 0 && map[SIZE + 100] == 0);
	CHECK(munmap(map, SIZE) == 0);
	map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
	CHECK(map != MAP_FAILED && memcmp(map, content + PAGE, SIZE - PAGE) == 0);
	map[0] ^= 1;
	CHECK(munmap(map, 2 * PAGE) == 0);
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && memcmp(map, content, PAGE) == 0);
	CHECK(mmap(map, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE) == map && memcmp(map, content + PAGE, PAGE) == 0);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL);
	close(fd);
	CHECK(memcmp(map, content + PAGE, PAGE) == 0);
}
CASE(a_mapping_holds_the_bytes_and_outlives_the_descriptor) { both(maps); }

static void writes(int fd)
{
	int from = (int)SYS(open("native", O_RDONLY));
	struct iovec part = { content, 1 };

	FAILS(EBADF, write(fd, "x", 1));
	FAILS(EBADF, pwrite(fd, "x", 1, 0));
	FAILS(EBADF, writev(fd, &part, 1));
	FAILS(EBADF, pwritev(fd, &part, 1, 0));
	FAILS(EBADF, sendfile(fd, from, NULL, 1));
	FAILS(EINVAL, ftruncate(fd, 0));
}
CASE(it_can_not_be_written) { both(writes); }

static void duplicates(int fd)
{
	int other = (int)SYS(dup(fd)), third = (int)SYS(dup2(fd, 77)), fourth = (int)SYS(fcntl(fd, F_DUPFD_CLOEXEC, 80));
	char byte;

	GIVES(100, lseek(fd, 100, SEEK_SET));
	GIVES(100, lseek(other, 0, SEEK_CUR));
	GIVES(1, read(third, &byte, 1));
	GIVES(101, lseek(fd, 0, SEEK_CUR));
	GIVES(FD_CLOEXEC, fcntl(fourth, F_GETFD));
	GIVES(0, fcntl(other, F_GETFD));
	close(fd);
	GIVES(1, read(other, &byte, 1));
	GIVES(1, read(fourth, &byte, 1));
	close(other);
	close(third);
	close(fourth);
	FAILS(EBADF, read(third, &byte, 1));
	CHECK((unsigned char)byte == content[102]);
}
CASE(duplicates_share_one_offset) { both(duplicates); }

static void flags(int fd)
{
	struct flock lock = { .l_type = F_RDLCK };
	int rest = -1, close_on_exec = opened(O_RDONLY | O_CLOEXEC), nonblocking = opened(O_RDONLY | O_NONBLOCK | O_NOCTTY);

	GIVES(0100000, fcntl(fd, F_GETFL));
	GIVES(0100000 | O_NONBLOCK, fcntl(nonblocking, F_GETFL));
	GIVES(0, fcntl(fd, F_GETFD));
	GIVES(FD_CLOEXEC, fcntl(close_on_exec, F_GETFD));
	GIVES(0, fcntl(fd, F_SETFL, O_NONBLOCK | O_APPEND));
	GIVES(0100000 | O_NONBLOCK | O_APPEND, fcntl(fd, F_GETFL));
	GIVES(0, fcntl(fd, F_SETLK, &lock));
	GIVES(0, fcntl(fd, F_GETLK, &lock));
	lock.l_type = F_WRLCK;
	FAILS(EBADF, fcntl(fd, F_SETLK, &lock));
	lock.l_type = 9;
	FAILS(EINVAL, fcntl(fd, F_SETLK, &lock));
	FAILS(EFAULT, fcntl(fd, F_SETLK, faulting()));
	GIVES(0, flock(fd, LOCK_EX));
	GIVES(10, lseek(fd, 10, SEEK_SET));
	GIVES(0, ioctl(fd, FIONREAD, &rest));
	CHECK(rest == SIZE - 10);
	FAILS(ENOTTY, ioctl(fd, 0x5401 /* TCGETS */, content));
	GIVES(0, posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
	GIVES(0, fsync(fd));
}
CASE(flags_locks_and_the_rest_are_a_files) { both(flags); }

static void readiness(int fd)
{
	struct pollfd polled = { fd, POLLIN | POLLOUT, 0 };
	struct epoll_event event = { .events = EPOLLIN };
	struct timeval none = { 0, 0 };
	fd_set set;
	int epoll = (int)SYS(epoll_create1(0));

	GIVES(1, poll(&polled, 1, -1));
	CHECK(polled.revents == (POLLIN | POLLOUT));
	FD_ZERO(&set);
	FD_SET(fd, &set);
	GIVES(1, select(fd + 1, &set, NULL, NULL, &none));
	FAILS(EPERM, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}
CASE(it_is_always_ready) { both(readiness); }

static void sends(int fd)
{
	int pair[2];
	off_t at = 9000;
	unsigned char *bytes = guarded(SIZE);

	SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(600, sendfile(pair[0], fd, NULL, 600));
	GIVES(600, lseek(fd, 0, SEEK_CUR));
	GIVES(600, recv(pair[1], bytes, SIZE, 0));
	CHECK(memcmp(bytes, content, 600) == 0);
	GIVES(1000, sendfile(pair[0], fd, &at, 5000));
	CHECK(at == SIZE);
	GIVES(600, lseek(fd, 0, SEEK_CUR));
	GIVES(1000, recv(pair[1], bytes, SIZE, 0));
	CHECK(memcmp(bytes, content + 9000, 1000) == 0);
	GIVES(0, sendfile(pair[0], fd, &at, 5000));
}
CASE(sendfile_sends_the_bytes) { both(sends); }

static void forks(int fd)
{
	unsigned char byte;
	pid_t pid;

	GIVES(300, lseek(fd, 300, SEEK_SET));
	pid = (pid_t)SYS(fork());
	if (pid == 0) {
		GIVES(1, read(fd, &byte, 1));
		CHECK(byte == content[300]);
		close(fd);
		_exit(0);
	}
	GIVES(0, exit_status(pid));
	GIVES(1, pread(fd, &byte, 1, 300));
	CHECK(byte == content[300]);
}
CASE(a_fork_child_reads_on_from_there) { both(forks); }

/* Reads on from standard input, and from another number that shares its offset. */
ROLE(executed)
{
	unsigned char bytes[100];
	struct stat seen;

	for (int i = 0; i < SIZE; i++)
		content[i] = (unsigned char)(i * 7 + i / 256);
	GIVES(100, read(0, bytes, 100));
	CHECK(memcmp(bytes, content + 300, 100) == 0);
	GIVES(400, lseek(50, 0, SEEK_CUR));
	GIVES(0, lseek(51, 0, SEEK_CUR));
	FAILS(EBADF, fcntl(52, F_GETFD));
	GIVES(0, fstat(0, &seen));
	CHECK(seen.st_size == SIZE && (seen.st_mode & 07777) == 0440);
	GIVES(0100000, fcntl(0, F_GETFL));
}

static void executes(int fd)
{
	char *argv[] = { "memory", "executed", NULL };
	pid_t pid;

	SYS(dup2(fd, 0));
	SYS(dup2(fd, 50));
	SYS(dup2(opened(O_RDONLY), 51));
	SYS(dup3(fd, 52, O_CLOEXEC));
	SYS(lseek(fd, 300, SEEK_SET));
	pid = (pid_t)SYS(fork());
	if (pid == 0) {
		execv("/proc/self/exe", argv);
		_exit(99);
	}
	GIVES(0, exit_status(pid));
	SYS(lseek(fd, 300, SEEK_SET));		/* natively the child has moved it */
	pid = vfork();
	if (pid == 0) {
		execv("/proc/self/exe", argv);
		_exit(99);
	}
	GIVES(0, exit_status(pid));
	SYS(lseek(fd, 300, SEEK_SET));
	errno = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
	CHECK(errno == 0);
	GIVES(0, exit_status(pid));
}
CASE(it_stays_open_over_an_exec) { both(executes); }

ROLE(spawned)
{
	unsigned char bytes[100];

	for (int i = 0; i < SIZE; i++)
		content[i] = (unsigned char)(i * 7 + i / 256);
	GIVES(100, read(0, bytes, 100));
	CHECK(memcmp(bytes, content, 100) == 0);
}

/* The child of a vfork opens it; numbers of the parent are none of the child's. */
static void spawns(int fd)
{
	char *argv[] = { "memory", "spawned", NULL };
	posix_spawn_file_actions_t actions;
	unsigned char byte;
	int marker = file_of("marker", "m", 1);
	pid_t pid;

	SYS(dup2(marker, 0));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, path, O_RDONLY, 0);
	errno = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
	CHECK(errno == 0);
	GIVES(0, exit_status(pid));
	GIVES(1, pread(0, &byte, 1, 0));
	CHECK(byte == 'm');
	GIVES(1, read(fd, &byte, 1));
	CHECK(byte == content[0]);
}
CASE(a_vfork_child_opens_it_for_what_it_executes) { both(spawns); }

static void opens(int fd)
{
	(void)fd;
	FAILS(ENOTDIR, open(path, O_RDONLY | O_DIRECTORY));
	FAILS(EEXIST, open(path, O_RDONLY | O_CREAT | O_EXCL, 0600));
	if (strcmp(path, SERVED) == 0)
		FAILS(EROFS, open(path, O_RDWR));
	GIVES(0, close(opened(O_RDONLY | O_NOFOLLOW)));
}
CASE(flags_of_open_hold) { both(opens); }
