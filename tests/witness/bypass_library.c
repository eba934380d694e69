/*
 * bypass_library.c - a library that makes its system calls itself, for bypass.c to dlopen.
 *
 * Owns: one function with an inline syscall. Must never: call libc. Used by: bypass.c.
 */
long library_call(long nr, long a, long b, long c);

long library_call(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}
