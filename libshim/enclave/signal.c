/*
 * signal.c - the program's signals under the shim.
 *
 * Owns: the program's table of actions; the kernel's table has signal_entry (doors.S) for every signal that has a
 * handler, with all signals blocked and on the shim's own signal stack. Must never: run a handler of the program while
 * its thread is in the shim, or lose a signal.
 *
 *   signal ─► signal_entry ─► signal_arrived
 *               interrupted the program ───────► frame copied to the program's stack, its handler entered
 *               interrupted the way out ───────► context replaced by the frame's, then the same
 *               interrupted the shim ──────────► remembered, all blocked; the call ends early where it could block
 *                                                └─ way out: signal_leave re-queues it, gate_unmask lets it in
 */
#include "alive.h"
#include "signal.h"
#include "control.h"
#include "ring.h"
#include "volumes.h"

enum { FP_XSTATE_MAGIC = 0x46505853, FPSTATE_MAX = 16384, FPSTATE_LEGACY = 512, REDZONE = 128,
       UCONTEXT_SIZE = 304, SIGINFO_SIZE = 128, SI_CODE_AT = 8, SI_VALUE_AT = 24, SYS_USER_DISPATCH_ = 2, SIGSTACK_MIN = 2048 };

#define DIRECTION_FLAG 0x400UL

_Static_assert(sizeof(struct ucontext) == UCONTEXT_SIZE, "SIGFRAME_INFO in doors.S");

struct action { uint64_t handler, flags, restorer, mask; };

struct rt_frame {
	uint64_t restorer;
	struct ucontext context;
	uint8_t info[SIGINFO_SIZE];
};

static struct action process_actions[65];
static struct mutex  actions_lock;

extern const char signal_entry[], door_leave[], door_leave_end[], door_leave_frame[], door_leave_frame_end[],
		  door_leave_new[], door_leave_new_end[], copy_guarded_insn[], copy_guarded_after[], copy_guarded_fault[];
extern const char __start_scone_door[] __attribute__((visibility("hidden"))),
		  __stop_scone_door[] __attribute__((visibility("hidden")));
uint64_t signal_arrived(int signal, uint8_t *info, struct ucontext *context);
void signal_leave(struct frame *frame);

static struct action *actions_of(const struct thread *thread)
{
	return thread->actions ? thread->actions : process_actions;
}

void signal_table_copy(struct thread *child)
{
	child->actions = (struct action *)(child->stack_top - SHIM_STACK_SIZE);
	memcpy(child->actions, actions_of(thread_self()), sizeof process_actions);
}

static bool within(uint64_t address, const char *start, const char *end)
{
	return address >= (uint64_t)start && address < (uint64_t)end;
}

static bool in_shim(uint64_t address)
{
	return address >= enclave.text_start && address < enclave.text_end &&
	       !within(address, __start_scone_door, __stop_scone_door);
}

static long kernel_action(int signal, const struct action *new, struct action *old)
{
	return gate4(__NR_rt_sigaction, signal, new, old, 8);
}

static struct action kernel_side(const struct action *program)
{
	return (struct action) {
		.handler  = (uint64_t)signal_entry,
		.flags    = (program->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_RESTART)) | SA_SIGINFO | SA_ONSTACK |
			    SA_RESTORER,
		.restorer = (uint64_t)gate_restorer,
		.mask     = SIGNALS_ALL,
	};
}

void signal_hold_sys(bool is_held)
{
	uint64_t bit = SIGNAL_BIT(SIGSYS);

	gate4(__NR_rt_sigprocmask, is_held ? SIG_BLOCK : SIG_UNBLOCK, &bit, 0, 8);
}

void signal_start(void)
{
	static const int hidden[] = { SIGSYS, SIGSEGV, SIGBUS };
	struct action none = { 0 }, mine = kernel_side(&none);

	for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
		if (kernel_action(hidden[i], &mine, &process_actions[hidden[i]]) < 0)
			die("the host refuses a signal handler");
}

