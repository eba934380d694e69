/*
 * start.c - the shim's constructor: from a preloaded library to closed doors.
 *
 * Owns: the order of the start, and the environment that the program sees. Must never: leave a variable of the shim in
 * it, or return to the loader with a door open. Called by: the dynamic loader, before any other constructor (DF_1_INITFIRST).
 *
 *   loader maps everything ─► shim_start ─► settings, environment ─► sites patched ─► handlers ─► SUD on ─► constructors
 */
#include <elf.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include "alive.h"
#include "control.h"
#include "dispatch.h"
#include "live.h"
#include "patch.h"
#include "ring.h"
#include "shim_abi.h"
#include "signal.h"
#include "volumes.h"

enum { SETTING_COUNT = 7, AT_HWCAP2_ = 26, HWCAP2_FSGSBASE_ = 2, SHIM_SETTING_VERSION = 3 };

struct enclave enclave __attribute__((aligned(64))) = { .control_fd = -1 };

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));

static const char setting_name[] = "SCONE_SHIM=", preload_name[] = "LD_PRELOAD=",
		  held_start[] = "/proc/self/fd/";

static char **environment_find(char **environment, const char *name)
{
	for (; *environment; environment++)
		if (string_starts(*environment, name))
			return environment;
	return NULL;
}

static void environment_remove(char **variable)
{
	do
		variable[0] = variable[1];
	while (*variable++);
}

/* Closes the gaps that removed variables left in the bytes from `start` to `end`; the new end. */
static char *environment_compact(char **environment, char *start, char *end)
{
	for (; *environment; environment++) {
		size_t size = string_size(*environment) + 1;
		char *from = *environment;

		*environment = start;
		for (size_t i = 0; i < size; i++)
			*start++ = from[i];
	}
	memset(start, 0, (size_t)(end - start));
	return start;
}

static bool settings_parse(const char *text, uint64_t *nonce)
{
	uint64_t values[SETTING_COUNT] = { 0 };
	size_t at = 0;

	for (; *text; text++) {
		if (*text == ',') {
			if (++at == SETTING_COUNT)
				return false;
		} else if (*text >= '0' && *text <= '9') {
			values[at] = values[at] * 10 + (uint64_t)(*text - '0');
		} else {
			return false;
		}
	}
	if (at != SETTING_COUNT - 1 || values[0] != SHIM_SETTING_VERSION)
		return false;
	enclave.control_fd = (int32_t)values[1];
	enclave.alive_fd = (int32_t)values[2];
	enclave.mode = (uint32_t)values[3];
	enclave.exit_cost = values[4];
	enclave.is_exit_dear = values[4] >= CROSSING_CYCLES;
	enclave.flags = (uint32_t)values[5];
	*nonce = values[6];
	return true;
}

/* The shim was preloaded by a descriptor, which held its file: closes it; `path` becomes the file's. */
static void held_close(char *path)
{
	char target[CTL_PATH_MAX];
	const char *number = path + sizeof held_start - 1;
	uint64_t fd = 0;
	long size;

	if (!string_starts(path, held_start))
		return;
	for (; *number >= '0' && *number <= '9'; number++)
		fd = fd * 10 + (uint64_t)(*number - '0');
	size = gate3(__NR_readlink, path, target, sizeof target - 1);
	if (size < 0)
		die("the file of the shim was closed before the shim began");
	target[size] = 0;
	memcpy(path, target, (size_t)size + 1);
	gate1(__NR_close, fd);
}

/* Leaves LD_PRELOAD as the user gave it: without the shim's path, which is kept for children. */
static void preload_restore(char **environment)
{
	static char path[CTL_PATH_MAX];
	char **variable = environment_find(environment, preload_name);
	char *value, *rest;
	size_t size = 0;

	if (!variable)
		die("LD_PRELOAD vanished between scone-wrap and the shim");
	value = *variable + sizeof preload_name - 1;
	while (value[size] && value[size] != ':' && size < sizeof path - 1)
		size++;
	memcpy(path, value, size);
	held_close(path);
	enclave.shim_path = path;
	rest = value + size;
	if (*rest != ':') {
		environment_remove(variable);
		return;
	}
	do
		*value++ = *++rest;
	while (*rest);
}

