/*
 * reuse.c - a descriptor number that changes what it stands for: nothing of its former life may be left.
 *
 * Owns: the cases where a number is closed and given again, by every call that does so. Must never: depend on which
 * numbers these are. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* A number that was a stream socket, watched by epoll, written to and read from, and is closed now. */
static int former_socket(int epoll, int remove_first)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 77 };
	char back[8];
	int pair[2];

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	for (int i = 0; i < 20; i++) {
		GIVES(4, write(pair[1], "data", 4));
		GIVES(1, epoll_wait(epoll, &event, 1, 2000));
		GIVES(4, read(pair[0], back, 8));
		FAILS(EAGAIN, read(pair[0], back, 8));
		GIVES(3, write(pair[0], "abc", 3));
		GIVES(1, poll(&(struct pollfd){ pair[1], POLLIN, 0 }, 1, 2000));
		GIVES(3, read(pair[1], back, 8));
	}
	GIVES(4, write(pair[1], "rest", 4));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	if (remove_first)
		GIVES(0, epoll_ctl(epoll, EPOLL_CTL_DEL, pair[0], NULL));
	GIVES(0, close(pair[1]));
	GIVES(0, close(pair[0]));
	return pair[0];
}

static void check_pipe_at(int epoll, int fd, int writer)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 99 };
	char back[8];

	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	GIVES(0, epoll_wait(epoll, &event, 1, 0));
	GIVES(4, write(writer, "pipe", 4));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	CHECK(event.data.u64 == 99);
	GIVES(4, read(fd, back, 8));
	CHECK(memcmp(back, "pipe", 4) == 0);
	GIVES(0, close(writer));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	CHECK(event.events & EPOLLHUP);
	GIVES(0, read(fd, back, 8));
	GIVES(0, close(fd));
}

CASE(a_socket_number_given_to_a_pipe_reads_as_a_pipe)
{
	int epoll = (int)SYS(epoll_create1(0));

	for (int i = 0; i < 10; i++) {
		int number = former_socket(epoll, i & 1), fds[2];

		GIVES(0, pipe2(fds, O_CLOEXEC | O_NONBLOCK * (i & 1)));
		CHECK(fds[0] == number || fds[1] == number);
		check_pipe_at(epoll, fds[0], fds[1]);
	}
}

CASE(a_socket_number_given_by_dup2_reads_as_a_pipe)
{
	int epoll = (int)SYS(epoll_create1(0));

	for (int i = 0; i < 10; i++) {
		int number = former_socket(epoll, i & 1), fds[2];

		GIVES(0, pipe(fds));
		GIVES(number + 10, dup2(fds[0], number + 10));
		GIVES(number + 10, dup3(fds[0], number + 10, O_CLOEXEC));
		GIVES(0, close(fds[0]));
		check_pipe_at(epoll, number + 10, fds[1]);
	}
}

CASE(a_live_socket_number_replaced_by_dup2_reads_as_a_file)
{
	int epoll = (int)SYS(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN };
	char back[8];
	int pair[2], file = file_of("f", "file", 4);

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	GIVES(6, write(pair[1], "socket", 6));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(pair[0], dup2(file, pair[0]));
	GIVES(4, read(pair[0], back, 8));
	CHECK(memcmp(back, "file", 4) == 0);
	FAILS(EPIPE, send(pair[1], "x", 1, MSG_NOSIGNAL));
}

CASE(a_socket_number_given_to_an_eventfd_or_a_file_is_that)
{
	int epoll = (int)SYS(epoll_create1(0));
	uint64_t value = 5;
	char back[8];

	for (int i = 0; i < 10; i++) {
		int number = former_socket(epoll, i & 1);

		GIVES(number, eventfd(3, 0));
		GIVES(8, write(number, &value, 8));
		GIVES(8, read(number, &value, 8));
		CHECK(value == 8);
		value = 5;
		GIVES(0, close(number));
		GIVES(number, file_of("f", "file", 4));
		GIVES(4, read(number, back, 8));
		GIVES(0, read(number, back, 8));
		GIVES(0, close(number));
	}
}

CASE(what_a_child_closes_stays_open_in_the_parent)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = (int)SYS(epoll_create1(0)), pair[2];
	char back[8];

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	GIVES(4, write(pair[1], "data", 4));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	for (volatile int i = 0; i < 4; i++) {
		pid_t child = i & 1 ? fork() : vfork();

		if (child == 0) {
			close(pair[0]);
			close(pair[1]);
			_exit(open("/dev/null", O_RDONLY) != pair[0]);
		}
		GIVES(0, exit_status(child));
	}
	GIVES(4, read(pair[0], back, 8));
	CHECK(memcmp(back, "data", 4) == 0);
	GIVES(2, write(pair[1], "go", 2));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(2, read(pair[0], back, 8));
}

CASE(a_child_reads_what_its_parent_left_in_the_socket)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = (int)SYS(epoll_create1(0)), pair[2];
	char back[16];
	pid_t child;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	GIVES(10, write(pair[1], "0123456789", 10));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(4, read(pair[0], back, 4));
	child = fork();
	if (child == 0) {
		GIVES(3, read(pair[0], back, 3));
		_exit(memcmp(back, "456", 3) != 0);
	}
	GIVES(0, exit_status(child));
	GIVES(3, read(pair[0], back, 16));
	CHECK(memcmp(back, "789", 3) == 0);
}