uint64_t signal_mask_set(uint64_t mask)
{
	uint64_t old = 0, kernel_mask = mask & ~SIGNALS_HIDDEN;

	gate4(__NR_rt_sigprocmask, SIG_SETMASK, &kernel_mask, &old, 8);
	return old;
}

void signal_fork_lock(void)   { mutex_lock(&actions_lock); }
void signal_fork_unlock(void) { mutex_unlock(&actions_lock); }

bool signal_restarts(const struct thread *thread)
{
	return actions_of(thread)[thread->deferred_signal].flags & SA_RESTART;
}

/* ---- arrival ---- */

static void context_from_frame(struct ucontext *context, const struct frame *frame)
{
	struct sigcontext *at = &context->uc_mcontext;

	at->rax = frame->nr;
	at->rdi = frame->arg[0];
	at->rsi = frame->arg[1];
	at->rdx = frame->arg[2];
	at->r10 = frame->arg[3];
	at->r8  = frame->arg[4];
	at->r9  = frame->arg[5];
	at->rbx = frame->rbx;
	at->rbp = frame->rbp;
	at->r12 = frame->r12;
	at->r13 = frame->r13;
	at->r14 = frame->r14;
	at->r15 = frame->r15;
	at->rsp = frame->rsp;
	at->rip = frame->rip;
	at->rcx = frame->rip;
	at->eflags = (at->eflags & ~DIRECTION_FLAG) | (frame->flags & DIRECTION_FLAG);
}

/* A second signal came when the first one's handler was about to be entered: as if it had been. */
static void context_from_handler(struct ucontext *context, const struct thread *thread)
{
	struct sigcontext *at = &context->uc_mcontext;

	at->rdi = at->rbx;
	at->rsi = at->r12;
	at->rdx = at->r13;
	at->rip = thread->handler;
}

static void defer(struct thread *thread, int signal, const uint8_t *info, struct ucontext *context)
{
	uint64_t rip = context->uc_mcontext.rip, mask;

	memcpy(&mask, &context->uc_sigmask, sizeof mask);
	thread->deferred_base = mask;
	if (thread->has_call_mask && rip == (uint64_t)gate_call_after)
		thread->deferred_base = thread->call_mask;
	if (rip >= (uint64_t)gate_call_check && rip <= (uint64_t)gate_call_insn)
		context->uc_mcontext.rip = (uint64_t)gate_call_abort;
	thread->deferred_restore = mask;
	thread->deferred_signal = signal;
	memcpy(thread->deferred_info, info, SIGINFO_SIZE);
	mask = SIGNALS_ALL;
	memcpy(&context->uc_sigmask, &mask, sizeof mask);
	thread->signal_pending = 1;
	thread->stats.signals_deferred++;
}

static bool is_fault(int signal, const uint8_t *info)
{
	int32_t code;

	memcpy(&code, info + SI_CODE_AT, sizeof code);
	return code > 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
			    signal == SIGTRAP);
}

static void requeue(struct thread *thread, int signal, const uint8_t *info)
{
	if (!thread->tid)
		thread->tid = (uint32_t)gate0(__NR_gettid);
	if (gate4(__NR_rt_tgsigqueueinfo, gate0(__NR_getpid), thread->tid, signal, info) < 0)
		die("the host refuses to queue a signal again");
}

/* What the kernel would do had the shim not put its handler there. */
static void act_by_default(struct thread *thread, int signal, const uint8_t *info)
{
	struct action none = { 0 };

	if (actions_of(thread)[signal].handler == (uint64_t)SIG_IGN && !is_fault(signal, info))
		return;
	kernel_action(signal, &none, NULL);
	if (!is_fault(signal, info))
		requeue(thread, signal, info);
}

