/*
 * exec.c - the program replaces itself: the next image must start under the shim too.
 *
 * Owns: asking the runtime, and the environment of the new image. Must never: let an image start that would not be
 * wrapped. Called by: dispatch.c.
 */
#include <linux/fcntl.h>
#include "dispatch.h"
#include "control.h"
#include "clone.h"
#include "memory_file.h"
#include "ring.h"
#include "signal.h"

enum { ENVIRONMENT_MAX = 1 << 20, PRELOAD_MAX = CTL_PATH_MAX + 8192, SETTING_MAX = 128, SHIM_READABLE = 4 };

static const char preload_name[] = "LD_PRELOAD=", setting_name[] = "SCONE_SHIM=";

/* Everything the new image gets besides the program's own strings; mapped, for the heap is the program's. */
struct image {
	char path[CTL_PATH_MAX];
	char shim[CTL_PATH_MAX];
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
	text_add_number(&text, enclave.flags & (thread_self()->gate_only ? ~(uint32_t)FLAG_FIRST : ~0u));
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
	text_add(&preload, image->shim);
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

/* Asks, prepares, and does it; returns only when it failed. */
static long image_start(struct frame *frame, struct image *image, const uint64_t *program, long count)
{
	bool is_at = frame->nr == __NR_execveat;
	int dirfd = is_at ? (int)frame->arg[0] : AT_FDCWD;
	long flags = is_at ? (long)frame->arg[4] : 0, argv = (long)frame->arg[is_at ? 2 : 1];
	struct thread *thread = thread_self();
	struct ctl_exec_answer given;
	long result;

	TRY(copy_string(image->path, (const char *)frame->arg[is_at ? 1 : 0], sizeof image->path));
	TRY(control_exec(dirfd, (uint32_t)flags, image->path, image->shim, &given));
	if (!image->shim[0])
		memcpy(image->shim, enclave.shim_path, string_size(enclave.shim_path) + 1);
	if (given.flags & CTL_EXEC_UNWRAPPED)
		TRY(copy_guarded(image->environment, program, (size_t)(count + 1) * sizeof(char *)));
	else
		TRY(environment_build(image, program, count, given.nonce));
	if (!(given.flags & CTL_EXEC_UNWRAPPED) &&
	    gate4(__NR_faccessat2, AT_FDCWD, image->shim, SHIM_READABLE, AT_EACCESS) < 0) {
		say("exec refused: the shim can't be read by this user or from this root directory, so the new program "
		    "would run unprotected: make it readable there");
		return -EACCES;
	}
	if (!(given.flags & CTL_EXEC_UNWRAPPED))
		memory_files_keep();
	thread->stats.execs++;
	if (!thread->gate_only)
		ring_stop(thread);
	if (enclave.flags & FLAG_STATS && !thread->gate_only)
		stats_send(false);
	signal_hold_sys(!(given.flags & CTL_EXEC_UNWRAPPED));
	if (given.flags & CTL_EXEC_UNWRAPPED)
		control_inherit(false);
	result = gate_interruptible(__NR_execveat, dirfd, (long)image->path, argv, (long)image->environment, flags, 0);
	if (given.flags & CTL_EXEC_UNWRAPPED)
		control_inherit(true);
	signal_hold_sys(false);
	if (!thread->gate_only)
		ring_resume();
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
