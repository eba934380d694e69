/*
 * doors.c - the libc functions that symbol doors stand for.
 *
 * Owns: the pointers that generated doors and doors.S use. Must never: call libc once the doors are closed. Called by:
 * start.c.
 */
#include "patch.h"
#include "shim_abi.h"

#define RTLD_NEXT_ ((void *)-1L)

extern void *dlsym(void *handle, const char *name) __attribute__((weak));
extern int *__errno_location(void) __attribute__((weak));
extern char __libc_single_threaded __attribute__((weak));
extern struct door __start_scone_doors[] __attribute__((weak, visibility("hidden"))),
		   __stop_scone_doors[] __attribute__((weak, visibility("hidden")));

static const char never = 0;
const char *door_single_threaded = &never;
int *(*errno_location)(void);

void doors_resolve(void)
{
	if (&__start_scone_doors[0] == &__stop_scone_doors[0])
		return;
	if (!dlsym || !__errno_location)
		die("the program's libc lacks dlsym or __errno_location");
	errno_location = __errno_location;
	for (struct door *door = __start_scone_doors; door < __stop_scone_doors; door++) {
		door->libc_function = dlsym(RTLD_NEXT_, door->name);
		if (!door->libc_function)
			die(door->name);
	}
	if (&__libc_single_threaded)
		door_single_threaded = &__libc_single_threaded;
}