static uint64_t fpstate_size(const void *fpstate)
{
	uint32_t words[2];

	memcpy(words, (const uint8_t *)fpstate + 464, sizeof words);	/* struct _fpx_sw_bytes */
	if (words[0] != FP_XSTATE_MAGIC)
		return FPSTATE_LEGACY;
	if (words[1] < FPSTATE_LEGACY || words[1] > FPSTATE_MAX)
		die("a signal frame of the host has an impossible size");
	return words[1];
}

static uint64_t handler_stack(const struct thread *thread, uint64_t flags, uint64_t rsp)
{
	bool has_stack = thread->altstack_size && !(thread->altstack_flags & SS_DISABLE);
	bool is_on_it = rsp > thread->altstack_pointer && rsp - thread->altstack_pointer <= thread->altstack_size;

	if (flags & SA_ONSTACK && has_stack && !is_on_it)
		return thread->altstack_pointer + thread->altstack_size;
	return rsp - REDZONE;
}

/* Copies the kernel's frame to where the program wants it; the new stack pointer, or 0 when there is no such memory. */
static uint64_t frame_relocate(const struct thread *thread, uint64_t flags, const uint8_t *info, struct ucontext *context)
{
	struct rt_frame frame;
	uint64_t stack = handler_stack(thread, flags, context->uc_mcontext.rsp), fpstate;
	const void *from = (const void *)context->uc_mcontext.fpstate;
	uint64_t size = from ? fpstate_size(from) : 0;

	fpstate = (stack - size) & ~63UL;
	stack = ((fpstate - sizeof frame) & ~15UL) - 8;
	frame.restorer = (uint64_t)gate_restorer;
	memcpy(&frame.context, context, sizeof frame.context);
	memcpy(frame.info, info, SIGINFO_SIZE);
	if (from)
		frame.context.uc_mcontext.fpstate = (void *)fpstate;
	if (copy_guarded((void *)stack, &frame, sizeof frame) < 0 ||
	    (from && copy_guarded((void *)fpstate, from, size) < 0))
		return 0;
	return stack;
}

static uint64_t deliver(struct thread *thread, int signal, const uint8_t *info, struct ucontext *context, uint64_t base)
{
	static const struct action none;
	struct action action;
	uint64_t stack;

	mutex_lock(&actions_lock);
	action = actions_of(thread)[signal];
	if (action.handler > 1 && action.flags & SA_RESETHAND) {
		actions_of(thread)[signal].handler = 0;
		if (!(SIGNALS_HIDDEN & SIGNAL_BIT(signal)))
			kernel_action(signal, &none, NULL);
	}
	mutex_unlock(&actions_lock);
	if (action.handler <= 1) {
		act_by_default(thread, signal, info);
		return 0;
	}
	stack = frame_relocate(thread, action.flags, info, context);
	if (!stack) {
		kernel_action(SIGSEGV, &none, NULL);
		requeue(thread, SIGSEGV, info);
		return 0;
	}
	thread->handler = action.handler;
	thread->next_mask = (base | action.mask | (action.flags & SA_NODEFER ? 0 : SIGNAL_BIT(signal))) & ~SIGNALS_HIDDEN;
	return stack;
}

/*
 * The runtime host says that the helper has ended, or the kernel says that the runtime has: true. Whether that is so, is
 * looked up, and stops the program.
 */
static bool is_other_lost(int signal, const uint8_t *info)
{
	int32_t code, value;

	memcpy(&code, info + SI_CODE_AT, sizeof code);
	memcpy(&value, info + SI_VALUE_AT, sizeof value);
	if (signal != SIGSYS)
		return false;
	if (code == SI_SIGIO)
		alive_check();
	else if (code == SI_QUEUE && value == CTL_HELPER_LOST)
		ring_check_helper();
	else
		return false;
	return true;
}

/*
 * Called by signal_entry. 0: go on where it was (the context may have been changed); else the stack pointer of the
 * relocated frame, on which thread->handler is to run with thread->next_mask.
 */
