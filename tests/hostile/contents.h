/*
 * contents.h - lies that no range can say: what is ready, chains of records, sizes inside headers, numbers asked for.
 *
 * Owns: the cases that victim.c includes. Must never: accept more than the errno, and the program's memory as it was.
 */
#ifndef HOSTILE_CONTENTS_H
#define HOSTILE_CONTENTS_H

#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/select.h>

#define REFUSED(call) FAILS(EIO, call)

static struct lie lie_of(long nr, long result)
{
	open_files();
	return (struct lie){ .nr = nr, .result = result };
}

static long polled_with(int fd, short events, struct pollfd reply, long result, struct pollfd *polled)
{
	struct lie lie = lie_of(SYS_poll, result);
	const long arg[6] = { (long)polled, 1, 0 };
	long given;

	*polled = (struct pollfd){ fd, events, 0 };
	says(&lie, 0, 0, &reply, sizeof(reply));
	given = told(&lie, arg);
	CHECK(lie.is_told);
	if (lie.by_ring)
		CHECK(polled->fd == fd && polled->events == events);
	return given;
}

CASE(poll_gives_no_events_that_were_not_asked_for)
{
	struct pollfd *polled = guarded(sizeof(*polled));

	REFUSED(polled_with(0, POLLIN, (struct pollfd){ 0, POLLIN, POLLOUT }, 1, polled));
	CHECK(polled->revents == 0);
	REFUSED(polled_with(0, POLLIN, (struct pollfd){ 0, POLLIN, (short)0x8000 }, 1, polled));
	REFUSED(polled_with(-1, POLLIN, (struct pollfd){ -1, POLLIN, POLLIN }, 1, polled));
	REFUSED(polled_with(0, POLLIN, (struct pollfd){ 0, POLLIN, 0 }, 1, polled));
	REFUSED(polled_with(0, POLLIN, (struct pollfd){ 0, POLLIN, POLLIN }, 0, polled));
	GIVES(1, polled_with(0, POLLIN, (struct pollfd){ 0, POLLIN, POLLIN | POLLHUP }, 1, polled));
}

CASE(poll_does_not_let_the_host_choose_what_is_polled)
{
	struct pollfd *polled = guarded(sizeof(*polled));
	long given = polled_with(3, POLLIN, (struct pollfd){ 4, POLLOUT, POLLIN }, 1, polled);

	CHECK(given == 1 && polled->revents == POLLIN);
}

static long selected_with(uint64_t asked, uint64_t reply, long result, uint64_t *set)
{
	struct lie lie = lie_of(SYS_select, result);
	struct timeval none = { 0, 0 };
	const long arg[6] = { 64, (long)set, 0, 0, (long)&none };

	*set = asked;
	says(&lie, 1, 0, &reply, sizeof(reply));
	return told(&lie, arg);
}

CASE(select_gives_a_subset_of_what_was_asked_and_its_size)
{
	uint64_t *set = guarded(sizeof(*set));

	REFUSED(selected_with(0x5, 0x7, 3, set));
	CHECK(*set == 0x5);
	REFUSED(selected_with(0x5, 0x2, 1, set));
	REFUSED(selected_with(0x5, 0x5, 1, set));
	REFUSED(selected_with(0x5, 0x4, 2, set));
	REFUSED(selected_with(0x5, 0x0, 64, set));
	GIVES(1, selected_with(0x5, 0x4, 1, set));
	CHECK(*set == 0x4);
	GIVES(0, selected_with(0x5, 0, 0, set));
}

CASE(dup_gives_the_number_that_was_asked_for)
{
	struct lie two = lie_of(SYS_dup2, 901), three = lie_of(SYS_dup3, 3), least = lie_of(SYS_fcntl, 49);

	REFUSED(told(&two, (const long[6]){ a_file, 900 }));
	REFUSED(told(&three, (const long[6]){ a_file, 900, O_CLOEXEC }));
	REFUSED(told(&least, (const long[6]){ a_file, F_DUPFD, 50 }));
	two = lie_of(SYS_dup2, 900);
	GIVES(900, told(&two, (const long[6]){ a_file, 900 }));
}

struct record { uint64_t inode, offset; uint16_t size; uint8_t type; char name[13]; } __attribute__((packed));

static long listed_with(const void *reply, size_t size)
{
	struct lie lie = lie_of(SYS_getdents64, (long)size);

	says(&lie, 1, 0, reply, size);
	return told(&lie, (const long[6]){ a_file, (long)buffer(1, 256), 256 });
}

CASE(a_listing_chains_exactly_and_its_names_end)
{
	struct record good[2] = { { 1, 1, 32, 8, "one" }, { 2, 2, 32, 8, "two" } }, bad[2];

	_Static_assert(sizeof(*good) == 32, "record");
	GIVES(64, listed_with(good, 64));
	for (int size = 0; size < 65536; size += size < 80 ? 1 : 1023) {
		memcpy(bad, good, sizeof(bad));
		bad[1].size = (uint16_t)size;
		if (size != 32)
			REFUSED(listed_with(bad, 64));
	}
	memcpy(bad, good, sizeof(bad));
	memset(bad[1].name, 'x', sizeof(bad[1].name));
	REFUSED(listed_with(bad, 64));
	strcpy(bad[1].name, "../etc");
	REFUSED(listed_with(bad, 64));
	bad[1].name[0] = 0;
	REFUSED(listed_with(bad, 64));
	REFUSED(listed_with(good, 63));
	REFUSED(listed_with(good, 40));
}

