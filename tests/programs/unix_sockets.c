/*
 * unix_sockets.c - unix sockets: paths, descriptors and credentials that travel.
 *
 * Owns: the cases where the kernel says who the peer is or hands descriptors over. Must never: leave its working
 * directory. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, path);
	return address;
}

static int connected_to(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0));

	GIVES(0, connect(fd, (void *)&address, sizeof(address)));
	return fd;
}

static int listening_at(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0));

	GIVES(0, bind(fd, (void *)&address, sizeof(address)));
	GIVES(0, listen(fd, 8));
	return fd;
}

/* Sends one byte with `count` descriptors. */
static void send_descriptors(int fd, const int *descriptors, int count)
{
	size_t size = (size_t)count * sizeof(int);
	struct cmsghdr *control = guarded(CMSG_SPACE(size));
	struct iovec part = { "d", 1 };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(size),
	};

	memset(control, 0, CMSG_SPACE(size));
	*control = (struct cmsghdr){ CMSG_LEN(size), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(control), descriptors, size);
	GIVES(1, sendmsg(fd, &message, 0));
}

/* Receives one byte; returns the number of descriptors that came with it. */
static int receive_descriptors(int fd, int *descriptors, int room, int flags)
{
	size_t size = CMSG_SPACE((size_t)room * sizeof(int));
	struct cmsghdr *control = guarded(size);
	char *byte = guarded(1);
	struct iovec part = { byte, 1 };
	struct msghdr *message = guarded_copy(&(struct msghdr){
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = size }, sizeof(*message));
	int count;

	GIVES(1, recvmsg(fd, message, flags));
	if (message->msg_controllen == 0)
		return 0;
	CHECK(control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS);
	count = (int)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	CHECK(count <= room);
	memcpy(descriptors, CMSG_DATA(control), (size_t)count * sizeof(int));
	return count;
}

CASE(descriptors_travel_to_another_process)
{
	int pair[2], pipe_fds[2], got[2];
	char *back = guarded(5);
	pid_t child;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	child = fork();
	if (child == 0) {
		GIVES(0, pipe(pipe_fds));
		GIVES(5, write(pipe_fds[1], "inner", 5));
		send_descriptors(pair[1], pipe_fds, 2);
		_exit(0);
	}
	GIVES(2, receive_descriptors(pair[0], got, 2, MSG_CMSG_CLOEXEC));
	CHECK(fcntl(got[0], F_GETFD) == FD_CLOEXEC);
	GIVES(5, read(got[0], back, 5));
	CHECK(memcmp(back, "inner", 5) == 0);
	GIVES(0, exit_status(child));
	GIVES(0, close(got[1]));
	GIVES(0, read(got[0], back, 5));
}

CASE(received_descriptors_take_the_lowest_numbers)
{
	int pair[2], got[3], want;

	GIVES(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	send_descriptors(pair[0], (int[]){ 0, 1, 2 }, 3);
	want = (int)SYS(dup(0));
	GIVES(0, close(want));
	GIVES(3, receive_descriptors(pair[1], got, 3, 0));
	CHECK(got[0] == want && got[1] == want + 1 && got[2] == want + 2);
	CHECK(fcntl(got[0], F_GETFD) == 0);
}

CASE(descriptors_travel_in_messages_sent_and_received_at_once)
{
	enum { SPACE = CMSG_SPACE(sizeof(int)) };
	struct mmsghdr *messages = guarded(2 * sizeof(*messages));
	struct iovec part = { guarded_copy("m", 1), 1 };
	uint8_t *controls = guarded(2 * SPACE);
	int pair[2], fds[2];

	GIVES(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	memset(messages, 0, 2 * sizeof(*messages));
	for (int i = 0; i < 2; i++) {
		struct cmsghdr *control = (struct cmsghdr *)(controls + i * SPACE);

		*control = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(control), &pair[i], sizeof(int));
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
						       .msg_controllen = SPACE };
	}
	GIVES(2, sendmmsg(pair[0], messages, 2, 0));
	memset(controls, 0, 2 * SPACE);
	GIVES(2, recvmmsg(pair[1], messages, 2, 0, NULL));
	for (int i = 0; i < 2; i++) {
		memcpy(&fds[i], CMSG_DATA((struct cmsghdr *)(controls + i * SPACE)), sizeof(int));
		CHECK(messages[i].msg_len == 1 && messages[i].msg_hdr.msg_controllen == SPACE && fds[i] > pair[1]);
	}
	GIVES(1, write(fds[0], "z", 1));
	GIVES(1, read(fds[1], controls, 1));
	CHECK(*controls == 'z');
}

