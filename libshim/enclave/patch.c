/*
 * patch.c - the site door: `syscall` instructions of libraries become jumps into the shim.
 *
 * Owns: trampolines and the patching of code. Must never: patch bytes that differ from what was analysed; what is not
 * patched is caught by the trap. Called by: start.c, memory calls.
 *
 *   library:     [moved ...] syscall [moved ...]      becomes      jmp tramp; int3 ...
 *   trampoline:  moved instructions before
 *            R:  lea R(%rip), %rcx
 *                jmp *door(%rip)              door_site finds the return address at R + 13
 *                .quad return address         (where the window ended, or the next line)
 *                moved instructions after; jmp back
 */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <linux/mman.h>
#include "patch.h"
#include "control.h"
#include "shim_abi.h"

enum { TRAMPOLINE_SIZE = 64, AREA_HEAD = 64, SITES_MAX = 2600, JUMP_SIZE = 5, REACH = 0x70000000, NOTE_BUILD_ID = 3,
       HEADERS_MAX = 16, MAP_FIXED_NOREPLACE_ = 0x100000 };

/* One object to patch: run-time address = bias + offset of the site. */
struct object {
	uint64_t bias, start, end;	/* start..end: its executable segment, page aligned */
	int      protection;
};

extern const char door_site[];
extern __typeof__(dl_iterate_phdr) dl_iterate_phdr __attribute__((weak));	/* of the program's libc */

/* Trampolines must be within reach of a 32-bit jump: free space after, else before the object. */
static uint8_t *area_map(const struct object *object, size_t size)
{
	for (uint64_t distance = PAGE_SIZE; distance < REACH; distance += distance < 0x1000000 ? 0x10000 : 0x1000000) {
		uint64_t places[2] = { object->end + distance, object->start - distance - size };

		for (int i = 0; i < 2; i++) {
			long at = gate6(__NR_mmap, (long)(places[i] & ~(PAGE_SIZE - 1)), (long)size,
					PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE_, -1, 0);

			if (at > 0)
				return (uint8_t *)at;
		}
	}
	return NULL;
}

static void put_relative(uint8_t *at, uint64_t next, uint64_t target)
{
	int32_t distance = (int32_t)(target - next);

	memcpy(at, &distance, sizeof distance);
}

static void trampoline_write(uint8_t *at, const uint8_t *area, const struct site *site, uint64_t address)
{
	static const uint8_t lea[] = { 0x48, 0x8d, 0x0d, 0xf9, 0xff, 0xff, 0xff };
	uint32_t after = (uint32_t)site->size - site->syscall_at - 2;
	uint64_t back = address + site->size, resume;

	memcpy(at, site->bytes, site->syscall_at);
	at += site->syscall_at;
	memcpy(at, lea, sizeof lea);
	at[7] = 0xff;
	at[8] = 0x25;
	put_relative(at + 9, (uint64_t)at + 13, (uint64_t)area);
	resume = after ? (uint64_t)at + 21 : back;
	memcpy(at + 13, &resume, sizeof resume);
	if (!after)
		return;
	memcpy(at + 21, site->bytes + site->syscall_at + 2, after);
	at += 21 + after;
	*at = 0xe9;
	put_relative(at + 1, (uint64_t)at + JUMP_SIZE, back);
}

static bool is_patchable(const struct object *object, const struct site *site)
{
	uint64_t address = object->bias + site->offset;

	return site->size >= JUMP_SIZE && site->size <= SITE_WINDOW_MAX && site->syscall_at + 2 <= site->size &&
	       address >= object->start && address + site->size <= object->end &&
	       memcmp((const void *)address, site->bytes, site->size) == 0 &&
	       site->bytes[site->syscall_at] == 0x0f && site->bytes[site->syscall_at + 1] == 0x05;
}

static void site_patch(const struct object *object, const struct site *site, uint8_t *trampoline, const uint8_t *area)
{
	uint64_t address = object->bias + site->offset;
	uint8_t *code = (uint8_t *)address;

	trampoline_write(trampoline, area, site, address);
	code[0] = 0xe9;
	put_relative(code + 1, address + JUMP_SIZE, (uint64_t)trampoline);
	memset(code + JUMP_SIZE, 0xcc, (size_t)site->size - JUMP_SIZE);
}

