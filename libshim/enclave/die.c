/*
 * die.c - the ends that are not the program's: stop closed, and lines for the user.
 *
 * Owns: say(), die(). Must never: return from die(), or print what the policy shields. Used by: everything.
 */
#include <asm/signal.h>
#include "control.h"
#include "enclave.h"

void say(const char *line)
{
	char bytes[512];
	struct text text = { bytes, 0, sizeof bytes };

	if (enclave.flags & FLAG_LOG && control_event(CTL_EVENT_NOTICE, ~0u, line))
		return;
	text_add(&text, "scone: ");
	text_add(&text, line);
	text_add(&text, "\n");
	gate3(__NR_write, 2, text.bytes, text.size);
}

/*
 * Only the first thread that stops the process says why: the others wait for the end, but not for ever: the first may
 * have been a vfork child, which ends alone.
 */
static void speak_alone(void)
{
	enum { WAITS = 10 };
	static const struct { int64_t seconds, nanoseconds; } wait = { 0, 100000000 };
	static uint32_t is_stopping;

	if (!__atomic_exchange_n(&is_stopping, 1, __ATOMIC_SEQ_CST))
		return;
	for (int i = 0; i < WAITS; i++)
		gate2(__NR_nanosleep, &wait, 0);
}

_Noreturn void die(const char *reason)
{
	char bytes[400];
	struct text text = { bytes, 0, sizeof bytes };

	speak_alone();
	text_add(&text, "stopped: ");
	text_add(&text, reason);
	if (!(enclave.flags & FLAG_LOG))
		say(text.bytes);
	if (!control_event(CTL_EVENT_STOPPED, ~0u, reason) && enclave.flags & FLAG_LOG)
		say(text.bytes);	/* the runtime is gone */
	for (;;) {
		gate1(__NR_exit_group, 120);
		__builtin_trap();
	}
}

_Noreturn void die_number(const char *reason, long number)
{
	char bytes[300];
	struct text text = { bytes, 0, sizeof bytes };

	text_add(&text, reason);
	text_add(&text, " ");
	text_add_number(&text, number);
	die(text.bytes);
}