/* One of the numbers in /proc/self/stat, counted from 1 as in proc(5); 0 when there is none. */
static uint64_t stat_field(const char *stat, int field)
{
	const char *at = stat;
	uint64_t value = 0;

	for (const char *each = stat; *each; each++)
		if (*each == ')')
			at = each;	/* the name before it may hold anything */
	for (int i = 2; i < field && *at; at++)
		i += *at == ' ';
	for (; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

/*
 * Ends /proc/self/environ where the program's own environment ends. Where the kernel can't (no checkpoint support),
 * the file shows NULs there.
 */
static void environment_end_set(uint64_t end)
{
	char stat[1024];
	struct prctl_mm_map map = { .exe_fd = (uint32_t)-1 };
	long fd = gate4(__NR_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY, 0), size;

	if (fd < 0)
		return;
	size = gate3(__NR_read, fd, stat, sizeof stat - 1);
	gate1(__NR_close, fd);
	if (size <= 0 || size >= (long)sizeof stat)
		return;
	stat[size] = 0;
	map.start_code  = stat_field(stat, 26);
	map.end_code    = stat_field(stat, 27);
	map.start_stack = stat_field(stat, 28);
	map.start_data  = stat_field(stat, 45);
	map.end_data    = stat_field(stat, 46);
	map.start_brk   = stat_field(stat, 47);
	map.arg_start   = stat_field(stat, 48);
	map.arg_end     = stat_field(stat, 49);
	map.env_start   = stat_field(stat, 50);
	map.env_end     = end;
	map.brk         = (uint64_t)gate1(__NR_brk, 0);
	gate5(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

static void text_range_find(void)
{
	uint64_t base = (uint64_t)&__ehdr_start;
	const Elf64_Phdr *header = (const Elf64_Phdr *)(base + __ehdr_start.e_phoff);

	for (int i = 0; i < __ehdr_start.e_phnum; i++)
		if (header[i].p_type == PT_LOAD && header[i].p_flags & PF_X) {
			enclave.text_start = base + header[i].p_vaddr;
			enclave.text_end = enclave.text_start + header[i].p_memsz;
		}
}

static bool has_fsgsbase(char **environment)
{
	const uint64_t *auxiliary;

	while (*environment)
		environment++;
	for (auxiliary = (const uint64_t *)(environment + 1); auxiliary[0]; auxiliary += 2)
		if (auxiliary[0] == AT_HWCAP2_)
			return auxiliary[1] & HWCAP2_FSGSBASE_;
	return false;
}

__attribute__((constructor)) static void shim_start(int argc, char **argv, char **environment)
{
	char **setting = environment_find(environment, setting_name);
	struct thread *thread;
	char *first = environment[0], *end;
	uint64_t nonce;

	text_range_find();
	enclave.has_fsgsbase = has_fsgsbase(argv + argc + 1);
	thread = thread_new();
	if (!thread)
		die("no memory for the shim");
	thread_base_set(thread);
	if (!setting || !settings_parse(*setting + sizeof setting_name - 1, &nonce))
		die("the shim was preloaded without scone-wrap: start the program with scone-wrap");
	end = *setting + string_size(*setting) + 1;
	environment_remove(setting);
	preload_restore(environment);
	environment_end_set((uint64_t)environment_compact(environment, first, end));
	doors_resolve();
	dispatch_start();
	control_start();
	control_hello(enclave.flags & FLAG_EXECED, nonce);
	if (enclave.has_volumes)
		volumes_adopt(enclave.flags & FLAG_EXECED);
	live_start(thread);
	thread->stats.processes = enclave.flags & FLAG_COUNTED ? 0 : 1;
	thread->stats.execs = enclave.flags & FLAG_EXECED ? 1 : 0;
	patch_start();
	signal_start();
	alive_start();
	thread_enter(thread);
	signal_hold_sys(false);
}