CASE(a_bad_descriptor_does_not_travel)
{
	struct cmsghdr *control = guarded(CMSG_SPACE(4));
	struct iovec part = { "d", 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(4) };
	int pair[2];

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	*control = (struct cmsghdr){ CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(control), &(int){ 999 }, 4);
	FAILS(EBADF, sendmsg(pair[0], &message, 0));
	control->cmsg_len = 4;
	FAILS(EINVAL, sendmsg(pair[0], &message, 0));
}

CASE(a_control_buffer_that_is_too_small_truncates)
{
	struct cmsghdr *control = guarded(CMSG_LEN(4));
	char byte;
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(4) };
	int pair[2];

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	send_descriptors(pair[0], (int[]){ 0, 1, 2 }, 3);
	GIVES(1, recvmsg(pair[1], &message, 0));
	CHECK(message.msg_flags & MSG_CTRUNC);
	CHECK(control->cmsg_len == CMSG_LEN(4));
}

/* P6: the kernel must name the program as the peer, not a helper of the wrapper. */
CASE(peer_credentials_name_this_process)
{
	struct ucred *peer = guarded(sizeof(*peer));
	socklen_t size = sizeof(*peer);
	int pair[2], server, client;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, peer, &size));
	CHECK(size == sizeof(*peer) && peer->pid == getpid() && peer->uid == geteuid() && peer->gid == getegid());
	server = listening_at("s");
	client = connected_to("s");
	GIVES(0, getsockopt(client, SOL_SOCKET, SO_PEERCRED, peer, &size));
	CHECK(peer->pid == getpid());
	GIVES(0, getsockopt((int)SYS(accept(server, NULL, NULL)), SOL_SOCKET, SO_PEERCRED, peer, &size));
	CHECK(peer->pid == getpid());
}

static void client_role(int server)
{
	char byte;

	close(server);
	(void)!read(connected_to("s"), &byte, 1);
	_exit(0);
}

CASE(peer_credentials_name_the_connecting_child)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int server = listening_at("s");
	pid_t child = fork();
	int side;

	if (child == 0)
		client_role(server);
	side = (int)SYS(accept(server, NULL, NULL));
	GIVES(0, getsockopt(side, SOL_SOCKET, SO_PEERCRED, &peer, &size));
	CHECK(peer.pid == child);
	GIVES(0, close(side));
	GIVES(0, exit_status(child));
}

/* Receives one byte and returns the pid that the kernel says sent it. */
static pid_t sender_of(int fd)
{
	size_t size = CMSG_SPACE(sizeof(struct ucred));
	struct cmsghdr *control = guarded(size);
	struct ucred sender;
	char byte;
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = size };

	GIVES(1, recvmsg(fd, &message, 0));
	CHECK(message.msg_controllen != 0 && control->cmsg_type == SCM_CREDENTIALS);
	memcpy(&sender, CMSG_DATA(control), sizeof(sender));
	CHECK(sender.uid == getuid() && sender.gid == getgid());
	return sender.pid;
}

static void send_explicit_credentials(int fd)
{
	struct ucred own = { getpid(), geteuid(), getegid() };
	size_t size = CMSG_SPACE(sizeof(own));
	struct cmsghdr *control = guarded(size);
	struct iovec part = { "c", 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = size };

	memset(control, 0, size);
	*control = (struct cmsghdr){ CMSG_LEN(sizeof(own)), SOL_SOCKET, SCM_CREDENTIALS };
	memcpy(CMSG_DATA(control), &own, sizeof(own));
	GIVES(1, sendmsg(fd, &message, 0));
}