uint64_t signal_arrived(int signal, uint8_t *info, struct ucontext *context)
{
	struct thread *thread = thread_self();
	uint64_t rip = context->uc_mcontext.rip, base;
	int32_t code;

	memcpy(&code, info + SI_CODE_AT, sizeof code);
	if (signal == SIGSYS && code == SYS_USER_DISPATCH_) {
		trap_arrived(thread, info, context);
		return 0;
	}
	if (is_fault(signal, info) && within(rip, copy_guarded_insn, copy_guarded_after)) {
		context->uc_mcontext.rip = (uint64_t)copy_guarded_fault;
		return 0;
	}
	if (unlikely(is_other_lost(signal, info)))
		return 0;
	if (unlikely(enclave.has_volumes && is_fault(signal, info) && !in_shim(rip) && volumes_fault(signal, info)))
		return 0;
	memcpy(&base, &context->uc_sigmask, sizeof base);
	if (within(rip, gate_unmask_after, gate_unmask_last + 1)) {	/* the deferred one, on the way out */
		base = thread->deferred_base;
		memcpy(&context->uc_sigmask, &thread->deferred_restore, sizeof base);
		context_from_frame(context, thread->frame);
	} else if (within(rip, gate_unmask_last, gate_unmask_end) || within(rip, door_leave, door_leave_end) ||
		   within(rip, door_leave_frame, door_leave_frame_end) ||
		   within(rip, door_leave_new, door_leave_new_end)) {
		context_from_frame(context, thread->frame);
	} else if (within(rip, gate_enter_handler_after, gate_enter_handler_end)) {
		context_from_handler(context, thread);
	} else if (in_shim(rip)) {
		if (is_fault(signal, info))
			die_number("a fault inside the shim, at offset", (long)(rip - enclave.text_start));
		defer(thread, signal, info, context);
		return 0;
	}
	return deliver(thread, signal, info, context, base);
}

/* Called by doors.S on the way out: the frame holds the result, and the deferred signal is let in next. */
void signal_leave(struct frame *frame)
{
	struct thread *thread = thread_self();
	int signal = thread->deferred_signal;

	uint64_t bit = SIGNAL_BIT(signal);

	thread->frame = frame;
	if (bit & SIGNALS_HIDDEN)	/* it would come at once, here */
		gate4(__NR_rt_sigprocmask, SIG_BLOCK, &bit, 0, 8);
	requeue(thread, signal, thread->deferred_info);
	thread->next_mask = SIGNALS_ALL & ~bit;
	thread->signal_pending = 0;
}

/* ---- calls ---- */

static long action_install(int signal, const struct action *new, struct action *old)
{
	struct action mine = kernel_side(new);
	struct action *actions = actions_of(thread_self());

	*old = actions[signal];
	if (SIGNALS_HIDDEN & SIGNAL_BIT(signal)) {
		actions[signal] = *new;
		return 0;
	}
	if (new->handler > 1) {
		struct action kernel_old = { 0 };

		TRY(kernel_action(signal, &mine, &kernel_old));
		if (old->handler <= 1)
			old->handler = kernel_old.handler;
	} else {
		struct action plain = { .handler = new->handler, .flags = new->flags, .restorer = new->restorer,
					.mask = new->mask }, kernel_old = { 0 };

		TRY(kernel_action(signal, &plain, &kernel_old));
		if (old->handler <= 1)
			old->handler = kernel_old.handler;
	}
	actions[signal] = *new;
	return 0;
}

static long action_query(int signal, struct action *old)
{
	*old = actions_of(thread_self())[signal];
	if (old->handler > 1 || SIGNALS_HIDDEN & SIGNAL_BIT(signal))
		return 0;
	return kernel_action(signal, NULL, old);
}

