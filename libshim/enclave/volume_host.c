/*
 * volume_host.c - what the core of volumes needs of the process that it runs in.
 *
 * Owns: struct volume_host, by the gate, on the program's own thread, whatever the exit. Must never: end a call of the core
 * because a signal came, or let it touch the program's vector registers unsaved. Called by: volume/.
 */
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/time.h>
#include <asm/stat.h>
#include "volume_inner.h"

enum { TRIES_MAX = 64, LEAF_STATE = 13, HAS_RDRAND = 1 << 30, HAS_OSXSAVE = 1 << 27, HAS_XSAVEC = 2, HEADER_AT = 512,
       HEADER_SIZE = 64, STATE_MAX = 4096, RANDOM_TRIES = 10,
       CLOCK_CYCLES = 1000000 };

/* What the cipher may change: SSE, AVX, the masks and upper parts of AVX-512. */
#define VECTORS_WANTED 0xe6u

_Static_assert(sizeof(((struct thread *)0)->vectors) == STATE_MAX, "XSAVE area");

static long host_call(uint32_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct frame frame = { .nr = nr, .arg = { a, b, c, d } };
	long result;

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		result = pass_steadily(&frame);
		if (result != -EINTR && result != -EAGAIN)
			return result;
	}
	return -EIO;
}

static uint64_t container(void *context)
{
	return (uint64_t)*((struct mount *)context)->container;
}

static long host_read(void *context, void *to, uint64_t size, uint64_t at)
{
	for (uint64_t done = 0; done < size;) {
		long result = host_call(__NR_pread64, container(context), (uint64_t)to + done, size - done, at + done);

		if (result <= 0)
			return result ? result : -EIO;
		done += (uint64_t)result;
	}
	return 0;
}

static long host_write(void *context, const void *from, uint64_t size, uint64_t at)
{
	for (uint64_t done = 0; done < size;) {
		long result = host_call(__NR_pwrite64, container(context), (uint64_t)from + done, size - done, at + done);

		if (result <= 0)
			return result ? result : -EIO;
		done += (uint64_t)result;
	}
	return 0;
}

static long host_sync(void *context)
{
	return host_call(__NR_fdatasync, container(context), 0, 0, 0);
}

static long host_grow(void *context, uint64_t size)
{
	struct stat status;
	uint64_t now;
	long result;

	TRY(host_call(__NR_fstat, container(context), (uint64_t)&status, 0, 0));
	now = status.st_size < 0 ? 0 : (uint64_t)status.st_size;
	if (now >= size)
		return 0;
	result = host_call(__NR_fallocate, container(context), 0, now, size - now);
	if (result == -EOPNOTSUPP)
		result = host_call(__NR_ftruncate, container(context), size, 0, 0);
	return result;
}

static long host_discard(void *context, uint64_t size, uint64_t at)
{
	return host_call(__NR_fallocate, container(context), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size);
}

static long host_copy(void *context, void *to, const void *from, uint64_t size)
{
	(void)context;
	return copy_guarded(to, from, size);
}

static void host_wait(void *context, uint32_t *word, uint32_t value, uint64_t ns)
{
	int64_t time[2] = { (int64_t)(ns / 1000000000), (int64_t)(ns % 1000000000) };

	(void)context;
	gate4(__NR_futex, word, FUTEX_WAIT, value, time);
}

static void host_wake(void *context, uint32_t *word, uint32_t count)
{
	(void)context;
	gate3(__NR_futex, word, FUTEX_WAKE, count);
}

uint32_t thread_number(void)
{
	struct thread *thread = thread_self();

	if (unlikely(!thread->tid))
		thread->tid = (uint32_t)gate0(__NR_gettid);
	return thread->tid;
}

static uint32_t host_self(void *context)
{
	(void)context;
	return thread_number();
}

/* Has ended, but nobody has waited for it. Where there is no /proc, nobody can tell. */
static bool is_zombie(uint32_t thread)
{
	char bytes[512];
	struct text path = { bytes, 0, sizeof bytes };
	long fd, size, at = 0;

	text_add(&path, "/proc/");
	text_add_number(&path, thread);
	text_add(&path, "/stat");
	fd = gate4(__NR_openat, AT_FDCWD, bytes, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	size = gate3(__NR_read, fd, bytes, sizeof bytes);
	gate1(__NR_close, fd);
	if (size < 0 || size > (long)sizeof bytes)
		return false;
	for (long i = 0; i < size; i++)
		at = bytes[i] == ')' ? i : at;
	return at + 2 < size && (bytes[at + 2] == 'Z' || bytes[at + 2] == 'X');
}

static bool host_is_alive(void *context, uint32_t thread)
{
	(void)context;
	return gate2(__NR_tkill, thread, 0) != -ESRCH && !is_zombie(thread);
}

/* As files' times are natively: that of some moment in the last millisecond, where asking for each write would cost too much. */
struct volume_time time_now(void)
{
	struct thread *thread = thread_self();
	uint64_t cycles = __builtin_ia32_rdtsc();
	int64_t time[2] = { 0, 0 };

	if (cycles - thread->clock_cycles > CLOCK_CYCLES) {
		gate2(__NR_clock_gettime, CLOCK_REALTIME, time);
		thread->clock_seconds = time[0];
		thread->clock_nanoseconds = time[1];
		thread->clock_cycles = cycles;
	}
	return (struct volume_time){ .seconds = thread->clock_seconds, .nanoseconds = (uint32_t)thread->clock_nanoseconds };
}

static struct volume_time host_now(void *context)
{
	(void)context;
	return time_now();
}

static void cpu_ask(uint32_t leaf, uint32_t part, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(part));
}

