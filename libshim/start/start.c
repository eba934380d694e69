/*
 * start.c - the program interpreter of rewritten programs (docs/rewriting.md): a static program that the kernel runs in
 * place of the dynamic loader.
 *
 * Owns: the choice between the two starts of such a file. Must never: let the program run without its shim; whatever is
 * not as expected ends the process with one message. Called by: the kernel; built by scone_preload/build/starter.py,
 * with COMMAND, the path of scone-wrap.
 *
 *   kernel ─► start ─┬─ started by anyone: becomes scone-wrap --start-rewritten, which executes the file again
 *                    └─ started under a shim's settings: maps the loader that the file names, and goes on there
 */
#include <elf.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

enum { PAGE = 4096, PATH_SIZE = 4096, HEADERS_MAX = 32, REFUSED = 126, SOL_SOCKET_ = 1, SO_TYPE_ = 3,
       SOCK_SEQPACKET_ = 5, OWN_WORDS = 4 };

struct part { const char *base; size_t size; };

/* What the kernel put on the stack. */
struct started {
	long     count;
	char   **arguments;
	char   **environment;
	Elf64_auxv_t *auxiliary;
};

static long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define call3(nr, a, b, c) call6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define call5(nr, a, b, c, d, e) call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* The compiler calls these two by itself. */
void *memset(void *to, int byte, size_t size);
void *memset(void *to, int byte, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return start;
}

static size_t size_of(const char *text)
{
	size_t size = 0;

	while (text[size])
		size++;
	return size;
}

static _Noreturn void refuse(const char *rule, const char *thing, const char *remedy)
{
	struct part parts[] = {
		{ "scone-wrap: ", 12 }, { rule, size_of(rule) }, { ": ", 2 }, { thing, size_of(thing) }, { ": ", 2 },
		{ remedy, size_of(remedy) }, { "\n", 1 },
	};

	call3(__NR_writev, 2, parts, 7);
	for (;;)
		call3(__NR_exit_group, REFUSED, 0, 0);
}

static uint64_t auxiliary_of(const struct started *started, uint64_t type)
{
	for (const Elf64_auxv_t *at = started->auxiliary; at->a_type != AT_NULL; at++)
		if (at->a_type == type)
			return at->a_un.a_val;
	return 0;
}

/* The value of a variable, NULL when there is none. `name` ends with "=". */
static const char *variable(const struct started *started, const char *name)
{
	size_t size = size_of(name);

	for (char **each = started->environment; *each; each++) {
		size_t same = 0;

		while (same < size && (*each)[same] == name[same])
			same++;
		if (same == size)
			return *each + size;
	}
	return NULL;
}

/* Is the control socket that the settings name really there? Left-over settings of an ended start don't count. */
static bool is_live(const char *setting)
{
	uint32_t fd = 0, type = 0, size = sizeof type;

	while (*setting && *setting != ',')
		setting++;
	if (*setting++ != ',' || *setting < '0' || *setting > '9')
		return false;
	for (; *setting >= '0' && *setting <= '9'; setting++)
		fd = fd * 10 + (uint32_t)(*setting - '0');
	return call5(__NR_getsockopt, fd, SOL_SOCKET_, SO_TYPE_, &type, &size) == 0 && type == SOCK_SEQPACKET_;
}

/* A loader that can't open a preload goes on without it; so it must be there before the loader is. */
static void preload_check(const struct started *started, const char *program)
{
	const char *value = variable(started, "LD_PRELOAD=");
	char path[PATH_SIZE];
	size_t size = 0;
	long fd;

	while (value && value[size] && value[size] != ':' && size < sizeof path - 1)
		size++;
	memcpy(path, value, size);
	path[size] = 0;
	fd = call5(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, 0);
	if (fd < 0)
		refuse("the shim can't be read, so the program would run unprotected", program,
		       "make the shim's folder readable for this user");
	call3(__NR_close, fd, 0, 0);
}

/* The loader's path: where the PT_INTERP header says that it lies in memory, which is as it was before the rewriting. */
static const char *loader_path(const struct started *started, const char *program)
{
	const Elf64_Phdr *headers = (const Elf64_Phdr *)auxiliary_of(started, AT_PHDR), *interpreter = NULL;
	uint64_t bias = 0, count = auxiliary_of(started, AT_PHNUM);
	bool has_bias = false;

	for (uint64_t i = 0; headers && i < count; i++) {
		if (headers[i].p_type == PT_INTERP)
			interpreter = &headers[i];
		if (headers[i].p_type == PT_PHDR) {
			bias = (uint64_t)headers - headers[i].p_vaddr;
			has_bias = true;
		}
	}
	if (!interpreter || !has_bias)
		refuse("not a rewritten program", program, "make it again with scone-wrap --rewrite");
	return (const char *)(bias + interpreter->p_vaddr);
}

static uint64_t page_down(uint64_t address) { return address & ~(uint64_t)(PAGE - 1); }
static uint64_t page_up(uint64_t address)   { return page_down(address + PAGE - 1); }

