/*
 * descriptors.c - the descriptor table as the program sees it: numbers, flags, ranges, locks, its listing in /proc.
 *
 * Owns: the cases that would find the shim's own descriptors or lose the program's. Must never: assume which
 * descriptors above 2 it starts with. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <dirent.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int listed_descriptors(const char *directory, int *found, int room)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	int count = 0;

	CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir))
			continue;
		CHECK(count < room);
		found[count++] = atoi(entry->d_name);
	}
	closedir(dir);
	return count;
}

static void close_all_above_stderr(void)
{
	GIVES(0, close_range(3, ~0U, 0));
}

static void check_only_these_are_open(const int *want, int count)
{
	int found[64];

	GIVES(count, listed_descriptors("/proc/self/fd", found, 64));
	for (int i = 0; i < count; i++)
		CHECK(found[i] == want[i]);
}

CASE(proc_self_fd_lists_only_the_programs_own)
{
	close_all_above_stderr();
	check_only_these_are_open((int[]){ 0, 1, 2 }, 3);
	GIVES(3, open("/dev/null", O_RDONLY));
	GIVES(50, fcntl(3, F_DUPFD, 50));
	check_only_these_are_open((int[]){ 0, 1, 2, 3, 50 }, 5);
}

CASE(every_view_of_the_descriptors_agrees)
{
	const char *views[] = { "/proc/self/fd", "/proc/thread-self/fd", "/dev/fd", "/proc/self/fdinfo", NULL };
	char by_pid[64];
	int found[64];

	close_all_above_stderr();
	GIVES(3, open("/dev/null", O_RDONLY));
	views[4] = by_pid;
	snprintf(by_pid, sizeof(by_pid), "/proc/%d/fd", getpid());
	for (int i = 0; i < 5; i++)
		GIVES(4, listed_descriptors(views[i], found, 64));
}

CASE(close_range_over_everything_leaves_the_program_working)
{
	int pipe_fds[2];
	char byte;

	close_all_above_stderr();
	GIVES(0, pipe(pipe_fds));
	CHECK(pipe_fds[0] == 3 && pipe_fds[1] == 4);
	GIVES(1, write(4, "x", 1));
	GIVES(1, read(3, &byte, 1));
	GIVES(0, close_range(3, ~0U, CLOSE_RANGE_CLOEXEC));
	CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC);
	GIVES(0, close_range(3, 3, CLOSE_RANGE_UNSHARE));
	FAILS(EBADF, read(3, &byte, 1));
	FAILS(EINVAL, close_range(5, 4, 0));
	FAILS(EINVAL, close_range(3, 4, 64));
	GIVES(0, exit_status(fork() ?: (_exit(0), 0)));
}

CASE(closing_every_number_up_to_the_limit_leaves_the_program_working)
{
	long limit = sysconf(_SC_OPEN_MAX);

	if (limit > 70000)
		limit = 70000;
	for (int fd = 3; fd < limit; fd++)
		close(fd);
	GIVES(3, open("/dev/null", O_RDONLY));
	check_only_these_are_open((int[]){ 0, 1, 2, 3 }, 4);
	GIVES(0, exit_status(fork() ?: (_exit(write(3, "x", 1) == -1 && errno == EBADF ? 0 : 1), 0)));
}

/* P6: the top numbers are where a shim would hide its own. */
CASE(dup2_reaches_every_number_below_the_limit)
{
	struct rlimit limit;
	char byte;
	int top;

	GIVES(0, getrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_cur > 70000)
		limit.rlim_cur = 70000;
	GIVES(0, setrlimit(RLIMIT_NOFILE, &limit));
	top = (int)limit.rlim_cur - 1;
	int zero = (int)SYS(open("/dev/zero", O_RDONLY));

	for (int fd = top; fd > top - 40; fd--) {
		GIVES(fd, dup2(zero, fd));
		GIVES(1, read(fd, &byte, 1));
	}
	FAILS(EBADF, dup2(zero, top + 1));
	GIVES(0, exit_status(fork() ?: (_exit(read(top, &byte, 1) == 1 ? 0 : 1), 0)));
	for (int fd = top; fd > top - 40; fd--)
		GIVES(0, close(fd));
}