static bool processor_random(uint64_t *value)
{
	uint8_t is_there = 0;

	for (int tries = 0; tries < RANDOM_TRIES && !is_there; tries++)
		__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(*value), "=qm"(is_there) : : "cc");
	return is_there;
}

/* The host's, and the processor's where it has some: neither alone knows what comes. */
static void host_random(void *context, void *to, uint64_t size)
{
	uint8_t *bytes = to;
	uint32_t features[4];

	(void)context;
	for (uint64_t done = 0; done < size;) {
		long result = gate3(__NR_getrandom, bytes + done, size - done, 0);

		if (result == -EINTR)
			continue;
		if (result <= 0 || (uint64_t)result > size - done)
			die("the host gives no random numbers");
		done += (uint64_t)result;
	}
	cpu_ask(1, 0, features);
	for (uint64_t i = 0; features[2] & HAS_RDRAND && i < size; i++) {
		uint64_t value;

		if (!processor_random(&value))
			return;
		bytes[i] = (uint8_t)(bytes[i] ^ value);
	}
}

static void host_forget(void *context, void *pages, uint64_t size)
{
	(void)context;
	if (gate3(__NR_madvise, pages, size, MADV_REMOVE) < 0)
		memset(pages, 0, size);
}

/* ---- vector registers ---- */

enum saving { SAVING_UNKNOWN, SAVING_COMPACT, SAVING_PLAIN, SAVING_OLD };

static uint32_t saving;

static uint32_t saving_find(void)
{
	uint32_t features[4], state[4];

	cpu_ask(1, 0, features);
	cpu_ask(LEAF_STATE, 1, state);
	if (!(features[2] & HAS_OSXSAVE))
		return SAVING_OLD;
	return state[0] & HAS_XSAVEC ? SAVING_COMPACT : SAVING_PLAIN;
}

static void vectors_save(void *context)
{
	uint8_t *area = thread_self()->vectors;

	(void)context;
	if (unlikely(!saving))
		saving = saving_find();
	if (saving == SAVING_COMPACT) {
		__asm__ volatile("xsavec64 (%0)" : : "r"(area), "a"(VECTORS_WANTED), "d"(0) : "memory");
	} else if (saving == SAVING_PLAIN) {
		memset(area + HEADER_AT, 0, HEADER_SIZE);
		__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(VECTORS_WANTED), "d"(0) : "memory");
	} else {
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
	}
}

static void vectors_restore(void *context)
{
	const uint8_t *area = thread_self()->vectors;

	(void)context;
	if (saving == SAVING_OLD)
		__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
	else
		__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(VECTORS_WANTED), "d"(0) : "memory");
}

static void host_report(void *context, uint64_t ino, uint64_t at, uint64_t size, const char *why)
{
	const struct mount *mount = context;
	char bytes[512];
	struct text text = { bytes, 0, sizeof bytes };

	text_add(&text, "volume ");
	text_add(&text, mount->place);
	text_add(&text, ": inode ");
	text_add_number(&text, (long)ino);
	text_add(&text, ", bytes ");
	text_add_number(&text, (long)at);
	text_add(&text, " to ");
	text_add_number(&text, (long)(at + size));
	text_add(&text, ": ");
	text_add(&text, why);
	if (!control_event(CTL_EVENT_NOTICE, ~0u, bytes) || !(enclave.flags & FLAG_LOG))
		say(bytes);
}

const struct volume_host volume_host = {
	.read     = host_read,
	.write    = host_write,
	.sync     = host_sync,
	.grow     = host_grow,
	.discard  = host_discard,
	.copy     = host_copy,
	.wait     = host_wait,
	.wake     = host_wake,
	.self     = host_self,
	.is_alive = host_is_alive,
	.now      = host_now,
	.random   = host_random,
	.forget   = host_forget,
	.report   = host_report,
	.vectors_save    = vectors_save,
	.vectors_restore = vectors_restore,
};
