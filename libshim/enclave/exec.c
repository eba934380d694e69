/*
 * exec.c - the program replaces itself: the next image must start under the shim too.
 *
 * Owns: asking the runtime, the environment of the new image, the shim's file held open across the exec. Must never: let
 * an image start that would not be wrapped. Called by: dispatch.c, clone.c.
 *
 * A loader that can't open a preload goes on without it. So it is told /proc/self/fd/N, where the file is open already:
 * that can't vanish or be replaced between our look and its own. N is closed by start.c of the new image.
 */
#include <asm/stat.h>
#include <linux/fcntl.h>
#include "dispatch.h"
#include "control.h"
#include "clone.h"
#include "memory_file.h"
#include "ring.h"
#include "signal.h"

enum { ENVIRONMENT_MAX = 1 << 20, PRELOAD_MAX = CTL_PATH_MAX + 8192, SETTING_MAX = 128, HELD_MAX = 40,
       HELD_FD_MIN = 768, READABLE = 4, F_DUPFD_CLOEXEC_ = 1030 };

static struct mutex held_mutex;		/* one exec at a time holds a shim open for the loader */
static int32_t held_fd = -1;		/* there, for forks meanwhile */

static const char preload_name[] = "LD_PRELOAD=", setting_name[] = "SCONE_SHIM=";

/* Everything the new image gets besides the program's own strings; mapped, for the heap is the program's. */
struct image {
	char path[CTL_PATH_MAX];
	char shim[CTL_PATH_MAX];
	char pin[CTL_PIN_MAX];		/* what the runtime recognised it by */
	char held[HELD_MAX];		/* the shim's file by its descriptor; empty: by its path, for want of /proc */
	char preload[PRELOAD_MAX];
	char setting[SETTING_MAX];
	char *environment[];
};

static long environment_count(const uint64_t *program)
{
	uint64_t pointer;

	for (long count = 0; program && count < ENVIRONMENT_MAX; count++) {
		TRY(copy_guarded(&pointer, program + count, sizeof pointer));
		if (!pointer)
			return count;
	}
	return program ? -E2BIG : 0;
}

static long environment_find(char **environment, long count, const char *name)
{
	char start[16];

	for (long i = 0; i < count; i++) {
		memset(start, 0, sizeof start);
		TRY(copy_guarded(start, environment[i], string_size(name)));
		if (string_starts(start, name))
			return i;
	}
	return count;
}

/* The new image's: a vfork child is a process of its own, which the shim has not counted. */
static uint32_t flags_of(bool is_vfork_child)
{
	if (is_vfork_child)
		return (enclave.flags & ~(uint32_t)(FLAG_FIRST | FLAG_COUNTED)) | FLAG_EXECED;
	return enclave.flags | FLAG_EXECED | FLAG_COUNTED;
}

static void setting_write(char *bytes, uint64_t nonce)
{
	struct text text = { bytes, 0, SETTING_MAX };

	text_add(&text, setting_name);
	text_add(&text, "3,");
	text_add_number(&text, enclave.control_fd);
	text_add(&text, ",");
	text_add_number(&text, enclave.alive_fd);
	text_add(&text, ",");
	text_add_number(&text, enclave.mode);
	text_add(&text, ",");
	text_add_number(&text, (long)enclave.exit_cost);
	text_add(&text, ",");
	text_add_number(&text, flags_of(thread_self()->is_guest));
	text_add(&text, ",");
	text_add_number(&text, (long)(nonce & INT64_MAX));
}

static long environment_build(struct image *image, const uint64_t *program, long count, uint64_t nonce)
{
	struct text preload = { image->preload, 0, sizeof image->preload };
	long at;

	TRY(copy_guarded(image->environment, program, (size_t)count * sizeof(char *)));
	at = environment_find(image->environment, count, preload_name);
	TRY(at);
	text_add(&preload, preload_name);
	text_add(&preload, image->held[0] ? image->held : image->shim);
	if (at < count) {
		text_add(&preload, ":");
		TRY(copy_string(image->preload + preload.size, image->environment[at] + string_size(preload_name),
				sizeof image->preload - preload.size));
	} else {
		count++;
	}
	image->environment[at] = image->preload;
	setting_write(image->setting, nonce);
	image->environment[count] = image->setting;
	image->environment[count + 1] = NULL;
	return 0;
}

/* The shim's file, open for the loader: the descriptor (still closed on exec), or -errno. */
static long shim_open(const char *path)
{
	long opened = gate4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), high;

	if (opened < 0)
		return opened;
	high = gate3(__NR_fcntl, opened, F_DUPFD_CLOEXEC_, HELD_FD_MIN);
	if (high < 0)
		return opened;		/* RLIMIT_NOFILE is lower */
	gate1(__NR_close, opened);
	return high;
}

/* How this thread's descriptor is reached; after the exec the same is /proc/self. False: there is no /proc here. */
static bool is_reachable(long fd)
{
	char path[HELD_MAX];
	struct text text = { path, 0, sizeof path };

	text_add(&text, "/proc/thread-self/fd/");
	text_add_number(&text, fd);
	return gate4(__NR_faccessat2, AT_FDCWD, path, READABLE, AT_EACCESS) >= 0;
}

static void nanoseconds_add(struct text *text, uint64_t seconds, uint64_t nanoseconds)
{
	text_add(text, ",");
	text_add_number(text, (long)(seconds * 1000000000 + nanoseconds));
}

