/*
 * cases.h - a table of cases in one test program.
 *
 * Owns: how one fails. Must never: go on after that. Used by: names_cases.c, locks_cases.c.
 */
#ifndef TESTS_VOLUME_CASES_H
#define TESTS_VOLUME_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *case_name;

#define IS(expression, wanted) do { \
	long is_ = (long)(expression), wanted_ = (long)(wanted); \
	if (is_ != wanted_) { \
		fprintf(stderr, "%s:%d: %s: %s is %ld, not %ld\n", __FILE__, __LINE__, case_name, #expression, is_, wanted_); \
		abort(); \
	} \
} while (0)

struct named_case { const char *name; void (*run)(void); };

#define CASE(function) { #function, function }

/* All, or those of the name that the first argument is. */
static inline int cases_run(const struct named_case *cases, size_t count, char **argument)
{
	for (size_t i = 0; i < count; i++) {
		if (argument[1] && strcmp(argument[1], cases[i].name))
			continue;
		case_name = cases[i].name;
		cases[i].run();
	}
	printf("%zu cases\n", count);
	return 0;
}

#endif