CASE(unknown_high_numbers_are_not_open)
{
	struct rlimit limit;

	GIVES(0, getrlimit(RLIMIT_NOFILE, &limit));
	close_all_above_stderr();
	for (long fd = (long)limit.rlim_cur - 50; fd < (long)limit.rlim_cur + 50; fd++)
		FAILS(EBADF, fcntl((int)fd, F_GETFD));
}

CASE(duplicates_share_offset_and_status_flags)
{
	char byte;
	int fd = file_of("a", "abc", 3);
	int other = (int)SYS(dup(fd));
	int third = (int)SYS(fcntl(fd, F_DUPFD_CLOEXEC, 20));

	GIVES(1, read(other, &byte, 1));
	GIVES(1, lseek(fd, 0, SEEK_CUR));
	GIVES(0, fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
	CHECK((fcntl(third, F_GETFL) & (O_APPEND | O_NONBLOCK)) == (O_APPEND | O_NONBLOCK));
	CHECK(third >= 20 && fcntl(third, F_GETFD) == FD_CLOEXEC && fcntl(other, F_GETFD) == 0);
	GIVES(other, dup2(third, other));
	CHECK(fcntl(other, F_GETFD) == 0);
	GIVES(other, dup3(fd, other, O_CLOEXEC));
	CHECK(fcntl(other, F_GETFD) == FD_CLOEXEC);
	GIVES(fd, dup2(fd, fd));
}

CASE(dev_fd_opens_the_same_pipe)
{
	char path[64], byte = 0;
	int pipe_fds[2];
	int writer;

	GIVES(0, pipe(pipe_fds));
	snprintf(path, sizeof(path), "/dev/fd/%d", pipe_fds[1]);
	writer = (int)SYS(open(path, O_WRONLY));
	GIVES(1, write(writer, "w", 1));
	GIVES(1, read(pipe_fds[0], &byte, 1));
	CHECK(byte == 'w');
	FAILS(ENOENT, open("/dev/fd/900", O_RDONLY));
}

CASE(proc_self_fd_links_name_the_open_file)
{
	char path[64], target[PATH_MAX] = { 0 }, here[PATH_MAX];
	int fd = file_of("a", "abc", 3);

	CHECK(getcwd(here, sizeof(here) - 3) != NULL);
	strcat(here, "/a");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	SYS(readlink(path, target, sizeof(target) - 1));
	CHECK(strcmp(target, here) == 0);
	GIVES(0, access(path, R_OK));
	CHECK(SYS(open(path, O_RDONLY)) > fd);
}

CASE(flock_excludes_other_open_files_and_processes)
{
	int a = file_of("a", "abc", 3);
	int b = (int)SYS(open("a", O_RDWR));

	GIVES(0, flock(a, LOCK_EX));
	FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(b, LOCK_SH | LOCK_NB));
	GIVES(0, exit_status(fork() ?: (_exit(flock(a, LOCK_EX | LOCK_NB) == 0 ? 0 : 1), 0)));
	GIVES(0, flock(a, LOCK_UN));
	GIVES(0, flock(b, LOCK_SH));
	GIVES(0, flock(a, LOCK_SH));
}

static int child_sees_lock_of(int fd, pid_t owner)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };

	if (fcntl(fd, F_SETLK, &lock) != -1 || (errno != EAGAIN && errno != EACCES))
		return 1;
	lock.l_pid = 0;
	if (fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_WRLCK)
		return 2;
	return lock.l_pid == owner ? 0 : 3;
}

CASE(record_locks_belong_to_the_process_and_name_it)
{
	struct flock *lock = guarded_copy(&(struct flock){ .l_type = F_WRLCK, .l_len = 10 }, sizeof(*lock));
	int fd = file_of("a", "0123456789", 10);
	pid_t self = getpid();

	GIVES(0, fcntl(fd, F_SETLK, lock));
	GIVES(0, exit_status(fork() ?: (_exit(child_sees_lock_of(fd, self)), 0)));
	GIVES(0, fcntl(fd, F_SETLK, lock));
	close((int)SYS(open("a", O_RDONLY)));
	GIVES(1, exit_status(fork() ?: (_exit(child_sees_lock_of(fd, self)), 0)));
}

