/*
 * control.h - the messages between the shim and the runtime host.
 *
 * Owns: the layout of every packet on the control socket and of its answer (docs/internals.md, section 2), little
 * endian, one message a packet. Must never: hold a function, or a pointer.
 * Used by: enclave/control.c; scone_preload/runtime/wire.py mirrors it, and a test compares the two.
 */
#ifndef SCONE_CONTROL_H
#define SCONE_CONTROL_H

#include <stdint.h>

enum {
	CTL_MAGIC      = 0x314e4353,	/* "SCN1" */
	CTL_PACKET_MAX = 65536,
	CTL_PATH_MAX   = 4096,		/* with its NUL */
	CTL_CALL_COUNT = 512,
};

enum ctl_type {
	CTL_HELLO = 1,	/* struct ctl_hello, exe path, lines of maps      with CTL_WANTS_POLICY: struct ctl_hello_answer, policy,
			 *                                                message; for each volume a packet struct ctl_volume;
			 *                                                for each memory file a packet struct
			 *                                                ctl_hello_file and packets of its bytes; else none */
	CTL_EXEC  = 2,	/* struct ctl_exec, path, cwd                     struct ctl_exec_answer, shim path, message (error)
			 *                                                or "dev,ino,size,mtime,ctime" of the shim (go) */
	CTL_SITES = 3,	/* struct ctl_sites, path                         struct ctl_sites_answer, count x struct site */
	CTL_STATS = 4,	/* struct wire_stats                              when CTL_FIRST: struct ctl_text_answer, text */
	CTL_TRACE = 5,	/* struct ctl_trace, then its strings             no answer */
	CTL_EVENT = 6,	/* struct ctl_event, text                         no answer */
	CTL_HELPER = 7,	/* struct ctl_helper                              no answer */
	CTL_LIVE  = 9,	/* nothing; carries the memory file that it counts in     no answer */
	CTL_KEEP  = 10,	/* struct ctl_keep, count x struct ctl_kept       no answer: memory files that stay open over the exec which
			 *                                                was allowed just before */
	CTL_CALL  = 8,	/* struct ctl_call, then its strings              struct ctl_call_answer, then its strings, then
			 *                                                packets of a file's bytes */
};

enum {
	CTL_FIRST = 1,	/* ctl_header.flags: from the process that scone-wrap became */
};

enum {
	CTL_AFTER_EXEC   = 1,	/* ctl_hello.flags */
	CTL_WANTS_POLICY = 2,	/* without its policy the image does not run */
};

struct ctl_header {
	uint32_t magic;		/* CTL_MAGIC */
	uint16_t type;		/* enum ctl_type */
	uint16_t flags;		/* CTL_FIRST */
	uint32_t size;		/* of the whole packet */
	int32_t  pid;
	int32_t  tid;
	uint32_t reserved;	/* 0 */
};

/* What is mapped: behind the path, the lines of /proc/self/maps that are executable and have a file, as the kernel wrote
 * them. */
struct ctl_hello {
	struct ctl_header header;
	uint64_t shim_id;	/* shim_image.id */
	uint64_t nonce;		/* given for this image: by the launcher, or by the answer to EXEC; each is good once */
	uint32_t flags;		/* CTL_AFTER_EXEC, CTL_WANTS_POLICY */
	uint32_t maps_size;
};

struct ctl_hello_answer {
	int32_t  error;		/* 0, or an errno: the image must not run; the message says why */
	uint32_t policy_size;	/* of the struct policy_image that follows; then the message, a string */
	uint32_t file_count;	/* at most CTL_KEPT_MAX */
	uint32_t volume_count;	/* at most CTL_VOLUMES_MAX */
};

enum { CTL_KEPT_MAX = 256, CTL_VOLUMES_MAX = 8 };

/*
 * A volume. The packet carries two descriptors (SCM_RIGHTS): the arena's memory file, then the container, open for reading
 * (and for writing, unless read-only). Behind it the volume's place, a string: absolute, without links, "//", "/." and
 * "..", as the program says it; then the container's directory on the host in the same way, a string, which may be the same.
 */
struct ctl_volume {
	uint32_t flags;		/* enum ctl_volume_flags */
	uint32_t reserved;
	uint64_t arena_size;	/* bytes to be mapped */
};

enum ctl_volume_flags { CTL_VOLUME_READONLY = 1 };

