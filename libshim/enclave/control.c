/*
 * control.c - the shim's side of the control socket.
 *
 * Owns: packets to the runtime host and the private sockets on which it answers. Must never: block the program for an
 * answer that it did not ask for. Called by: start.c, exec.c, patch.c, stats.c, die.c, trace.c.
 */
#include <linux/fcntl.h>
#include <linux/resource.h>
#include "control.h"
#include "descriptor.h"
#include "memory_file.h"
#include "policy.h"
#include "shield.h"
#include "volumes.h"

enum { AF_UNIX = 1, SOCK_SEQPACKET = 5, SOCK_CLOEXEC = 02000000, SOL_SOCKET = 1, SCM_RIGHTS = 1,
       MSG_NOSIGNAL = 0x4000, F_DUPFD_CLOEXEC_ = 1030, CONTROL_FD_MAX = 1024,
       MAPS_MAX = 48 * 1024 };

struct message {
	void *name; uint32_t name_size, padding_1;
	struct io_part *vectors; uint64_t vector_count;
	void *control; uint64_t control_size;
	int32_t flags, padding_2;
};

struct rights { uint64_t size; int32_t level, type, fd, padding; };

static void header_fill(struct ctl_header *header, uint16_t type, size_t size)
{
	*header = (struct ctl_header) {
		.magic = CTL_MAGIC,
		.type  = type,
		.flags = enclave.flags & FLAG_FIRST ? CTL_FIRST : 0,
		.size  = (uint32_t)size,
		.pid   = (int32_t)gate0(__NR_getpid),
		.tid   = (int32_t)gate0(__NR_gettid),
	};
}

/* One packet of a head and two tails; `answer_fd` (-1: none) goes with it. 0 or -errno. */
NODISCARD static long packet_send(struct ctl_header *head, size_t head_size, const char *tail_1, const char *tail_2,
				  int answer_fd)
{
	size_t size_1 = tail_1 ? string_size(tail_1) + 1 : 0, size_2 = tail_2 ? string_size(tail_2) + 1 : 0;
	struct io_part vectors[3] = { { (uint64_t)head, head_size }, { (uint64_t)tail_1, size_1 }, { (uint64_t)tail_2, size_2 } };
	struct rights rights = { 20, SOL_SOCKET, SCM_RIGHTS, answer_fd, 0 };
	struct message message = { .vectors = vectors, .vector_count = 3 };
	long result;

	if (enclave.control_fd < 0)
		return -ENOTCONN;
	head->size = (uint32_t)(head_size + size_1 + size_2);
	if (answer_fd >= 0) {
		message.control = &rights;
		message.control_size = sizeof rights;
	}
	do
		result = gate3(__NR_sendmsg, enclave.control_fd, &message, MSG_NOSIGNAL);
	while (result == -EINTR);
	return result < 0 ? result : 0;
}

long control_more(int from, void *bytes, size_t capacity)
{
	long result;

	do
		result = gate3(__NR_read, from, bytes, capacity);
	while (result == -EINTR);
	if (result > (long)capacity)
		die("the host gave more bytes than were asked for");
	return result;
}