ROLE(role_reads_the_rest)
{
	char back[16];

	GIVES(6, read(20, back, 16));
	CHECK(memcmp(back, "456789", 6) == 0);
}

CASE(an_execd_program_reads_what_was_left_in_the_socket)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC)), pair[2];
	char back[16];
	pid_t child;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(20, dup2(pair[0], 20));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, 20, &event));
	GIVES(10, write(pair[1], "0123456789", 10));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(4, read(20, back, 4));
	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", case_argv[0], "role_reads_the_rest", NULL);
		_exit(1);
	}
	GIVES(0, exit_status(child));
}

CASE(two_numbers_of_one_socket_share_what_is_in_it)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = (int)SYS(epoll_create1(0)), pair[2], other;
	char back[16];

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	other = (int)SYS(dup(pair[0]));
	GIVES(10, write(pair[1], "0123456789", 10));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(4, read(pair[0], back, 4));
	GIVES(3, read(other, back, 3));
	CHECK(memcmp(back, "456", 3) == 0);
	GIVES(0, close(pair[0]));
	GIVES(3, read(other, back, 16));
	CHECK(memcmp(back, "789", 3) == 0);
}

/* A vfork child shares the memory and has descriptors of its own: what it does to a number is not done to ours. */
CASE(what_a_vfork_child_puts_at_a_number_is_not_there_in_the_parent)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = (int)SYS(epoll_create1(EPOLL_CLOEXEC)), pair[2], fds[2];
	char back[8];
	pid_t child;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, pipe2(fds, O_CLOEXEC));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event));
	child = vfork();
	if (child == 0) {
		if (dup2(pair[1], fds[0]) != fds[0] || dup2(fds[1], pair[0]) != pair[0] || close(epoll) != 0)
			_exit(1);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	GIVES(0, exit_status(child));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event));
	GIVES(4, write(fds[1], "pipe", 4));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(4, read(fds[0], back, 8));
	GIVES(6, write(pair[1], "socket", 6));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(6, read(pair[0], back, 8));
	GIVES(0, close(fds[1]));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(0, read(fds[0], back, 8));
}

/* The smallest life of a connection before its number becomes a pipe's: neither epoll nor data before. */
CASE(the_number_of_an_idle_tcp_connection_reads_as_a_pipe)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN };
	socklen_t size = sizeof(address);
	int epoll = (int)SYS(epoll_create1(0)), server = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), client, side, fds[2];
	char back[8];

	GIVES(0, bind(server, (void *)&address, size));
	GIVES(0, listen(server, 1));
	GIVES(0, getsockname(server, (void *)&address, &size));
	client = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	GIVES(0, connect(client, (void *)&address, size));
	side = (int)SYS(accept(server, NULL, NULL));
	GIVES(0, close(side));
	GIVES(0, close(client));
	GIVES(0, pipe(fds));
	CHECK(fds[0] == client && fds[1] == side);
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event));
	GIVES(4, write(fds[1], "pipe", 4));
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(4, read(fds[0], back, 8));
	CHECK(memcmp(back, "pipe", 4) == 0);
}

/* As a server that saves to a file while clients come and go: the client's number becomes the file's. */
CASE(the_number_of_a_tcp_client_writes_as_a_file)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int server = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), client, side, file;
	char back[8];

	GIVES(0, bind(server, (void *)&address, size));
	GIVES(0, listen(server, 1));
	GIVES(0, getsockname(server, (void *)&address, &size));
	for (int i = 0; i < 5; i++) {
		client = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
		GIVES(0, connect(client, (void *)&address, size));
		side = (int)SYS(accept(server, NULL, NULL));
		GIVES(4, write(side, "data", 4));
		GIVES(4, recv(client, back, 4, MSG_WAITALL));
		GIVES(0, close(client));
		GIVES(0, close(side));
		file = (int)SYS(open("f", O_RDWR | O_CREAT | O_TRUNC, 0600));
		CHECK(file == client);
		GIVES(side, dup(file));
		GIVES(4, write(side, "file", 4));
		GIVES(4, write(file, "more", 4));
		GIVES(8, pread(file, back, 8, 0));
		CHECK(memcmp(back, "filemore", 8) == 0);
		GIVES(0, close(side));
		GIVES(0, close(file));
	}
}

/* As the saving child of a server: it closes the listening socket, and the file it saves to gets that number. */
CASE(the_number_of_a_listening_socket_writes_as_a_file)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = (int)SYS(socket(AF_INET, SOCK_STREAM, 0)), epoll = (int)SYS(epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN };
	pid_t child;

	GIVES(0, bind(server, (void *)&address, sizeof(address)));
	GIVES(0, listen(server, 1));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event));
	child = fork();
	if (child == 0) {
		GIVES(0, close(server));
		GIVES(server, open("f", O_RDWR | O_CREAT | O_TRUNC, 0600));
		for (int i = 0; i < 10; i++)
			GIVES(4, write(server, "file", 4));
		GIVES(0, fsync(server));
		GIVES(40, lseek(server, 0, SEEK_END));
		_exit(0);
	}
	GIVES(0, exit_status(child));
	GIVES(0, close(server));
	GIVES(server, open("f", O_RDWR | O_TRUNC));
	GIVES(4, write(server, "file", 4));
	GIVES(4, lseek(server, 0, SEEK_END));
}