/* A memory file that the image before left open. */
struct ctl_hello_file {
	int32_t  fd;
	uint32_t flags;		/* of open(2) */
	uint64_t offset;
	uint64_t size;		/* at most CTL_FILE_MAX */
	uint64_t number;	/* as in struct ctl_call_answer */
	int64_t  seconds;
	uint32_t mode, uid, gid;
	uint32_t same_as;	/* it shares the open file, with its bytes, of the file with this index; its own: it has its own */
};

struct ctl_kept {
	int32_t  fd;
	uint32_t flags;
	uint64_t offset;
	uint64_t number;
	uint32_t same_as;
	uint32_t reserved;
};

struct ctl_keep {
	struct ctl_header header;
	uint32_t count;		/* of struct ctl_kept that follow: at most CTL_KEPT_MAX */
	uint32_t reserved;
};

struct ctl_exec {
	struct ctl_header header;
	int32_t  dirfd;		/* -100: AT_FDCWD */
	uint32_t at_flags;
};

struct ctl_exec_answer {
	int32_t  error;		/* 0: go on (the kernel gives the natural error where there is one), else the errno */
	uint32_t flags;		/* CTL_EXEC_UNWRAPPED */
	uint64_t nonce;		/* for the HELLO of the new image */
};

enum { CTL_EXEC_UNWRAPPED = 1 };	/* the policy names the program: it runs without a shim */

struct ctl_sites {
	struct ctl_header header;
	uint64_t offset;	/* of the executable mapping, in the file */
	uint64_t length;
};

struct ctl_sites_answer {
	uint32_t count;		/* of struct site (shim_abi.h); 0: leave it to the trap */
	uint32_t reserved;
};

struct ctl_text_answer {
	uint32_t size;		/* bytes of text that follow */
};

struct ctl_trace {
	struct ctl_header header;
	uint32_t nr;
	uint32_t door;		/* DOOR_* */
	uint32_t route;		/* enum call_route */
	uint32_t exit;		/* WIRE_EXIT_* */
	uint64_t args[6];
	int64_t  result;	/* -errno for a failure */
	uint64_t ns;		/* how long it took */
	uint32_t string_count;
	uint32_t reserved;
};

struct ctl_trace_string {
	uint8_t  arg;		/* 0 .. 5 */
	uint8_t  kind;		/* 0: sent by the program, 1: received */
	uint16_t size;		/* bytes that follow; the next string starts right behind them */
};

enum ctl_event_kind {
	CTL_EVENT_DENIED   = 1,	/* the program made a call that is denied; nr is the call */
	CTL_EVENT_REFUSED  = 2,	/* a reply of the host was refused; nr is the call */
	CTL_EVENT_TRAP     = 3,	/* first call that came by the trap from this place; text says where */
	CTL_EVENT_STOPPED  = 4,	/* the enclave stops, closed; text says why */
	CTL_EVENT_NOTICE   = 5,	/* anything else worth one line */
};

struct ctl_event {
	struct ctl_header header;
	uint32_t kind;		/* enum ctl_event_kind */
	uint32_t nr;		/* call number, or 0xffffffff */
};

/*
 * The process has a helper, or has ended it. When one ends that was not said to be ended, the host sends the process
 * SIGSYS with CTL_HELPER_LOST: a thread that waits in the kernel without need of the helper learns of it, too.
 */
struct ctl_helper {
	struct ctl_header header;
	int32_t  helper_pid;	/* 0: ended on purpose */
	uint32_t reserved;
};

enum { CTL_HELPER_LOST = 0x314e4353 };	/* si_value of that signal (SI_QUEUE) */

/* A call that the policy wants the runtime to decide, or to serve. */
struct ctl_call {
	struct ctl_header header;
	uint32_t nr;
	uint32_t flags;		/* enum ctl_call_flags */
	uint64_t args[6];
	uint32_t string_count;	/* struct ctl_trace_string: what the program's memory holds, kind 0; argument CTL_ABOUT_PATH: the
				 * absolute path that the call is about, CTL_ABOUT_SECOND: the second one, CTL_ABOUT_ADDRESS:
				 * the socket address */
	uint32_t reserved;
};

enum { CTL_ABOUT_PATH = 8, CTL_ABOUT_ADDRESS = 9, CTL_ABOUT_SECOND = 10 };

enum ctl_call_flags {
	CTL_CALL_CUT      = 1,	/* not all of the program's bytes fit into the packet */
	CTL_CALL_DATAGRAM = 2,	/* the address is for a socket that is no stream */
};

enum ctl_verdict {
	CTL_GO     = 0,		/* the call goes on as if nobody had been asked */
	CTL_RESULT = 1,		/* it is not made: `result`, and the strings (kind 1) go into the program's memory */
	CTL_FILE   = 2,		/* it opens a file of `file_size` bytes that nobody else has */
	CTL_STOP   = 3,		/* the enclave stops */
};