/* A receive whose reply has these sizes, and this control message. */
static long received_with(uint32_t name_size, uint64_t control_size, struct cmsghdr header, const int *fds)
{
	struct lie lie = lie_of(SYS_recvmsg, 1);
	uint64_t control[4] = { 0 };
	long arg[6] = { a_file, (long)message_of(sizeof(struct msghdr)) }, given;

	memcpy(control, &header, sizeof(header));
	memcpy(&control[2], fds, 16);
	says(&lie, 1, 0, control, sizeof(control))->via =
		offsetof(struct msghdr, msg_control) + 1;
	says(&lie, 1, offsetof(struct msghdr, msg_namelen), &name_size, 4);
	says(&lie, 1, offsetof(struct msghdr, msg_controllen), &control_size, 8);
	given = told(&lie, arg);
	CHECK(lie.is_told);
	return given;
}

CASE(a_message_keeps_inside_what_was_offered)
{
	const int good[4] = { 5, 6, 7, 8 }, bad[4] = { 5, -1, 7, 8 };
	struct cmsghdr rights = { CMSG_LEN(16), SOL_SOCKET, SCM_RIGHTS }, header = rights;

	GIVES(1, received_with(0, 32, rights, good));
	REFUSED(received_with(ADDRESS + 1, 32, rights, good));
	REFUSED(received_with(0x80000000u, 32, rights, good));
	REFUSED(received_with(0, CONTROLS + 1, rights, good));
	REFUSED(received_with(0, ~0ul, rights, good));
	REFUSED(received_with(0, 32, rights, bad));
	for (size_t size = 0; size < 100; size++) {
		header.cmsg_len = size;
		if (size < sizeof(header) || size > 32)
			REFUSED(received_with(0, 32, header, good));
	}
	header.cmsg_len = ~0ul;
	REFUSED(received_with(0, 32, header, good));
	header.cmsg_len = ~0ul - 7;
	REFUSED(received_with(0, 32, header, good));
}

static long sized_with(long nr, uint32_t size)
{
	struct lie lie = lie_of(nr, nr == SYS_accept ? 10 : 0);
	uint32_t at = nr == SYS_recvfrom ? 5 : nr == SYS_getsockopt ? 4 : 2;
	long arg[6] = { a_file }, given;
	uint32_t *asked = buffer((int)at, 4);

	*asked = SMALL;
	arg[at - 1] = (long)buffer((int)at - 1, SMALL);
	arg[at] = (long)asked;
	if (nr == SYS_recvfrom) {
		arg[1] = (long)buffer(1, 1);
		arg[2] = 1;
	}
	says(&lie, at, 0, &size, sizeof(size));
	given = told(&lie, arg);
	CHECK(lie.is_told);
	return given;
}

CASE(a_size_of_an_address_or_option_has_its_limit)
{
	const long calls[] = { SYS_accept, SYS_getsockname, SYS_getpeername, SYS_recvfrom, SYS_getsockopt };

	for (int i = 0; i < 5; i++) {
		REFUSED(sized_with(calls[i], 129));
		REFUSED(sized_with(calls[i], 0x80000000u));
		REFUSED(sized_with(calls[i], ~0u));
		CHECK(sized_with(calls[i], SMALL) >= 0);
	}
	REFUSED(sized_with(SYS_getsockopt, SMALL + 1));
}

CASE(a_command_that_the_spec_denies_is_refused_and_others_go_on)
{
	struct lie lie = lie_of(SYS_prctl, 0);
	struct { unsigned short size; void *filter; } program = { 0, NULL };

	FAILS(EINVAL, told(&lie, (const long[6]){ PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program }));
	CHECK(!lie.is_told);
	lie = (struct lie){ 0 };
	arm(&lie);
	FAILS(EINVAL, prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	FAILS(EINVAL, prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0));
	GIVES(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	GIVES(1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	GIVES(5, pwrite(a_file, "after", 5, 0));
}

/* One event of the host's; what the program gets. */
static long waited_with(uint32_t events, uint64_t data, struct epoll_event *program)
{
	struct epoll_event own = { EPOLLIN, { .u64 = 0x1234567890abcdef } }, reply = { events, { .u64 = data } };
	struct lie lie = lie_of(SYS_epoll_wait, 1);
	int pair[2];
	long given;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	GIVES(0, dup2(pair[0], 700) - 700);
	GIVES(0, epoll_ctl(an_epoll, EPOLL_CTL_ADD, 700, &own));
	says(&lie, 1, 0, &reply, sizeof(reply));
	given = told(&lie, (const long[6]){ an_epoll, (long)program, 1, 0 });
	CHECK(lie.is_told);
	GIVES(0, close(an_epoll));
	return given;
}

CASE(an_event_is_the_programs_own_or_none)
{
	struct epoll_event *event = guarded(sizeof(*event));

	memset(event, 0, sizeof(*event));
	GIVES(1, waited_with(EPOLLIN, 1ul << 32 | 700, event));
	CHECK(event->data.u64 == 0x1234567890abcdef && event->events == EPOLLIN);
	GIVES(1, waited_with(EPOLLHUP, 1ul << 32 | 700, event));
	GIVES(0, waited_with(EPOLLOUT, 1ul << 32 | 700, event));
	GIVES(0, waited_with(EPOLLIN, 700, event));
	GIVES(0, waited_with(EPOLLIN, 2ul << 32 | 700, event));
	GIVES(0, waited_with(EPOLLIN, 1ul << 32 | 701, event));
	GIVES(0, waited_with(EPOLLIN, ~0ul, event));
}
#endif
