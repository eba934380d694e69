/*
 * names_kill.c - a process dies at an instruction of a change of names: afterwards it has happened, or it hasn't.
 *
 * Owns: the changes, the look at what is left. Must never: depend on where the instructions are. Usage: names_kill STRIDE FIRST:
 * the child is stepped through each change; at instructions FIRST, FIRST + STRIDE, ... a copy of its memory is looked at. Run
 * by: test_names.py.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "calls.h"

enum { STATE_SIZE = 1 << 14, CHANGES_MAX = 20 };

static struct caller caller;

static void die(const char *what, int i, long at)
{
	fprintf(stderr, "change %d, instruction %ld: %s\n", i, at, what);
	abort();
}

static void must(long result)
{
	if (result) {
		fprintf(stderr, "making the tree: %ld\n", result);
		abort();
	}
}

static void make_tree(void)
{
	char name[32];

	caller.volume = standin_volume();
	if (inode_get(caller.volume, VOLUME_ROOT_INO, &caller.directory))
		abort();
	must(call_mkdir(&caller, "d", 0777));
	must(call_mkdir(&caller, "d/inner", 0777));
	must(call_mkdir(&caller, "e", 0777));
	must(call_mkdir(&caller, "empty", 0777));
	must(call_mknod(&caller, "f", S_IFREG | 0644));
	must(call_mknod(&caller, "d/g", S_IFREG | 0644));
	must(call_link(&caller, "f", "d/f2", false));
	for (int i = 0; i < 40; i++) {	/* the next name makes "e" grow */
		snprintf(name, sizeof name, "e/%026d", i);
		if (i < 37)
			must(call_mknod(&caller, name, S_IFREG | 0644));
	}
}

static long change(int i)
{
	static char long_name[250];

	memset(long_name, 'l', sizeof long_name - 1);
	memcpy(long_name, "e/", 2);
	switch (i) {
	case 0:
		return call_mknod(&caller, "new", S_IFREG | 0644);
	case 1:
		return call_mkdir(&caller, "d/new", 0777);
	case 2:
		return call_unlink(&caller, "f");
	case 3:
		return call_unlink(&caller, "d/g");
	case 4:
		return call_rmdir(&caller, "empty");
	case 5:
		return call_rename(&caller, "f", "d/moved", 0);
	case 6:
		return call_rename(&caller, "f", "d/g", 0);
	case 7:
		return call_rename(&caller, "d/inner", "empty", 0);
	case 8:
		return call_rename(&caller, "d/inner", "f", 2);
	case 9:
		return call_rename(&caller, "d", "e/moved", 0);
	case 10:
		return call_link(&caller, "f", "e/linked", false);
	case 11:
		return call_symlink(&caller, "some/target", "link");
	case 12:
		return call_rename(&caller, "f", "renamed", 0);
	case 13:
		return call_mknod(&caller, long_name, S_IFREG | 0644);
	default:
		return 1;
	}
}

/* Names, numbers, links and parents of the tree, as text. */
static void describe(struct vol_inode *directory, const char *path, char *to)
{
	uint8_t bytes[8192] __attribute__((aligned(8)));
	uint64_t position = 0;
	long size = names_list(caller.volume, directory, &position, bytes, sizeof bytes);
	uint32_t subdirectories = 0;

	if (size < 0)
		die("listing", 0, size);
	for (long at = 0; at < size; at += *(uint16_t *)(bytes + at + 16)) {
		uint64_t ino = *(uint64_t *)(bytes + at), found;
		const char *name = (char *)bytes + at + 19;
		char inner[512];
		struct vol_inode *inode;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (inode_get(caller.volume, ino, &inode))
			die("a name without an inode", 0, at);
		if (names_find(caller.volume, directory, name, (uint32_t)strlen(name), &found) || found != ino)
			die("the index has another inode", 0, at);
		snprintf(inner, sizeof inner, "%s/%.20s", path, name);
		sprintf(to + strlen(to), "%s %o %u\n", inner, inode->record.mode, inode->record.nlink);
		if (S_ISDIR(inode->record.mode)) {
			subdirectories++;
			if (inode->record.parent != directory->ino)
				die("another parent", 0, at);
			describe(inode, inner, to);
		}
		inode_put(caller.volume, inode);
	}
	if (directory->record.nlink != subdirectories + 2)
		die("a directory's links", 0, directory->record.nlink);
}

static void state_of(char *to)
{
	to[0] = '\0';
	describe(caller.directory, "", to);
}

static char before[STATE_SIZE], after[STATE_SIZE], found[STATE_SIZE];

/* In a copy of the memory as it is now: what is there if the child that is stopped is dead. 0: as before, 1: as after. */
static int look(int i, long at, pid_t dead)
{
	pid_t looker = fork();
	int status;

	if (!looker) {
		standin_fork();
		standin_dead = (uint32_t)dead;
		if (call_mknod(&caller, "another", S_IFREG) || call_unlink(&caller, "another"))
			die("nothing can be made any more", i, at);
		state_of(found);
		if (strcmp(found, before) && strcmp(found, after)) {
			fprintf(stderr, "before:\n%safter:\n%sfound:\n%s", before, after, found);
			die("half a change", i, at);
		}
		if (!strcmp(found, after))
			_exit(1);
		if (change(i))
			die("the change can't be made any more", i, at);
		state_of(found);
		if (strcmp(found, after))
			die("the change is another now", i, at);
		_exit(0);
	}
	if (waitpid(looker, &status, 0) != looker || !WIFEXITED(status))
		abort();
	return WEXITSTATUS(status);
}

static long looks, undone;

static void step_through(int i, long stride, long first)
{
	pid_t child = fork();
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		change(i);
		_exit(0);
	}
	waitpid(child, &status, 0);
	for (long at = 0; !WIFEXITED(status); at++) {
		if (at >= first && at % stride == first % stride) {
			undone += !look(i, at, child);
			looks++;
		}
		if (ptrace(PTRACE_SINGLESTEP, child, 0, 0) || waitpid(child, &status, 0) != child)
			abort();
	}
}

int main(int count, char **argument)
{
	long stride = count == 3 ? atol(argument[1]) : 0, first = count == 3 ? atol(argument[2]) : 0;

	for (int i = 0; stride && i < CHANGES_MAX; i++) {
		make_tree();
		state_of(before);
		if (change(i) == 1)
			break;
		state_of(after);
		if (!strcmp(before, after))
			die("no change", i, 0);
		make_tree();
		state_of(found);
		step_through(i, stride, first);
	}
	printf("%ld kills, %ld undone\n", looks, undone);
	return stride ? 0 : 2;
}
