/*
 * exec_victim.c - a program that execs itself again and again while its shim's file comes and goes: exec_victim victim
 * LEFT REFUSED.
 *
 * Owns: noticing that it runs unwrapped (a GS base of its own is allowed natively alone). An exec that is refused is
 * tried again. Must never: be started with fewer than three arguments. Run by: test_vanishing_shim.py.
 */
#include "guard.h"

#include <asm/prctl.h>

extern char **environ;

CASE(victim)
{
	char left[16], refused[16], *arguments[] = { case_argv[0], "victim", left, refused, NULL };
	int runs = atoi(case_argv[2]), refusals = atoi(case_argv[3]);

	if (syscall(SYS_arch_prctl, ARCH_SET_GS, 0) == 0) {
		dprintf(1, "unwrapped\n");
		_exit(99);
	}
	for (int fd = 3; fd < 1000; fd++)
		CHECK(fcntl(fd, F_GETFD) == -1);
	while (runs > 0) {
		snprintf(left, sizeof(left), "%d", runs - 1);
		snprintf(refused, sizeof(refused), "%d", refusals++);
		FAILS(EACCES, execve("/proc/self/exe", arguments, environ));
	}
	printf("refused %d\n", refusals);
}