long sys_rt_sigaction(struct frame *frame);
long sys_rt_sigaction(struct frame *frame)
{
	int signal = (int)frame->arg[0];
	struct action new, old;
	long result;

	if (frame->arg[3] != 8 || signal < 1 || signal > 64)
		return -EINVAL;
	if (frame->arg[1]) {
		TRY(copy_guarded(&new, (void *)frame->arg[1], sizeof new));
		if (signal == SIGKILL || signal == SIGSTOP)
			return -EINVAL;
	}
	mutex_lock(&actions_lock);
	result = frame->arg[1] ? action_install(signal, &new, &old) : action_query(signal, &old);
	mutex_unlock(&actions_lock);
	TRY(result);
	return frame->arg[2] ? copy_guarded((void *)frame->arg[2], &old, sizeof old) : 0;
}

long sys_rt_sigprocmask(struct frame *frame);
long sys_rt_sigprocmask(struct frame *frame)
{
	struct thread *thread = thread_self();
	uint64_t set = 0, kernel_set, old = 0, hidden = thread->hidden_mask;
	int how = (int)frame->arg[0];

	if (frame->arg[3] != 8)
		return -EINVAL;
	if (frame->arg[1])
		TRY(copy_guarded(&set, (void *)frame->arg[1], 8));
	kernel_set = set & ~SIGNALS_HIDDEN;
	TRY(gate_interruptible(__NR_rt_sigprocmask, how, frame->arg[1] ? (long)&kernel_set : 0, (long)&old, 8, 0, 0));
	if (frame->arg[1]) {
		if (how == SIG_BLOCK)
			thread->hidden_mask |= set & SIGNALS_HIDDEN;
		else if (how == SIG_UNBLOCK)
			thread->hidden_mask &= ~set;
		else
			thread->hidden_mask = set & SIGNALS_HIDDEN;
	}
	old |= hidden;
	return frame->arg[2] ? copy_guarded((void *)frame->arg[2], &old, 8) : 0;
}

long sys_rt_sigreturn(struct frame *frame);
long sys_rt_sigreturn(struct frame *frame)
{
	gate_sigreturn((void *)frame->rsp);
}

long sys_rt_sigsuspend(struct frame *frame);
long sys_rt_sigsuspend(struct frame *frame)
{
	struct thread *thread = thread_self();
	long result;

	if (frame->arg[1] != 8)
		return -EINVAL;
	TRY(copy_guarded(&thread->call_mask, (void *)frame->arg[0], 8));
	thread->call_mask &= ~SIGNALS_HIDDEN;
	thread->has_call_mask = true;
	alive_watch();
	result = gate_interruptible(__NR_rt_sigsuspend, (long)&thread->call_mask, 8, 0, 0, 0, 0);
	thread->has_call_mask = false;
	return result;
}

long sys_sigaltstack(struct frame *frame);
long sys_sigaltstack(struct frame *frame)
{
	struct thread *thread = thread_self();
	struct { uint64_t pointer; int32_t flags, padding; uint64_t size; } new, old = {
		thread->altstack_pointer, thread->altstack_flags, 0, thread->altstack_size };
	bool is_on_it = frame->rsp > old.pointer && frame->rsp - old.pointer <= old.size && old.size;

	if (!old.size)
		old.flags = SS_DISABLE;
	else if (is_on_it && !((uint32_t)old.flags & SS_AUTODISARM))
		old.flags |= SS_ONSTACK;
	if (frame->arg[0]) {
		TRY(copy_guarded(&new, (void *)frame->arg[0], sizeof new));
		if (is_on_it)
			return -EPERM;
		if ((uint32_t)new.flags & ~(SS_AUTODISARM | SS_DISABLE | SS_ONSTACK))
			return -EINVAL;
		if (!(new.flags & SS_DISABLE) && new.size < SIGSTACK_MIN)
			return -ENOMEM;
		thread->altstack_pointer = new.flags & SS_DISABLE ? 0 : new.pointer;
		thread->altstack_size = new.flags & SS_DISABLE ? 0 : new.size;
		thread->altstack_flags = new.flags & (int32_t)(SS_AUTODISARM | SS_DISABLE);
	}
	return frame->arg[1] ? copy_guarded((void *)frame->arg[1], &old, sizeof old) : 0;
}
