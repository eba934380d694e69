/*
 * volume_exec.c - programs and scripts that lie in a volume.
 *
 * Owns: starting a script's interpreter, as the kernel would if it could read the script. Must never: hand a program of a volume
 * to the kernel: it would be on the host in the clear. Called by: volume_serve.c.
 */
#include "volume_inner.h"

enum { SCRIPT_HEAD = 257, SCRIPT_ARGUMENTS = 1020 };

/* The interpreter's name and its one argument, as the kernel cuts them: false: there is none. */
static bool script_line(char *line, char **interpreter, char **argument)
{
	char *end = line;

	while (*end && *end != '\n')
		end++;
	if (!*end)
		return false;		/* too long */
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = 0;
	while (*line == ' ' || *line == '\t')
		line++;
	*interpreter = line;
	while (*line && *line != ' ' && *line != '\t')
		line++;
	while (*line == ' ' || *line == '\t')
		*line++ = 0;
	*argument = *line ? line : NULL;
	return **interpreter;
}

/* Starts a script's interpreter with it, as the kernel would if it could read the script. */
static long script_start(struct frame *frame, char *line)
{
	bool is_at = frame->nr == __NR_execveat;
	const uint64_t *given = (const uint64_t *)frame->arg[is_at ? 2 : 1];
	uint64_t arguments[SCRIPT_ARGUMENTS + 4], count = 0;
	struct frame here = *frame;
	char *interpreter, *argument;
	struct spot spot;

	if (!line[0])
		return -EACCES;
	if (!script_line(line, &interpreter, &argument))
		return -ENOEXEC;
	if (is_at && frame->arg[4] & AT_EMPTY_PATH)
		return -ENOENT;
	arguments[count++] = (uint64_t)interpreter;
	if (argument)
		arguments[count++] = (uint64_t)argument;
	arguments[count++] = frame->arg[is_at ? 1 : 0];
	for (uint64_t i = 0; given; i++) {
		if (i == SCRIPT_ARGUMENTS)
			return -E2BIG;
		TRY(copy_guarded(&arguments[count], given + i, sizeof *given));
		if (!arguments[count])
			break;
		count += i > 0;		/* the script's own name is not its first argument */
	}
	arguments[count] = 0;
	TRY(spot_find(&spot, AT_FDCWD, (uint64_t)interpreter, WALK_FOLLOW));
	if (spot.mount) {
		spot_end(&spot);
		return volume_refuse(&mounts[0], (uint32_t)frame->nr, "an interpreter must not lie in a volume", -EACCES);
	}
	here.nr = __NR_execve;
	here.arg[0] = (uint64_t)(spot.is_moved ? spot.where.path : interpreter);
	here.arg[1] = (uint64_t)arguments;
	here.arg[2] = frame->arg[is_at ? 3 : 2];
	return dispatch_on(&here, __NR_execve);
}

long serve_exec(struct frame *frame, struct spot *spot)
{
	char head[SCRIPT_HEAD];
	long size;

	if (!spot->where.inode)
		return -ENOENT;
	if (is_directory(spot->where.inode))
		return -EACCES;
	TRY(names_permit(&spot->where.inode->record, who_asks(), VOL_MAY_EXECUTE));
	size = inode_read(&spot->mount->volume, spot->where.inode, head, sizeof head - 1, 0);
	TRY(size);
	head[size] = 0;
	if (head[0] == '#' && head[1] == '!')
		return script_start(frame, head + 2);
	if (!string_starts(head, "\177ELF"))
		return -ENOEXEC;
	return volume_refuse(spot->mount, (uint32_t)frame->nr, "a program must not lie in a volume: the kernel has to read it", -EACCES);
}