struct ctl_call_answer {
	uint32_t verdict;	/* enum ctl_verdict */
	uint32_t string_count;
	int64_t  result;
	uint64_t file_size;	/* at most CTL_FILE_MAX */
	uint64_t file_number;	/* inode */
	int64_t  file_seconds;	/* of all its times */
	uint32_t file_mode;	/* permissions */
	uint32_t file_uid;
	uint32_t file_gid;
	uint32_t scope;		/* enum ctl_scope */
};

/* CTL_GO: what need not be asked about again for the same access. */
enum ctl_scope {
	CTL_SCOPE_NONE      = 0,
	CTL_SCOPE_SAME      = 1,	/* the same path or address */
	CTL_SCOPE_DIRECTORY = 2,	/* all that lies directly in the path's directory */
};

enum { CTL_FILE_MAX = 16 << 20 };

enum {
	WIRE_EXIT_GATE = 0,	/* index into calls_by_exit: by the program's own thread */
	WIRE_EXIT_RING = 1,	/* by the helper */
};

/* What one process counted since it started or forked; sent once, at its end or before its exec. */
struct wire_stats {
	uint64_t calls_by_door[4];	/* DOOR_SYMBOL, DOOR_SITE, DOOR_TRAP, DOOR_OTHER */
	uint64_t calls_by_exit[2];	/* WIRE_EXIT_*; with the doors in one cache line: each call counts in both */
	uint64_t calls_by_route[4];	/* enum call_route: deny, inside, runtime, host */
	uint64_t denied;
	uint64_t refused_replies;
	uint64_t bytes_out;		/* of data, from the enclave to the host */
	uint64_t bytes_in;
	uint64_t turns;			/* event-loop turns: calls that waited for readiness */
	uint64_t crossings;		/* hand-overs to the helper that were waited for */
	uint64_t ring_spun;		/* waits for a reply that ended while spinning */
	uint64_t ring_slept;		/* waits that slept */
	uint64_t ring_writes_behind;	/* writes that returned before the host had them */
	uint64_t ring_reads_ahead;	/* reads served from what the helper had read ahead */
	uint64_t ring_by_uring;		/* of both, what the helper says it gave to io_uring */
	uint64_t signals_deferred;
	uint64_t processes;		/* 1, or 0 in the message before an exec: the same process goes on */
	uint64_t threads;		/* started, the first one included */
	uint64_t execs;
	uint64_t calls[CTL_CALL_COUNT];	/* by number */
};

struct ctl_stats {
	struct ctl_header header;
	struct wire_stats stats;
};

_Static_assert(sizeof(struct ctl_header) == 24, "wire layout");
_Static_assert(sizeof(struct ctl_hello) == 48, "wire layout");
_Static_assert(sizeof(struct ctl_hello_answer) == 16, "wire layout");
_Static_assert(sizeof(struct ctl_volume) == 16, "wire layout");
_Static_assert(sizeof(struct ctl_hello_file) == 56, "wire layout");
_Static_assert(sizeof(struct ctl_kept) == 32, "wire layout");
_Static_assert(sizeof(struct ctl_keep) == 32, "wire layout");
_Static_assert(sizeof(struct ctl_exec) == 32, "wire layout");
_Static_assert(sizeof(struct ctl_exec_answer) == 16, "wire layout");
_Static_assert(sizeof(struct ctl_sites) == 40, "wire layout");
_Static_assert(sizeof(struct ctl_sites_answer) == 8, "wire layout");
_Static_assert(sizeof(struct ctl_text_answer) == 4, "wire layout");
_Static_assert(sizeof(struct ctl_trace) == 112, "wire layout");
_Static_assert(__builtin_offsetof(struct ctl_trace, result) == 88, "wire layout");
_Static_assert(sizeof(struct ctl_trace_string) == 4, "wire layout");
_Static_assert(sizeof(struct ctl_event) == 32, "wire layout");
_Static_assert(sizeof(struct ctl_helper) == 32, "wire layout");
_Static_assert(sizeof(struct ctl_call) == 88, "wire layout");
_Static_assert(sizeof(struct ctl_call_answer) == 56, "wire layout");
_Static_assert(sizeof(struct wire_stats) == 4296, "wire layout");
_Static_assert(__builtin_offsetof(struct wire_stats, calls) == 200, "wire layout");
_Static_assert(sizeof(struct ctl_stats) == 4320, "wire layout");

#endif