static void object_patch(const struct object *object, const struct site *sites, uint32_t count)
{
	size_t size = (AREA_HEAD + (size_t)count * TRAMPOLINE_SIZE + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	uint64_t length = object->end - object->start, door = (uint64_t)door_site;
	uint8_t *area;

	if (!count)
		return;
	area = area_map(object, size);
	if (!area || gate3(__NR_mprotect, object->start, length, PROT_READ | PROT_WRITE) < 0)
		return;		/* every call of this object traps instead */
	memcpy(area, &door, sizeof door);
	for (uint32_t i = 0; i < count; i++)
		if (is_patchable(object, &sites[i]))
			site_patch(object, &sites[i], area + AREA_HEAD + (size_t)i * TRAMPOLINE_SIZE, area);
	if (gate3(__NR_mprotect, object->start, length, object->protection) < 0 ||
	    gate3(__NR_mprotect, area, size, PROT_READ | PROT_EXEC) < 0)
		die("the host refuses to make patched code executable again");
}

static const struct site_library *library_find(const uint8_t *build_id, size_t size)
{
	for (uint32_t i = 0; i < shim_image.library_count; i++) {
		const struct site_library *library = &shim_image.libraries[i];

		if (size && library->build_id_size == size && memcmp(library->build_id, build_id, size) == 0)
			return library;
	}
	return NULL;
}

static const uint8_t *build_id_find(const struct dl_phdr_info *info, size_t *size)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *header = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + header->p_vaddr, end = at + header->p_memsz;

		while (header->p_type == PT_NOTE && at + sizeof(Elf64_Nhdr) <= end) {
			const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
			uint64_t name_size = (note->n_namesz + 3UL) & ~3UL;

			if (note->n_type == NOTE_BUILD_ID && note->n_namesz == 4 &&
			    memcmp(note + 1, "GNU", 4) == 0) {
				*size = note->n_descsz;
				return (const uint8_t *)(note + 1) + name_size;
			}
			at += sizeof *note + name_size + ((note->n_descsz + 3UL) & ~3UL);
		}
	}
	*size = 0;
	return NULL;
}

static void sites_ask_and_patch(const struct object *object, const char *path, uint64_t offset)
{
	struct site *sites = pages_map(SITES_MAX * sizeof *sites);
	long count;

	if (!sites)
		return;
	count = control_sites(path, offset, object->end - object->start, sites, SITES_MAX);
	if (count > 0)
		object_patch(object, sites, (uint32_t)count);
	gate2(__NR_munmap, sites, SITES_MAX * sizeof *sites);
}

static const char *path_of(const struct dl_phdr_info *info, char *executable, size_t capacity)
{
	long size;

	if (info->dlpi_name && info->dlpi_name[0])
		return info->dlpi_name;
	size = gate3(__NR_readlink, "/proc/self/exe", executable, capacity - 1);
	executable[size < 0 || size >= (long)capacity ? 0 : size] = 0;
	return executable;
}

static void segment_patch(const struct dl_phdr_info *info, const Elf64_Phdr *header)
{
	uint64_t start = info->dlpi_addr + header->p_vaddr;
	struct object object = {
		.bias = info->dlpi_addr,
		.start = start & ~(PAGE_SIZE - 1),
		.end = (start + header->p_memsz + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
		.protection = PROT_READ | PROT_EXEC,
	};
	char executable[CTL_PATH_MAX];
	size_t size;
	const uint8_t *build_id = build_id_find(info, &size);
	const struct site_library *library = library_find(build_id, size);

	if (library)
		object_patch(&object, library->sites, library->site_count);
	else
		sites_ask_and_patch(&object, path_of(info, executable, sizeof executable),
				    header->p_offset & ~(PAGE_SIZE - 1));
}

static int object_visit(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (string_starts(info->dlpi_name, "linux-vdso"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *header = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + header->p_vaddr;

		if (header->p_type == PT_LOAD && header->p_flags & PF_X && start != enclave.text_start)
			segment_patch(info, header);
	}
	return 0;
}

void patch_start(void)
{
	if (!dl_iterate_phdr)
		die("the program's libc lacks dl_iterate_phdr");
	dl_iterate_phdr(object_visit, NULL);
}

/* Program headers of the file behind `fd`: the load segment that holds file offset `offset`. */
static bool segment_of(int fd, uint64_t offset, Elf64_Phdr *segment)
{
	Elf64_Ehdr head;
	Elf64_Phdr headers[HEADERS_MAX];
	size_t size;

	if (gate4(__NR_pread64, fd, &head, sizeof head, 0) != sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof *headers || head.e_phnum > HEADERS_MAX)
		return false;
	size = head.e_phnum * sizeof *headers;
	if (gate4(__NR_pread64, fd, headers, size, head.e_phoff) != (long)size)
		return false;
	for (int i = 0; i < head.e_phnum; i++)
		if (headers[i].p_type == PT_LOAD && headers[i].p_flags & PF_X &&
		    (headers[i].p_offset & ~(PAGE_SIZE - 1)) == offset) {
			*segment = headers[i];
			return true;
		}
	return false;
}

void patch_mapping(uint64_t address, uint64_t size, int protection, int fd, uint64_t offset)
{
	char link[48], path[CTL_PATH_MAX];
	struct text text = { link, 0, sizeof link };
	struct object object = { .start = address, .end = (address + size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
				 .protection = protection };
	Elf64_Phdr segment;
	long path_size;

	if (!segment_of(fd, offset, &segment))
		return;
	object.bias = address - offset + segment.p_offset - segment.p_vaddr;
	text_add(&text, "/proc/self/fd/");
	text_add_number(&text, fd);
	path_size = gate3(__NR_readlink, link, path, sizeof path - 1);
	if (path_size <= 0 || path_size >= (long)sizeof path)
		return;
	path[path_size] = 0;
	sites_ask_and_patch(&object, path, offset);
}
