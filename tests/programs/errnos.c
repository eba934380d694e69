/*
 * errnos.c - calls that fail must fail as the kernel fails them, and change nothing.
 *
 * Owns: the cases for bad pointers, bad descriptors, long names, exhausted tables. Must never: depend on the order of
 * cases. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/utsname.h>

CASE(a_bad_pointer_to_read_from_gives_efault)
{
	char *bad = faulting();
	int pipe_fds[2];
	int fd = file_of("a", "abc", 3);

	GIVES(0, pipe(pipe_fds));
	FAILS(EFAULT, write(fd, bad, 1));
	FAILS(EFAULT, write(pipe_fds[1], bad, 1));
	FAILS(EFAULT, pwrite(fd, (void *)8, 4, 0));
	FAILS(EFAULT, write(fd, (void *)0xffff800000000000, 8));
	GIVES(3, lseek(fd, 0, SEEK_END));
}

CASE(a_bad_pointer_to_write_to_gives_efault)
{
	char *bad = faulting();
	int pipe_fds[2];
	int fd = file_of("a", "abc", 3);
	char back[3];

	GIVES(0, pipe(pipe_fds));
	FAILS(EFAULT, read(fd, bad, 1));
	FAILS(EFAULT, fstat(fd, (void *)bad));
	FAILS(EFAULT, stat("a", (void *)bad));
	FAILS(EFAULT, pipe((void *)bad));
	FAILS(EFAULT, uname((void *)bad));
	FAILS(EFAULT, syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad));
	FAILS(EFAULT, getrlimit(RLIMIT_NOFILE, (void *)bad));
	FAILS(EFAULT, read(fd, (void *)main, 3));
	GIVES(3, pread(fd, back, 3, 0));
	CHECK(memcmp(back, "abc", 3) == 0);
	GIVES(2, write(pipe_fds[1], "xy", 2));
	FAILS(EFAULT, read(pipe_fds[0], bad, 1));
}

CASE(a_buffer_that_ends_too_early_gives_a_short_count_or_efault)
{
	char *buffer = guarded(4);
	int fd = file_of("a", "abcdefgh", 8);
	long got = read(fd, buffer, 8);

	CHECK(got == 4 || (got == -1 && errno == EFAULT));
	CHECK(got == -1 || memcmp(buffer, "abcd", 4) == 0);
}

CASE(a_bad_path_gives_efault_and_a_string_without_end_too)
{
	char *endless = guarded(4);
	char *bad = faulting();

	memcpy(endless, "abcd", 4);
	FAILS(EFAULT, open(bad, O_RDONLY));
	FAILS(EFAULT, open(endless, O_RDONLY));
	FAILS(EFAULT, stat(bad, &(struct stat){ 0 }));
	FAILS(EFAULT, mkdir(bad, 0700));
	FAILS(EFAULT, rename("a", endless));
	FAILS(EFAULT, unlink((void *)1));
	FAILS(EFAULT, readlink("/proc/self/exe", bad, 10));
	FAILS(EFAULT, syscall(SYS_getcwd, bad, 100));
	FAILS(EFAULT, syscall(SYS_execve, bad, case_argv, NULL));
	FAILS(EFAULT, syscall(SYS_execve, "/bin/true", bad, NULL));
}

CASE(a_bad_vector_or_message_gives_efault)
{
	struct iovec *good = guarded_copy(&(struct iovec){ guarded_copy("x", 1), 1 }, sizeof(*good));
	struct iovec *wild = guarded_copy(&(struct iovec){ faulting(), 1 }, sizeof(*wild));
	struct msghdr *message;
	int pair[2];
	int fd = file_of("a", "abc", 3);

	FAILS(EFAULT, readv(fd, faulting(), 1));
	FAILS(EFAULT, readv(fd, good, 2));
	FAILS(EFAULT, readv(fd, wild, 1));
	FAILS(EFAULT, writev(fd, wild, 1));
	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	FAILS(EFAULT, sendmsg(pair[0], faulting(), 0));
	message = guarded_copy(&(struct msghdr){ .msg_iov = wild, .msg_iovlen = 1 }, sizeof(*message));
	FAILS(EFAULT, sendmsg(pair[0], message, 0));
	message->msg_iov = faulting();
	FAILS(EFAULT, sendmsg(pair[0], message, 0));
	FAILS(EFAULT, recvmsg(pair[0], message, MSG_DONTWAIT));
	message->msg_iov = good;
	message->msg_control = faulting();
	message->msg_controllen = 32;
	FAILS(EFAULT, sendmsg(pair[0], message, 0));
	message->msg_controllen = 0;
	GIVES(1, sendmsg(pair[0], message, 0));
	GIVES(1, recvmsg(pair[1], message, 0));
}

CASE(a_bad_address_to_socket_calls_gives_efault)
{
	int fd = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0));
	socklen_t size = 16;

	FAILS(EFAULT, bind(fd, faulting(), 16));
	FAILS(EFAULT, getsockname(fd, faulting(), &size));
	FAILS(EFAULT, getsockopt(fd, SOL_SOCKET, SO_ERROR, faulting(), &size));
	FAILS(EFAULT, setsockopt(fd, SOL_SOCKET, SO_RCVBUF, faulting(), 4));
	FAILS(EFAULT, socketpair(AF_UNIX, SOCK_STREAM, 0, faulting()));
	FAILS(EINVAL, bind(fd, guarded(2), 1000));
}

CASE(a_bad_event_array_gives_efault)
{
	int epoll = (int)SYS(epoll_create1(0));
	int pipe_fds[2];
	struct epoll_event event = { .events = EPOLLIN };

	GIVES(0, pipe(pipe_fds));
	FAILS(EFAULT, epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_fds[0], faulting()));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_fds[0], &event));
	GIVES(1, write(pipe_fds[1], "x", 1));
	FAILS(EFAULT, epoll_wait(epoll, faulting(), 1, 0));
	FAILS(EFAULT, poll(faulting(), 1, 0));
	FAILS(EFAULT, select(4, faulting(), NULL, NULL, NULL));
	FAILS(EINVAL, epoll_wait(epoll, &event, 0, 0));
	FAILS(EINVAL, epoll_wait(epoll, &event, -1, 0));
	GIVES(1, epoll_wait(epoll, guarded(sizeof(event)), 1, 0));
}

CASE(a_descriptor_that_is_not_open_gives_ebadf)
{
	char byte[1];
	struct stat st;
	int *bad = (int[]){ -1, 777, 1 << 20, -100, 0x7fffffff };

	for (int i = 0; i < 5; i++) {
		FAILS(EBADF, read(bad[i], byte, 1));
		FAILS(EBADF, write(bad[i], byte, 1));
		FAILS(EBADF, close(bad[i]));
		FAILS(EBADF, fcntl(bad[i], F_GETFD));
		FAILS(EBADF, dup(bad[i]));
		FAILS(EBADF, syscall(SYS_fstat, bad[i], &st));
		FAILS(EBADF, epoll_wait(bad[i], (void *)byte, 1, 0));
		FAILS(EBADF, shutdown(bad[i], SHUT_RD));
	}
	FAILS(EBADF, write((int)SYS(open("/dev/null", O_RDONLY)), "x", 1));
	FAILS(EBADF, read((int)SYS(open("/dev/null", O_WRONLY)), byte, 1));
	FAILS(EBADF, openat(777, "relative", O_RDONLY));
}

CASE(the_wrong_kind_of_descriptor_is_refused)
{
	int fd = file_of("a", "abc", 3);
	char byte[1];

	FAILS(ENOTSOCK, recv(fd, byte, 1, 0));
	FAILS(ENOTSOCK, accept(fd, NULL, NULL));
	FAILS(ENOTTY, isatty(fd) ? 0 : -1);
	FAILS(EISDIR, read((int)SYS(open(".", O_RDONLY)), byte, 1));
	FAILS(EPERM, epoll_ctl((int)SYS(epoll_create1(0)), EPOLL_CTL_ADD, fd, &(struct epoll_event){ 0 }));
	FAILS(EISDIR, open(".", O_WRONLY));
	FAILS(ENOSYS, syscall(511, 1, 2, 3));
	FAILS(ENOSYS, syscall(5000));
	FAILS(ENOSYS, syscall(-1L));
}

CASE(names_that_are_too_long_give_enametoolong)
{
	char name[5000];

	memset(name, 'n', sizeof(name));
	name[256] = 0;
	FAILS(ENAMETOOLONG, open(guarded_string(name), O_RDONLY));
	name[255] = 0;
	FAILS(ENOENT, open(guarded_string(name), O_RDONLY));
	name[255] = 'n';
	for (int i = 0; i < 5000; i += 2)
		name[i] = '.', name[i + 1] = '/';
	name[4998] = 0;
	FAILS(ENAMETOOLONG, stat(guarded_string(name), &(struct stat){ 0 }));
	name[4095] = 0;
	GIVES(0, access(guarded_string(name), F_OK));
}

CASE(descriptors_run_out_with_emfile_and_come_back)
{
	struct rlimit limit = { 64, 64 };
	int last = -1, fd, count = 0;

	GIVES(0, close_range(3, ~0U, 0));
	GIVES(0, setrlimit(RLIMIT_NOFILE, &limit));
	while ((fd = open("/dev/null", O_RDONLY)) >= 0) {
		CHECK(fd == last + 1 || last < 0);
		last = fd;
		count++;
	}
	CHECK(errno == EMFILE && last == 63 && count >= 56);
	FAILS(EMFILE, dup(0));
	FAILS(EMFILE, socket(AF_INET, SOCK_STREAM, 0));
	FAILS(EMFILE, epoll_create1(0));
	FAILS(EMFILE, pipe((int[2]){ 0 }));
	FAILS(EMFILE, fcntl(0, F_DUPFD, 0));
	FAILS(EBADF, dup2(0, 64));
	FAILS(EINVAL, fcntl(0, F_DUPFD, 64));
	GIVES(0, close(30));
	GIVES(30, open("/dev/null", O_RDONLY));
	for (fd = 10; fd < 64; fd++)
		GIVES(0, close(fd));
	GIVES(10, open("/dev/null", O_RDONLY));
	GIVES(0, exit_status(fork() ?: (_exit(0), 0)));
}

CASE(a_thousand_descriptors_are_numbered_as_natively)
{
	struct rlimit limit;
	int first;

	GIVES(0, getrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_cur < 1100)
		skip("RLIMIT_NOFILE is below 1100");
	GIVES(0, close_range(3, ~0U, 0));
	first = (int)SYS(open("/dev/zero", O_RDONLY));
	CHECK(first == 3);
	for (int fd = first + 1; fd < first + 1000; fd++)
		GIVES(fd, dup(first));
	for (int fd = first; fd < first + 1000; fd++) {
		char byte = 1;

		GIVES(1, read(fd, &byte, 1));
		CHECK(byte == 0);
	}
	for (int fd = first + 999; fd >= first; fd -= 2)
		GIVES(0, close(fd));
	GIVES(first + 1, open("/dev/zero", O_RDONLY));
}

CASE(bad_arguments_give_einval)
{
	int fd = file_of("a", "abc", 3);

	FAILS(EINVAL, lseek(fd, -5, SEEK_SET));
	FAILS(EINVAL, lseek(fd, 0, 99));
	FAILS(EINVAL, fcntl(fd, 9999));
	FAILS(EINVAL, syscall(SYS_dup3, fd, fd, 0));
	FAILS(EINVAL, pipe2((int[2]){ 0 }, 0x7f000000));
	FAILS(EINVAL, clock_gettime(9999, &(struct timespec){ 0 }) == -1 ? -1 : 0);
	FAILS(EINVAL, mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
	FAILS(EINVAL, kill(getpid(), 999));
	FAILS(ESRCH, kill(0x3fffff, 0));
	FAILS(EINVAL, sigaction(SIGKILL, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL));
	FAILS(EAFNOSUPPORT, socket(AF_MAX + 10, SOCK_STREAM, 0));
}