CASE(passed_credentials_name_the_sender)
{
	int pair[2], on = 1;
	pid_t child;

	GIVES(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	GIVES(1, write(pair[0], "x", 1));
	CHECK(sender_of(pair[1]) == getpid());
	GIVES(1, send(pair[0], "x", 1, 0));
	CHECK(sender_of(pair[1]) == getpid());
	send_explicit_credentials(pair[0]);
	CHECK(sender_of(pair[1]) == getpid());
	child = fork();
	if (child == 0) {
		send_explicit_credentials(pair[0]);
		_exit(write(pair[0], "x", 1) != 1);
	}
	CHECK(sender_of(pair[1]) == child);
	CHECK(sender_of(pair[1]) == child);
	GIVES(0, exit_status(child));
}

CASE(every_way_to_send_names_the_sender)
{
	int pair[2], pipe_pair[2], on = 1, file = file_of("one", "x", 1);
	struct iovec part = { "x", 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct mmsghdr many = { .msg_hdr = message };
	loff_t start = 0;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	GIVES(1, writev(pair[0], &part, 1));
	CHECK(sender_of(pair[1]) == getpid());
	GIVES(1, sendmsg(pair[0], &message, 0));
	CHECK(sender_of(pair[1]) == getpid());
	GIVES(1, sendmmsg(pair[0], &many, 1, 0));
	CHECK(sender_of(pair[1]) == getpid());
	GIVES(1, sendfile(pair[0], file, NULL, 1));
	CHECK(sender_of(pair[1]) == getpid());
	GIVES(0, pipe(pipe_pair));
	GIVES(1, write(pipe_pair[1], "x", 1));
	GIVES(1, splice(pipe_pair[0], NULL, pair[0], NULL, 1, 0));
	CHECK(sender_of(pair[1]) == getpid());
	GIVES(1, splice(file, &start, pipe_pair[1], NULL, 1, 0));
	GIVES(1, splice(pipe_pair[0], NULL, pair[0], NULL, 1, 0));
	CHECK(sender_of(pair[1]) == getpid());
}

CASE(a_datagram_to_an_address_names_the_sender)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "to" };
	int from = (int)SYS(socket(AF_UNIX, SOCK_DGRAM, 0)), to = (int)SYS(socket(AF_UNIX, SOCK_DGRAM, 0)), on = 1;

	GIVES(0, bind(to, (void *)&address, sizeof(address)));
	GIVES(0, setsockopt(to, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	GIVES(1, sendto(from, "x", 1, 0, (void *)&address, sizeof(address)));
	CHECK(sender_of(to) == getpid());
	GIVES(0, connect(from, (void *)&address, sizeof(address)));
	GIVES(1, write(from, "x", 1));
	CHECK(sender_of(to) == getpid());
}

CASE(unix_addresses_have_their_natural_lengths)
{
	struct sockaddr_un *address = guarded(sizeof(*address));
	socklen_t size = sizeof(*address);
	int server = listening_at("name");
	int client = connected_to("name");
	int side = (int)SYS(accept(server, (void *)address, &size));

	CHECK(size == sizeof(sa_family_t) && address->sun_family == AF_UNIX);
	size = sizeof(*address);
	GIVES(0, getpeername(client, (void *)address, &size));
	CHECK(size == sizeof(sa_family_t) + 5 && strcmp(address->sun_path, "name") == 0);
	size = sizeof(*address);
	GIVES(0, getsockname(side, (void *)address, &size));
	CHECK(strcmp(address->sun_path, "name") == 0);
	FAILS(EADDRINUSE, bind((int)SYS(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)address, size));
}

CASE(an_abstract_name_needs_no_file)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(address), short_size = sizeof(sa_family_t);
	int server = (int)SYS(socket(AF_UNIX, SOCK_STREAM, 0));

	GIVES(0, bind(server, (void *)&address, short_size));
	GIVES(0, listen(server, 1));
	GIVES(0, getsockname(server, (void *)&address, &size));
	CHECK(size == sizeof(sa_family_t) + 6 && address.sun_path[0] == 0);
	GIVES(0, connect((int)SYS(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&address, size));
	SYS(accept(server, NULL, NULL));
}

CASE(a_seqpacket_pair_keeps_boundaries_and_ends)
{
	int pair[2];
	char *back = guarded(8);

	GIVES(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	GIVES(3, send(pair[0], "abc", 3, MSG_EOR));
	GIVES(2, send(pair[0], "de", 2, 0));
	GIVES(3, recv(pair[1], back, 8, 0));
	GIVES(2, recv(pair[1], back, 8, 0));
	GIVES(0, close(pair[0]));
	GIVES(0, recv(pair[1], back, 8, 0));
	FAILS(EPIPE, send(pair[1], "x", 1, MSG_NOSIGNAL));
}