/* Is the open file the one that the runtime looked at? */
static bool is_pinned(long fd, const char *pin)
{
	char found[CTL_PIN_MAX];
	struct text text = { found, 0, sizeof found };
	struct stat status;

	if (!pin[0])
		return true;
	if (gate2(__NR_fstat, fd, &status) < 0)
		return false;
	text_add_number(&text, (long)status.st_dev);
	text_add(&text, ",");
	text_add_number(&text, (long)status.st_ino);
	text_add(&text, ",");
	text_add_number(&text, (long)status.st_size);
	nanoseconds_add(&text, status.st_mtime, status.st_mtime_nsec);
	nanoseconds_add(&text, status.st_ctime, status.st_ctime_nsec);
	return string_equal(found, pin);
}

/* Sets image->held. The descriptor, which is the caller's to close, or -errno. */
static long shim_hold(struct image *image, bool is_shared)
{
	struct text text = { image->held, 0, sizeof image->held };
	long fd = shim_open(image->shim);

	if (fd == -EMFILE || fd == -ENFILE)
		return fd;
	if (fd < 0) {
		say("exec refused: the shim can't be read by this user or from this root directory, so the new program "
		    "would run unprotected: make it readable there");
		return -EACCES;
	}
	if (!is_pinned(fd, image->pin)) {
		gate1(__NR_close, fd);
		say("exec refused: the shim was changed at this moment, so the new program might run unprotected: try again");
		return -EACCES;
	}
	if (is_shared)
		__atomic_store_n(&held_fd, (int32_t)fd, __ATOMIC_SEQ_CST);
	if (is_reachable(fd)) {
		text_add(&text, "/proc/self/fd/");
		text_add_number(&text, fd);
		gate3(__NR_fcntl, fd, F_SETFD, 0);
	}
	return fd;
}

/* With the shim held open; returns only when it failed. */
static long image_enter(struct image *image, const long call[5], const uint64_t *program, long count, uint64_t nonce,
			bool is_shared)
{
	long fd = shim_hold(image, is_shared), result;

	TRY(fd);
	result = environment_build(image, program, count, nonce);
	if (result >= 0)
		result = gate_interruptible(__NR_execveat, call[0], call[1], call[2], (long)image->environment, call[4], 0);
	if (is_shared)
		__atomic_store_n(&held_fd, -1, __ATOMIC_SEQ_CST);
	gate1(__NR_close, fd);
	return result;
}

/* The policy names the program: it gets the program's own environment, and no shim. */
static long image_enter_unwrapped(struct image *image, const long call[5], const uint64_t *program, long count)
{
	long result;

	TRY(copy_guarded(image->environment, program, (size_t)count * sizeof(char *)));
	image->environment[count] = NULL;
	control_inherit(false);
	result = gate_interruptible(__NR_execveat, call[0], call[1], call[2], (long)image->environment, call[4], 0);
	control_inherit(true);
	return result;
}

/* In a child with descriptors of its own, before it runs: what another thread's exec holds open is not the child's. */
void exec_forget_held(bool has_own_memory)
{
	int32_t fd = __atomic_load_n(&held_fd, __ATOMIC_SEQ_CST);

	if (fd >= 0)
		gate1(__NR_close, fd);
	if (!has_own_memory)
		return;
	held_fd = -1;
	held_mutex = (struct mutex){ 0 };
}

/* Asks, prepares, and does it; returns only when it failed. */
static long image_start(struct frame *frame, struct image *image, const uint64_t *program, long count)
{
	bool is_at = frame->nr == __NR_execveat, is_shared = !thread_self()->is_guest;
	const long call[5] = { is_at ? (int)frame->arg[0] : AT_FDCWD, (long)image->path,
			       (long)frame->arg[is_at ? 2 : 1], 0, is_at ? (long)frame->arg[4] : 0 };
	struct thread *thread = thread_self();
	struct ctl_exec_answer given;
	bool is_wrapped;
	long result;

	TRY(copy_string(image->path, (const char *)frame->arg[is_at ? 1 : 0], sizeof image->path));
	TRY(control_exec((int)call[0], (uint32_t)call[4], image->path, image->shim, image->pin, &given));
	if (!image->shim[0])
		memcpy(image->shim, enclave.shim_path, string_size(enclave.shim_path) + 1);
	is_wrapped = !(given.flags & CTL_EXEC_UNWRAPPED);
	if (is_wrapped)
		memory_files_keep();
	if (is_shared)
		TRY(ring_stop(thread));
	if (enclave.flags & FLAG_STATS && is_shared)
		stats_send(false);
	if (is_shared)
		mutex_lock(&held_mutex);
	signal_hold_sys(is_wrapped);
	result = is_wrapped ? image_enter(image, call, program, count, given.nonce, is_shared) :
			      image_enter_unwrapped(image, call, program, count);
	signal_hold_sys(false);
	if (is_shared) {
		mutex_unlock(&held_mutex);
		ring_resume();
	}
	return result;
}

long sys_execve(struct frame *frame);
long sys_execve(struct frame *frame)
{
	const uint64_t *program = (const uint64_t *)frame->arg[frame->nr == __NR_execveat ? 3 : 2];
	long count = environment_count(program), result;
	struct thread *thread = thread_self();
	struct image *image;
	size_t size;

	TRY(count);
	size = sizeof *image + (size_t)(count + 3) * sizeof(char *);
	image = pages_map(size);
	if (!image)
		return -ENOMEM;
	thread->scratch = image;
	thread->scratch_size = size;
	result = image_start(frame, image, program, count);
	thread_scratch_free(thread);
	return result;
}

long sys_execveat(struct frame *frame);
long sys_execveat(struct frame *frame)
{
	return sys_execve(frame);
}
