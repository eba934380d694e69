/*
 * shim_abi.h - what a generated shim tells libshim about its binary.
 *
 * Owns: struct shim_image, struct site, the DOOR macro. Must never: include anything but fixed-width types.
 * Used by: every generated shim.c; start.c, patch.c; the analyser (scone_preload/elf) writes struct site, also over
 * the control socket (message SITES).
 */
#ifndef SCONE_SHIM_ABI_H
#define SCONE_SHIM_ABI_H

#include <stdint.h>

enum { SHIM_ABI_VERSION = 1, SITE_WINDOW_MAX = 18, BUILD_ID_MAX = 20 };

/*
 * One `syscall` instruction and the window of whole instructions around it that a 5-byte jump replaces.
 * The window starts at file-relative virtual address `offset` (p_vaddr space of the library). bytes[] are the original
 * bytes, compared before patching. Instructions before the syscall (bytes[0 .. syscall_at)) and after it
 * (bytes[syscall_at + 2 .. size)) are position independent and are moved to the trampoline; no branch of the library
 * enters the window but at its start. The analyser prefers windows that END with the syscall instruction.
 */
struct site {
	uint32_t offset;
	uint8_t  size;		/* 5 .. SITE_WINDOW_MAX */
	uint8_t  syscall_at;	/* index of 0f 05 in bytes[] */
	uint8_t  bytes[SITE_WINDOW_MAX];
};
_Static_assert(sizeof(struct site) == 24, "struct site is on the wire");

struct site_library {
	const char *name;	/* soname or path, for messages */
	uint8_t  build_id[BUILD_ID_MAX];
	uint32_t build_id_size;
	uint32_t site_count;
	const struct site *sites;	/* sorted by offset */
};

struct shim_image {
	uint32_t abi_version;		/* SHIM_ABI_VERSION */
	uint32_t library_count;
	const struct site_library *libraries;
	const char *binary;		/* path it was generated for, "" for the generic shim */
	uint64_t id;			/* first 8 bytes of the content hash of what it was generated from */
	uint64_t calls[8];		/* bit nr: the binary can make this call; others are denied */
};

extern const struct shim_image shim_image;

/* One symbol door: the libc function that it stands for is looked up at start (doors.c). */
struct door {
	const char *name;
	void *libc_function;	/* where a process with several threads goes: cancellation points are libc's business */
};

/*
 * DOOR(read, 0): the symbol `read` that the binary imports enters the shim with syscall 0; C ABI, result in the libc
 * convention (errno set, -1). Only while the process has one thread, else it is libc's own function (whose syscall
 * instruction is a site).
 */
#define DOOR(symbol, nr) \
	__asm__(".pushsection .rodata\n" \
		"door_name_" #symbol ": .asciz \"" #symbol "\"\n.popsection\n" \
		".pushsection scone_doors,\"aw\",@progbits\n" \
		"door_" #symbol ": .quad door_name_" #symbol ", 0\n.popsection\n" \
		".pushsection scone_door,\"ax\",@progbits\n" \
		".globl " #symbol "\n.type " #symbol ",@function\n.balign 16\n" \
		#symbol ":\n" \
		"	mov door_single_threaded(%rip), %rax\n" \
		"	cmpb $0, (%rax)\n" \
		"	je 1f\n" \
		"	mov $" #nr ", %eax\n" \
		"	jmp door_symbol\n" \
		"1:	jmp *door_" #symbol "+8(%rip)\n" \
		".size " #symbol ", . - " #symbol "\n.popsection")

#endif
