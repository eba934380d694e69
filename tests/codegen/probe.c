/*
 * probe.c - prints the compiled tables, so that test_calls_c.py can compare them with the spec.
 *
 * Owns: nothing. Must never: judge. Built and run by test_calls_c.py.
 */
#include <stdio.h>
#include "calls.gen.h"
#include "subshape.h"

int main(void)
{
	for (int nr = 0; nr < CALL_COUNT; nr++) {
		const struct call_shape *shape = &call_shapes[nr];

		printf("%d %s %d %d %d %d %u %d %d\n", nr, shape->name ? shape->name : "-", shape->route, shape->exit,
		       shape->result, shape->result_arg, shape->deny_errno, shape->arg_count, shape->handler != 0);
	}
	printf("%d\n", sub_find(&ioctl_table, 0x5413)->arg.size);
	printf("%s\n", sub_find(&sockopt_table, (uint64_t)6 << 32 | 1)->name);
	for (size_t i = 0; i < ioctl_table.count; i++)
		if (sub_find(&ioctl_table, ioctl_table.rows[i].command) != &ioctl_table.rows[i])
			return 1;
	return sub_find(&ioctl_table, 0) || sub_find(&fcntl_table, ~0ul) || sub_find(&prctl_table, 77777);
}
