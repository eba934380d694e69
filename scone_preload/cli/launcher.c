/*
 * launcher.c - the command scone-wrap: starts Python, and tells it what Python itself would destroy.
 *
 * Owns: nothing. Must never: change the environment or a signal. Called by the user; tools/setup compiles it with
 * PYTHON, the path of the interpreter. Python ignores SIGPIPE and SIGXFSZ when it starts, so only before can be seen
 * what the program is to inherit; -I keeps variables like PYTHONHOME, meant for the program, out of our interpreter.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t ignored_signals(void)
{
	uint64_t mask = 0;
	struct sigaction action;

	for (int number = 1; number <= 64; number++)
		if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			mask |= UINT64_C(1) << (number - 1);
	return mask;
}

int main(int argument_count, char **arguments)
{
	static char code[] = "import sys; from scone_preload.cli.wrap import main; sys.exit(main())";
	char option[64];
	char *start[6 + argument_count + 1];
	int count = 0;

	snprintf(option, sizeof(option), "scone_ignored=%llx", (unsigned long long)ignored_signals());
	start[count++] = PYTHON;
	start[count++] = "-I";
	start[count++] = "-X";
	start[count++] = option;
	start[count++] = "-c";
	start[count++] = code;
	memcpy(start + count, arguments + 1, (size_t)argument_count * sizeof(*arguments));
	execv(PYTHON, start);
	perror("scone-wrap: " PYTHON);
	return 125;
}