CASE(a_waiting_record_lock_is_granted_when_the_holder_ends)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	int fd = file_of("a", "0123456789", 10);
	int ready[2];
	char byte;
	pid_t child;

	GIVES(0, pipe(ready));
	child = fork();
	if (child == 0) {
		SYS(fcntl(fd, F_SETLKW, &lock));
		SYS(write(ready[1], "x", 1));
		sleep_ms(100);
		_exit(0);
	}
	GIVES(1, read(ready[0], &byte, 1));
	FAILS(EAGAIN, fcntl(fd, F_SETLK, &lock));
	GIVES(0, fcntl(fd, F_SETLKW, &lock));
	GIVES(0, exit_status(child));
}

CASE(open_file_description_locks_belong_to_the_open_file)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	int a = file_of("a", "0123456789", 10);
	int b = (int)SYS(open("a", O_RDWR));

	GIVES(0, fcntl(a, F_OFD_SETLK, &lock));
	FAILS(EAGAIN, fcntl(b, F_OFD_SETLK, &lock));
	GIVES(0, fcntl(b, F_OFD_GETLK, &lock));
	CHECK(lock.l_pid == -1 && lock.l_type == F_WRLCK);
	GIVES(0, close(a));
	lock.l_pid = 0;
	GIVES(0, fcntl(b, F_OFD_SETLK, &lock));
}

CASE(a_pipe_that_owns_signals_names_its_owner)
{
	int pipe_fds[2];

	GIVES(0, pipe(pipe_fds));
	GIVES(0, fcntl(pipe_fds[0], F_GETOWN));
	GIVES(0, fcntl(pipe_fds[0], F_SETOWN, getpid()));
	GIVES(getpid(), fcntl(pipe_fds[0], F_GETOWN));
	CHECK(SYS(fcntl(pipe_fds[0], F_SETPIPE_SZ, 1 << 16)) >= 1 << 16);
	GIVES(1 << 16, fcntl(pipe_fds[0], F_GETPIPE_SZ));
}

/* A child of that pid, which leads a group of its own. */
static void own_as_group(pid_t pid)
{
	struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size; } args = {
		.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&pid, .set_tid_size = 1,
	};
	int pipe_fds[2];
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (child < 0 && errno == EEXIST)
		return;
	CHECK(child >= 0);
	if (child == 0) {
		GIVES(0, setpgid(0, 0));
		GIVES(0, pipe(pipe_fds));
		GIVES(0, fcntl(pipe_fds[0], F_SETOWN, -pid));
		GIVES(-pid, fcntl(pipe_fds[0], F_GETOWN));
		errno = 0;		/* libc takes what is below -4095 for a result */
		CHECK(syscall(SYS_fcntl, pipe_fds[0], F_GETOWN) == (pid < 4096 ? -1 : -pid) && errno == (pid < 4096 ? pid : 0));
		_exit(0);
	}
	GIVES(0, exit_status(child));
}

/* Numbers that mean something else in other results: 512 is the kernel's ERESTARTSYS. Only root chooses pids. */
CASE_ROOT(an_owner_may_be_a_group_of_any_number)
{
	pid_t pids[] = { 511, 512, 513, 514, 516, 4095, 4096 };

	for (size_t i = 0; i < sizeof(pids) / sizeof(*pids); i++)
		own_as_group(pids[i]);
}

CASE(an_owner_may_be_a_group)
{
	int pipe_fds[2];

	if (getpid() < 4096)
		skip("this pid as a group looks like an errno");
	setpgid(0, 0);
	GIVES(0, pipe(pipe_fds));
	GIVES(0, fcntl(pipe_fds[0], F_SETOWN, -getpgrp()));
	GIVES(-getpgrp(), syscall(SYS_fcntl, pipe_fds[0], F_GETOWN));
}
