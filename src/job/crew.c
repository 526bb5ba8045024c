/*-------------------------------------------------------------------------
 *
 * crew.c
 *	  The loaders of one job: start, replacement, stop.
 *
 * A loader has a slot in the shared memory of the job, where it publishes
 * which chunk it works on.  One that ends by itself has given its chunk back;
 * of one that could not, the chunk is given back here, when the postmaster
 * says that it is gone.
 *
 * How many are wanted is in the shared memory, where they look between batches
 * and while they wait for the source; to stop them, it is none.  One that is
 * still there after STOP_PATIENCE_MS may wait for somebody's lock: its query
 * is canceled, which loses what it has read since its last checkpoint, and no
 * more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "job/catalog.h"
#include "job/crew.h"

#define POLL_MS 250
/* After one that found no worker slot. */
#define START_RETRY_MS 5000
/* After one that ended with work in its hands, or before it began. */
#define RESTART_MS 1000
#define RESTART_DOUBLINGS 3
#define STOP_PATIENCE_MS 500

/* At exit, by an error too: the postmaster ends what we started. */
static void
terminate_loaders(int code, Datum arg)
{
	MmCrew	   *crew = (MmCrew *) DatumGetPointer(arg);

	for (int i = 0; i < crew->shared->nloaders; i++)
		if (crew->loaders[i] != NULL)
			TerminateBackgroundWorker(crew->loaders[i]);
}

MmCrew *
mm_crew_create(const MmWorkerArgs *args, int nloaders, const MmCounters *books)
{
	MmCrew	   *crew = palloc0(sizeof(MmCrew));

	crew->context = CurrentMemoryContext;
	crew->args = *args;
	crew->shared = mm_shared_create(args->job_id, nloaders, books,
									&crew->args.shared_handle);
	crew->loaders = palloc0(nloaders * sizeof(BackgroundWorkerHandle *));
	before_shmem_exit(terminate_loaders, PointerGetDatum(crew));
	return crew;
}

int
mm_crew_count(const MmCrew *crew)
{
	int			n = 0;

	for (int i = 0; i < crew->shared->nloaders; i++)
		n += crew->loaders[i] != NULL;
	return n;
}

int
mm_crew_count_begun(const MmCrew *crew)
{
	int			n = 0;

	for (int i = 0; i < crew->shared->nloaders; i++)
	{
		MmLoaderState state;

		if (crew->loaders[i] == NULL)
			continue;
		mm_shared_read_loader(crew->shared, i, &state);
		n += state.pid != 0;
	}
	return n;
}

static void
wait_before_next(MmCrew *crew, int ms)
{
	crew->next_start = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

bool
mm_crew_start(MmCrew *crew, int want, int allowed)
{
	int			have = mm_crew_count(crew);
	int			slots = Min(want, crew->shared->nloaders);

	if (GetCurrentTimestamp() < crew->next_start)
		return false;
	for (int i = 0; i < slots && have < want; i++)
	{
		MmWorkerArgs args = crew->args;
		MemoryContext old;

		if (crew->loaders[i] != NULL)
			continue;
		args.slot = i;
		old = MemoryContextSwitchTo(crew->context);
		if (allowed-- > 0)
			crew->loaders[i] = mm_worker_start_loader(&args);
		MemoryContextSwitchTo(old);
		if (crew->loaders[i] == NULL)
		{
			wait_before_next(crew, START_RETRY_MS);
			break;
		}
		have++;
	}
	return true;
}

/*
 * The pause grows with the attempts.  Of loaders that were started together,
 * the first to end begins it.
 */
static void
count_unborn(MmCrew *crew)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now < crew->unborn_until)
		return;
	if (crew->unborn++ == 0)
		crew->unborn_since = now;
	crew->unborn_last = now;
	wait_before_next(crew, RESTART_MS << Min(crew->unborn - 1,
											 RESTART_DOUBLINGS));
	crew->unborn_until = crew->next_start;
}

/*
 * A loader has ended: normally without a chunk, which it would have given
 * back itself.  One that did not, or that never came so far, is replaced
 * after a pause, or a cause that lasts would make the postmaster start
 * processes all the time.
 */
static void
see_off(MmCrew *crew, int slot)
{
	MmLoaderState state;

	mm_shared_read_loader(crew->shared, slot, &state);
	mm_shared_clear_loader(crew->shared, slot);
	if (state.pid == 0)
	{
		count_unborn(crew);
		return;
	}
	crew->unborn = 0;
	if (state.chunk_no == 0)
		return;
	wait_before_next(crew, RESTART_MS);
	mm_worker_tx_begin();
	if (mm_catalog_exists())
		mm_chunk_give_back(crew->args.job_id, state.chunk_no, state.attempt);
	mm_worker_tx_commit();
}

static void
reset_orphans(const MmCrew *crew)
{
	mm_worker_tx_begin();
	if (mm_catalog_exists())
		mm_chunk_reset_orphans(crew->args.job_id, true);
	mm_worker_tx_commit();
}

/* Was there a loader, and is it gone? */
static bool
has_ended(const MmCrew *crew, int slot)
{
	pid_t		pid;

	return crew->loaders[slot] != NULL &&
		GetBackgroundWorkerPid(crew->loaders[slot], &pid) == BGWH_STOPPED;
}

bool
mm_crew_has_ended(const MmCrew *crew)
{
	for (int i = 0; i < crew->shared->nloaders; i++)
	{
		if (has_ended(crew, i))
			return true;
	}
	return false;
}

/*
 * The chunk of a loader is the one that it published; when no loader is left,
 * it is any that is still running, since one may die between claim and
 * publication.
 */
void
mm_crew_reap(MmCrew *crew)
{
	bool		reaped = false;

	for (int i = 0; i < crew->shared->nloaders; i++)
	{
		if (!has_ended(crew, i))
			continue;
		pfree(crew->loaders[i]);
		crew->loaders[i] = NULL;
		see_off(crew, i);
		reaped = true;
	}
	if (reaped && mm_crew_count(crew) == 0)
		reset_orphans(crew);
}

/* SIGUSR1 only sets their latch, in case one waits; SIGINT ends a query. */
static void
signal_loaders(const MmCrew *crew, int signal)
{
	for (int i = 0; i < crew->shared->nloaders; i++)
	{
		pid_t		pid;

		if (crew->loaders[i] != NULL &&
			GetBackgroundWorkerPid(crew->loaders[i], &pid) == BGWH_STARTED)
			kill(pid, signal);
	}
}

void
mm_crew_limit(MmCrew *crew, int n)
{
	pg_atomic_write_u32(&crew->shared->wanted_loaders, n);
	crew->next_start = 0;
	crew->unborn = 0;
	crew->unborn_until = 0;
	signal_loaders(crew, SIGUSR1);
}

void
mm_crew_stop(MmCrew *crew)
{
	TimestampTz since = GetCurrentTimestamp();

	pg_atomic_write_u32(&crew->shared->wanted_loaders, 0);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		mm_crew_reap(crew);
		if (mm_crew_count(crew) == 0)
			break;
		signal_loaders(crew, TimestampDifferenceExceeds(since, now,
														STOP_PATIENCE_MS) ?
					   SIGINT : SIGUSR1);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, POLL_MS, MM_WAIT_EVENT_LOADERS);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