/* Maps one segment at base + its address; false when the kernel refuses. */
static bool segment_map(long fd, uint64_t base, const Elf64_Phdr *header)
{
	uint64_t start = page_down(base + header->p_vaddr), end = base + header->p_vaddr + header->p_memsz;
	uint64_t file_end = base + header->p_vaddr + header->p_filesz, zero = page_up(file_end);
	int protection = (header->p_flags & PF_R ? PROT_READ : 0) | (header->p_flags & PF_W ? PROT_WRITE : 0) |
			 (header->p_flags & PF_X ? PROT_EXEC : 0);

	if (call6(__NR_mmap, (long)start, (long)(file_end - start), protection, MAP_PRIVATE | MAP_FIXED, fd,
		  (long)page_down(header->p_offset)) < 0)
		return false;
	if (end > file_end && header->p_flags & PF_W)
		memset((void *)file_end, 0, zero - file_end);	/* to the page's end: the loader allocates there */
	return end <= zero || call6(__NR_mmap, (long)zero, (long)(page_up(end) - zero), protection,
				    MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) >= 0;
}

/* Maps the whole loader; its base, 0 when it can't be. */
static uint64_t loader_map(long fd, const Elf64_Phdr *headers, uint32_t count)
{
	uint64_t low = ~0ul, high = 0;
	long base;

	for (uint32_t i = 0; i < count; i++)
		if (headers[i].p_type == PT_LOAD) {
			low = page_down(headers[i].p_vaddr) < low ? page_down(headers[i].p_vaddr) : low;
			high = headers[i].p_vaddr + headers[i].p_memsz > high ? headers[i].p_vaddr + headers[i].p_memsz : high;
		}
	if (high <= low)
		return 0;
	base = call6(__NR_mmap, 0, (long)(page_up(high) - low), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base < 0 && base > -PAGE)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		if (headers[i].p_type == PT_LOAD && !segment_map(fd, (uint64_t)base - low, &headers[i]))
			return 0;
	return (uint64_t)base - low;
}

/* Puts the loader where the kernel would have put it: its entry. */
static uint64_t loader_start(const struct started *started, const char *path)
{
	static const char remedy[] = "reinstall it (package libc6)";
	long fd = call5(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, 0);
	Elf64_Phdr headers[HEADERS_MAX];
	Elf64_Ehdr head;
	uint64_t base;
	long size;

	if (fd < 0)
		refuse("the program's loader can't be opened", path, remedy);
	if (call5(__NR_pread64, fd, &head, sizeof head, 0, 0) != sizeof head || head.e_phnum > HEADERS_MAX ||
	    head.e_phentsize != sizeof *headers || head.e_type != ET_DYN || head.e_machine != EM_X86_64)
		refuse("not a loader of this machine", path, remedy);
	size = (long)(head.e_phnum * sizeof *headers);
	if (call5(__NR_pread64, fd, headers, size, head.e_phoff, 0) != size)
		refuse("the program's loader is cut short", path, remedy);
	base = loader_map(fd, headers, head.e_phnum);
	if (!base)
		refuse("the program's loader can't be mapped", path, remedy);
	call3(__NR_close, fd, 0, 0);
	for (Elf64_auxv_t *at = started->auxiliary; at->a_type != AT_NULL; at++)
		if (at->a_type == AT_BASE)
			at->a_un.a_val = base;
	return base + head.e_entry;
}

/* Becomes scone-wrap, which executes the file again. */
static _Noreturn void wrap(const struct started *started, const char *program)
{
	static char option[] = "--start-rewritten", name[] = "scone-wrap";
	char *words[started->count + OWN_WORDS + 2];
	char path[PATH_SIZE];
	long size = call3(__NR_readlink, "/proc/self/exe", path, sizeof path - 1), result;

	if (size <= 0 || size >= (long)sizeof path - 1)
		refuse("a rewritten program can't find itself", program, "mount /proc");
	path[size] = 0;
	words[0] = name;
	words[1] = option;
	words[2] = path;
	words[3] = (char *)auxiliary_of(started, AT_EXECFN);
	for (long i = 0; i <= started->count; i++)
		words[OWN_WORDS + i] = started->arguments[i];
	result = call3(__NR_execve, COMMAND, words, started->environment);
	if (result == -ENOENT)
		refuse("scone-wrap, which this program starts with, is gone (" COMMAND ")", program,
		       "install it again, or start the original");
	refuse("scone-wrap, which this program starts with, can't be executed (" COMMAND ")", program,
	       "give this user the right to execute it");
}

/* The address to go on at: the loader's entry. Called by _start with the stack as the kernel made it. */
uint64_t start(uint64_t *stack);
uint64_t start(uint64_t *stack)
{
	struct started started = { .count = (long)stack[0], .arguments = (char **)(stack + 1) };
	const char *program, *setting;

	started.environment = started.arguments + started.count + 1;
	for (stack = (uint64_t *)started.environment; *stack; stack++)
		;
	started.auxiliary = (Elf64_auxv_t *)(stack + 1);
	program = (const char *)auxiliary_of(&started, AT_EXECFN);
	if (!program)
		program = "?";
	if (auxiliary_of(&started, AT_SECURE))
		refuse("setuid program, or one with file capabilities", program,
		       "its loader ignores preloads; take the privilege from the file");
	setting = variable(&started, "SCONE_SHIM=");
	if (!setting || !is_live(setting))
		wrap(&started, program);
	preload_check(&started, program);
	return loader_start(&started, loader_path(&started, program));
}

__asm__(".globl _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	mov %rsp, %rbx\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call start\n"
	"	mov %rbx, %rsp\n"
	"	xor %edx, %edx\n"	/* no function for the loader to register */
	"	xor %ebx, %ebx\n"
	"	xor %ebp, %ebp\n"
	"	jmp *%rax\n");
