/*
 * ring_pace.c - how the two sides of a lane wait for each other.
 *
 * Owns: the choice between spinning (both awake on two cores) and handing over (both sleep, the twin is kept on the
 * program's core). Must never: decide anything but speed; all it looks at may be the host's doing. Used by: ring.c.
 *
 *   handing over ── crossings follow closely, and it is time to try again ──► spinning
 *   spinning ── somebody else wanted the core, or replies or crossings are slow ──► handing over, longer each time
 */
#include "ring_inner.h"

enum {
	NEAR_CYCLES    = 8000,		/* a crossing follows the last one closely */
	NEAR_COUNT     = 16,		/* so many in a row are worth spinning for */
	FAR_COUNT      = 8,		/* so many more far ones than near ones are not */
	SPIN_CYCLES    = 16384,
	PATIENT_FACTOR = 4,		/* times that for a reply that can't be long, and for the twin: a timer interrupt passes */
	WAKE_FACTOR    = 10,		/* times that, when the other side had to be woken: on an idle core that takes long */
	TAKEN_CYCLES   = 25000,		/* a step of spinning that takes so long may not have been ours */
	TROUBLE_MISS   = 256,		/* a reply that didn't come within the spin; each one that did takes one off */
	TROUBLE_TAKEN  = 512,		/* another thread had our core while we spun */
	TROUBLE_MAX    = 1024,		/* with so much of it spinning ends */
	RETRY_MIN      = 1 << 24,	/* cycles until spinning is tried again */
	RETRY_MAX      = 1 << 28,
	RUSAGE_THREAD_ = 1,
	SWITCHES_AT    = 17,		/* ru_nivcsw in the kernel's struct rusage, in words */
	RUSAGE_WORDS   = 18,
};

static inline uint64_t cycles_and_cpu(uint32_t *cpu)
{
	uint32_t low, high, aux;

	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
	*cpu = aux & 0xfff;
	return (uint64_t)high << 32 | low;
}

/* Lets the twin run on `cpu` alone (together), or anywhere else. A refusal costs speed alone: one core is all there is. */
static void twin_place(struct lane *lane, uint32_t cpu, bool together)
{
	uint64_t mask[CPU_WORDS] = { 0 }, bit = 1ul << cpu % 64;

	if (cpu >= 64 * CPU_WORDS)
		return;
	if (!together)
		memcpy(mask, ring.cpus, sizeof mask);
	mask[cpu / 64] = together ? bit : mask[cpu / 64] & ~bit;
	gate3(__NR_sched_setaffinity, lane->twin_tid, sizeof mask, mask);
	lane->pace.twin_cpu = cpu;
	lane->pace.together = together;
}

static void spinning_ends(struct pace *pace, uint64_t now)
{
	pace->spins = false;
	pace->retry = now - pace->since > 8 * pace->backoff || !pace->backoff ? RETRY_MIN : 2 * pace->backoff;
	pace->backoff = pace->retry > RETRY_MAX ? RETRY_MAX : pace->retry;
	pace->retry = now + pace->backoff;
}

/* How often this thread lost its core to another one. An interrupt, or the machine's own host, leaves no trace here. */
static uint64_t switches_count(void)
{
	uint64_t usage[RUSAGE_WORDS] = { 0 };

	gate2(__NR_getrusage, RUSAGE_THREAD_, usage);
	return usage[SWITCHES_AT];
}

static void spinning_begins(struct lane *lane, uint64_t now)
{
	struct pace *pace = &lane->pace;

	pace->spins = true;
	pace->since = now;
	pace->far = pace->trouble = 0;
	pace->switches = switches_count();
	twin_place(lane, pace->cpu, false);
}

uint8_t pace_issue(struct lane *lane)
{
	struct pace *pace = &lane->pace;
	uint64_t now = cycles_and_cpu(&pace->cpu);
	bool near = now - pace->last_done < NEAR_CYCLES;

	pace->near = near ? pace->near + 1 : 0;
	if (pace->spins && !near && ++pace->far > FAR_COUNT)
		spinning_ends(pace, now);
	else if (pace->spins && near && pace->far)
		pace->far--;
	else if (pace->spins && pace->twin_cpu != pace->cpu)
		twin_place(lane, pace->cpu, false);
	else if (!pace->spins && pace->near >= NEAR_COUNT && now >= pace->retry)
		spinning_begins(lane, now);
	return pace->spins ? PATIENT_FACTOR * SPIN_CYCLES / 256 - 1 : 0;
}

void pace_wake(struct lane *lane)
{
	struct pace *pace = &lane->pace;

	if (!pace->spins && (!pace->together || pace->twin_cpu != pace->cpu))
		twin_place(lane, pace->cpu, true);
}

uint64_t pace_budget(const struct lane *lane, bool woken, enum ring_class class)
{
	if (!lane->pace.spins)
		return 0;
	if (woken)
		return WAKE_FACTOR * SPIN_CYCLES;
	return class == RING_WAIT ? PATIENT_FACTOR * SPIN_CYCLES : SPIN_CYCLES;
}

bool pace_taken(struct lane *lane, uint64_t before, uint64_t now)
{
	struct pace *pace = &lane->pace;
	uint64_t switches;

	if (now - before < TAKEN_CYCLES)
		return false;
	switches = switches_count();
	if (switches == pace->switches)
		return false;
	pace->switches = switches;
	pace->trouble += TROUBLE_TAKEN;
	return pace->trouble >= TROUBLE_MAX;
}

void pace_done(struct lane *lane, bool spun)
{
	struct pace *pace = &lane->pace;

	pace->last_done = ring_cycles();
	if (!pace->spins)
		return;
	if (!spun)
		pace->trouble += TROUBLE_MISS;
	else if (pace->trouble)
		pace->trouble--;
	if (pace->trouble >= TROUBLE_MAX)
		spinning_ends(pace, pace->last_done);
}
