/*
 * victim.c - a program whose host lies: it arms a lie, makes the call, and must get an errno or be stopped.
 *
 * Owns: the generated lies told end to end, by whichever exit the call takes. Must never: know the shim. Every buffer
 * ends at a guard page: what is written past one kills the program, and the test with it.
 * Run by: test_lies.py, under the shim of liar.c; lies about contents are in contents.h.
 */
#include "guard.h"

#include <sys/epoll.h>
#include "arguments.h"
#include "hostile.gen.h"
#include "lie.h"

enum { ROOM = 1 << 16 };

static int a_file, an_epoll;
static uint8_t *ends[BUFFERS];

/* `size` zero bytes that end at the guard page of buffer `index`. */
static void *buffer(int index, size_t size)
{
	if (!ends[index])
		ends[index] = (uint8_t *)guarded(ROOM) + ROOM;
	return memset(ends[index] - size, 0, size);
}

static void open_files(void)
{
	a_file = file_of("lied-about", "0123456789", 10);
	an_epoll = (int)SYS(epoll_create1(0));
}

static void arm(struct lie *lie)
{
	GIVES(0, syscall(SYS_read, LIE_HANDLE, lie, 0));
}

static struct lie_write *says(struct lie *lie, uint32_t arg, uint64_t offset, const void *bytes, size_t size)
{
	struct lie_write *write = &lie->write[lie->count++];

	*write = (struct lie_write){ .arg = arg, .offset = offset, .size = size, .bytes = bytes };
	return write;
}

static long told(struct lie *lie, const long *arg)
{
	arm(lie);
	return syscall(lie->nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* The call's arguments, with what a handler looks at before it makes it. */
static void prepare_call(long nr, long *arg)
{
	prepare(&call_shapes[nr], a_file, arg);
	if (nr == SYS_ppoll)
		arg[3] = 0;
	if (nr == SYS_epoll_pwait || nr == SYS_epoll_pwait2)
		arg[4] = 0;
	if (nr == SYS_pselect6)
		arg[5] = 0;
	if (nr == SYS_fcntl)
		arg[1] = F_GETFD;
	if (nr == SYS_epoll_wait || nr == SYS_epoll_pwait || nr == SYS_epoll_pwait2 || nr == SYS_epoll_ctl)
		arg[0] = an_epoll;
}

/* The call that makes a command, with the lie's argument at its place. */
static uint32_t prepare_command(const struct hostile_reply *from, struct lie *lie, long *arg)
{
	const struct sub_shape *row = sub_find(from->table, from->nr);

	memset(arg, 0, 6 * sizeof(*arg));
	arg[0] = a_file;
	lie->nr = from->table == &ioctl_table ? SYS_ioctl : SYS_fcntl;
	if (from->table != &sockopt_table) {
		arg[1] = (long)from->nr;
		arg[2] = row->result == RESULT_AT_LEAST ? BOUND :
			(long)buffer(2, ADDRESS > row->arg.size ? ADDRESS : row->arg.size);
		return 2;
	}
	lie->nr = SYS_getsockopt;
	arg[1] = (long)(from->nr >> 32);
	arg[2] = (long)(uint32_t)from->nr;
	arg[3] = (long)buffer(3, row->arg.size > SMALL ? row->arg.size : SMALL);
	arg[4] = (long)buffer(4, 4);
	*(uint32_t *)arg[4] = row->arg.size > SMALL ? row->arg.size : SMALL;
	return 3;
}

/* The host's answer for one generated lie; `arg` is where a struct lies. */
static void compose(const struct hostile_reply *from, struct lie *lie, uint32_t arg)
{
	const struct call_shape *shape = &call_shapes[lie->nr];
	static uint8_t reply[4096];

	for (uint32_t i = 0; i < from->write_count; i++) {
		const struct hostile_write *write = &from->writes[i];

		says(lie, write->arg, write->offset, write->bytes, write->size)->via = write->via;
	}
	if (from->kind != HOSTILE_FIELD && from->kind != HOSTILE_TEXT) {
		lie->result = from->kind == HOSTILE_BOUND ? BOUND + from->value : from->value;
		return;
	}
	lie->result = !from->table && shape->result == RESULT_COUNT;
	memcpy(reply, from->base, from->base_size);
	if (from->kind == HOSTILE_TEXT)
		memset(reply + from->offset, (int)from->value, from->size);
	else
		memcpy(reply + from->offset, &from->value, from->size);
	says(lie, arg, 0, reply, from->base_size);
}

struct tally { unsigned long told, by_ring, dropped, untold, believed, truths; };

static void tell(const struct hostile_reply *from, struct tally *tally)
{
	struct lie lie = { .nr = (long)from->nr, .also = from->nr == SYS_epoll_pwait ? SYS_epoll_wait : 0 };
	uint32_t at = from->arg;
	long arg[6], result;

	if (from->table)
		at = prepare_command(from, &lie, arg);
	else
		prepare_call(lie.nr, arg);
	compose(from, &lie, at);
	errno = 0;
	result = told(&lie, arg);
	tally->told += lie.is_told;
	tally->by_ring += lie.by_ring;
	if (!lie.is_told) {
		tally->untold++;
		printf("untold: %s %s %ld gave %ld (%d)\n", from->call, from->field ? from->field : "", from->value, result,
		       errno);
	} else if (from->kind == HOSTILE_TRUTH && result == lie.result) {
		tally->truths++;
	} else if (from->kind != HOSTILE_TRUTH && result == 0 && lie.by_ring && from->field && arg[0] == an_epoll) {
		tally->dropped++;	/* an event that nobody registered is no event */
	} else if (from->kind == HOSTILE_TRUTH || result != -1 || (errno != EIO)) {
		tally->believed++;
		printf("%s: %s %s %ld gave %ld (%d)\n", from->kind == HOSTILE_TRUTH ? "refused" : "believed", from->call,
		       from->field ? from->field : "", from->value, result, errno);
	}
}

CASE(no_generated_lie_is_believed)
{
	struct tally tally = { 0 };

	open_files();
	for (size_t i = 0; i < hostile_reply_count; i++)
		tell(&hostile_replies[i], &tally);
	printf("%lu told, %lu by ring, %lu dropped, %lu untold, %lu true, %lu wrong of %zu\n", tally.told, tally.by_ring,
	       tally.dropped, tally.untold, tally.truths, tally.believed, hostile_reply_count);
	fflush(stdout);
	CHECK(tally.untold == 0 && tally.believed == 0 && tally.told == hostile_reply_count);
}

#include "contents.h"