/* Sends a question and takes the first packet of its answer: its bytes, or -errno. *from is where more would come. */
NODISCARD static long packet_ask_open(struct ctl_header *head, size_t head_size, const char *tail_1, const char *tail_2,
				      void *answer, size_t capacity, int *from)
{
	int pair[2];
	long result;

	TRY(gate4(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	result = packet_send(head, head_size, tail_1, tail_2, pair[1]);
	gate1(__NR_close, pair[1]);
	*from = pair[0];
	if (result >= 0)
		result = control_more(pair[0], answer, capacity);
	if (result <= 0)
		gate1(__NR_close, pair[0]);
	return result == 0 ? -EPIPE : result;
}

/* The same for an answer of one packet. */
NODISCARD static long packet_ask(struct ctl_header *head, size_t head_size, const char *tail_1, const char *tail_2,
				 void *answer, size_t capacity)
{
	int from;
	long result = packet_ask_open(head, head_size, tail_1, tail_2, answer, capacity, &from);

	if (result > 0)
		gate1(__NR_close, from);
	return result;
}

/* A line "start-end perms offset dev inode   path" of executable code from a file. */
static bool is_code_line(const char *line, size_t size)
{
	size_t at = 0;

	while (at < size && line[at] != ' ')
		at++;
	if (at + 5 >= size || line[at + 3] != 'x')
		return false;
	while (at < size && line[at] != '/')
		at++;
	return at < size;
}

/* Adds the executable lines of /proc/self/maps that name a file; bytes of them. */
static uint32_t maps_read(char *lines, size_t capacity)
{
	char piece[4096];
	size_t done = 0, line = 0;
	long fd = gate4(__NR_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY, 0), size;

	while (fd >= 0 && (size = gate3(__NR_read, fd, piece, sizeof piece)) > 0 && size <= (long)sizeof piece)
		for (long i = 0; i < size; i++) {
			if (done == capacity)
				die("this program maps more libraries than its measurement can name");
			lines[done++] = piece[i];
			if (piece[i] != '\n')
				continue;
			if (!is_code_line(lines + line, done - line))
				done = line;
			line = done;
		}
	if (fd >= 0)
		gate1(__NR_close, fd);
	return (uint32_t)line;
}

/* One of the memory files that the image before left open; `index` is its own. */
static void file_take(int from, uint32_t index, int32_t numbers[CTL_KEPT_MAX])
{
	struct ctl_hello_file head;
	uint8_t *bytes;
	long size = control_more(from, &head, sizeof head), result;

	if (size != sizeof head || head.size > CTL_FILE_MAX || head.same_as > index)
		die("the runtime host's answer to HELLO can't be read");
	numbers[index] = head.fd;
	if (head.same_as < index) {
		struct descriptor *first = descriptor_of(numbers[head.same_as]), *own = descriptor_of(head.fd);

		if (first && own && !own->ops)
			shield_share(first, own);
		return;
	}
	bytes = pages_map(head.size + 1);
	for (uint64_t done = 0; bytes && done < head.size; done += (uint64_t)result) {
		result = control_more(from, bytes + done, head.size - done);
		if (result <= 0)
			die("the runtime did not send all of a file");
	}
	const struct memory_file_facts facts = { head.mode, head.uid, head.gid, 0, head.number, head.seconds };

	if (!bytes || memory_file_restore(head.fd, &facts, bytes, head.size, head.flags, head.offset) < 0)
		die("a file of the runtime's can't be left open over an exec");
	memset(bytes, 0, head.size);
	gate2(__NR_munmap, bytes, head.size + 1);
}

/* Takes over what the runtime answers to HELLO, or stops. */
static void hello_answered(const uint8_t *answer, long size, int from)
{
	struct ctl_hello_answer head;
	int32_t numbers[CTL_KEPT_MAX];

	if (size < (long)sizeof head)
		die("the runtime host is gone: nobody hands over the policy");
	memcpy(&head, answer, sizeof head);
	if (head.policy_size > (size_t)size - sizeof head || answer[size - 1])
		die("the runtime host's answer to HELLO can't be read");
	if (head.error)
		die((const char *)answer + sizeof head + head.policy_size);
	policy_install(answer + sizeof head, head.policy_size);
	if (head.file_count > CTL_KEPT_MAX)
		die("the runtime host's answer to HELLO can't be read");
	if (enclave.flags & FLAG_VOLUMES && !head.volume_count)
		die("the runtime hands over no volume: what belongs there would be written to the host");
	if (head.volume_count)
		volumes_take(from, head.volume_count);
	for (uint32_t i = 0; i < head.file_count; i++)
		file_take(from, i, numbers);
}

void control_hello(bool after_exec, uint64_t nonce)
{
	uint8_t *packet = pages_map(2 * CTL_PACKET_MAX), *answer = packet + CTL_PACKET_MAX;
	struct ctl_hello *hello = (struct ctl_hello *)packet;
	char *path = (char *)(hello + 1);
	long size;
	int from;

	if (!packet)
		die("no memory for the shim");
	if (enclave.control_fd < 0)
		return;
	size = gate3(__NR_readlink, "/proc/self/exe", path, CTL_PATH_MAX - 1);
	size = size < 0 || size >= CTL_PATH_MAX ? 0 : size;
	*hello = (struct ctl_hello){ .shim_id = shim_image.id, .nonce = nonce, .flags = after_exec ? CTL_AFTER_EXEC : 0 };
	header_fill(&hello->header, CTL_HELLO, 0);
	size += (long)sizeof *hello + 1;
	if (enclave.flags & FLAG_POLICY) {
		hello->flags |= CTL_WANTS_POLICY;
		hello->maps_size = maps_read((char *)packet + size, MAPS_MAX);
		size = packet_ask_open(&hello->header, (size_t)size + hello->maps_size, NULL, NULL, answer, CTL_PACKET_MAX, &from);
		hello_answered(answer, size, from);
		gate1(__NR_close, from);
	} else if (packet_send(&hello->header, (size_t)size, NULL, NULL, -1) < 0) {
		die("the runtime host is gone");
	}
	gate2(__NR_munmap, packet, 2 * CTL_PACKET_MAX);
}

bool control_event(uint32_t kind, uint32_t nr, const char *text)
{
	struct ctl_event event = { .kind = kind, .nr = nr };

	header_fill(&event.header, CTL_EVENT, 0);
	return packet_send(&event.header, sizeof event, text, NULL, -1) >= 0;
}

long control_exec(int dirfd, uint32_t at_flags, const char *path, char *shim, char *pin, struct ctl_exec_answer *given)
{
	char answer[CTL_PATH_MAX * 2], cwd[CTL_PATH_MAX];
	struct ctl_exec question = { .dirfd = dirfd, .at_flags = at_flags };
	struct ctl_exec_answer head;
	const char *message;
	long size, shim_size;

	if (gate2(__NR_getcwd, cwd, sizeof cwd) < 0)
		cwd[0] = 0;
	header_fill(&question.header, CTL_EXEC, 0);
	size = packet_ask(&question.header, sizeof question, path, cwd, answer, sizeof answer - 2);
	if (size == -EMFILE || size == -ENFILE)
		return size;
	if (size < (long)sizeof head)
		die("the runtime host is gone: nobody can allow an exec");
	memcpy(&head, answer, sizeof head);
	answer[size] = answer[size + 1] = 0;
	shim_size = copy_string(shim, answer + sizeof head, CTL_PATH_MAX);
	if (shim_size < 0 || head.error < 0 || head.error > 4095)
		die("the runtime host's answer to an exec can't be read");
	*given = head;
	message = (long)sizeof head + shim_size + 1 < size ? answer + sizeof head + shim_size + 1 : "";
	if (head.error && message[0])
		say(message);
	if (copy_string(pin, head.error ? "" : message, CTL_PIN_MAX) < 0)
		die("the runtime host's answer to an exec can't be read");
	return -head.error;
}

long control_sites(const char *path, uint64_t offset, uint64_t length, struct site *sites, size_t capacity)
{
	struct ctl_sites question = { .offset = offset, .length = length };
	struct ctl_sites_answer head;
	uint8_t *answer = pages_map(CTL_PACKET_MAX);
	long size, count = 0;

	if (!answer)
		return 0;
	header_fill(&question.header, CTL_SITES, 0);
	size = packet_ask(&question.header, sizeof question, path, NULL, answer, CTL_PACKET_MAX);
	if (size >= (long)sizeof head) {
		memcpy(&head, answer, sizeof head);
		if (head.count <= capacity && sizeof head + head.count * sizeof *sites == (size_t)size) {
			memcpy(sites, answer + sizeof head, head.count * sizeof *sites);
			count = head.count;
		}
	}
	gate2(__NR_munmap, answer, CTL_PACKET_MAX);
	return count;
}

long control_call(struct ctl_call *call, size_t size, void *answer, size_t capacity, int *from)
{
	header_fill(&call->header, CTL_CALL, 0);
	return packet_ask_open(&call->header, size, NULL, NULL, answer, capacity, from);
}

void control_stats(const struct wire_stats *stats, bool is_end)
{
	struct ctl_stats message;
	char answer[8192];
	long size;

	if (enclave.control_fd < 0)
		return;
	memcpy(&message.stats, stats, sizeof *stats);
	header_fill(&message.header, CTL_STATS, 0);
	if (!is_end)
		message.header.flags = 0;
	if (!(message.header.flags & CTL_FIRST)) {
		if (packet_send(&message.header, sizeof message, NULL, NULL, -1) < 0)
			return;		/* the process ends: there is nobody left to tell */
		return;
	}
	size = packet_ask(&message.header, sizeof message, NULL, NULL, answer, sizeof answer);
	if (size > (long)sizeof(struct ctl_text_answer))
		gate3(__NR_write, 2, answer + sizeof(struct ctl_text_answer),
		      (size_t)size - sizeof(struct ctl_text_answer));
}

void control_trace(struct ctl_trace *packet, size_t size)
{
	header_fill(&packet->header, CTL_TRACE, 0);
	packet->header.size = (uint32_t)size;
	gate6(__NR_sendto, enclave.control_fd, (long)packet, (long)size, MSG_NOSIGNAL, 0, 0);
}

void control_keep(struct ctl_keep *message, size_t size)
{
	header_fill(&message->header, CTL_KEEP, 0);
	if (packet_send(&message->header, size, NULL, NULL, -1) < 0)
		die("the runtime host is gone: nobody can keep a file over an exec");
}

void control_helper(int32_t pid)
{
	struct ctl_helper message = { .helper_pid = pid };

	header_fill(&message.header, CTL_HELPER, 0);
	if (packet_send(&message.header, sizeof message, NULL, NULL, -1) < 0)
		return;		/* without a runtime only waits for the helper notice that it is gone */
}

void control_live(int fd)
{
	struct ctl_header message;

	header_fill(&message, CTL_LIVE, 0);
	if (packet_send(&message, sizeof message, NULL, NULL, fd) < 0)
		return;		/* without a runtime nobody reads */
}

static void move(int32_t *fd, long wanted, bool is_inherited)
{
	long moved;

	if (*fd <= 0 || *fd >= wanted)
		return;
	moved = gate3(__NR_fcntl, *fd, F_DUPFD_CLOEXEC_, wanted);
	if (moved < 0)
		return;		/* no number that high is free: it stays where it is */
	if (is_inherited)
		gate3(__NR_fcntl, moved, F_SETFD, 0);
	gate1(__NR_close, *fd);
	*fd = (int32_t)moved;
}

/* The highest number that the shim's own descriptors can have. */
static long highest(void)
{
	uint64_t limit[2];

	if (gate2(__NR_getrlimit, RLIMIT_NOFILE, limit) == 0 && limit[0] > 0 && limit[0] < CONTROL_FD_MAX)
		return (long)limit[0] - 1;
	return CONTROL_FD_MAX - 1;
}

void control_start(void)
{
	long wanted = highest();

	move(&enclave.control_fd, wanted, true);
	move(&enclave.alive_fd, wanted - 1, true);
}

void control_own_move(uint32_t first, uint32_t count)
{
	long wanted = highest() - first;

	for (uint32_t i = 0; i < count; i++)
		move(&enclave.own_fd[first + i], wanted - i, false);
}

void control_inherit(bool is_inherited)
{
	const int32_t own[] = { enclave.control_fd, enclave.alive_fd };

	for (size_t i = 0; i < 2; i++)
		if (own[i] > 0)
			gate3(__NR_fcntl, own[i], F_SETFD, is_inherited ? 0 : FD_CLOEXEC);
}
