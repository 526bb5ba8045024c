/*-------------------------------------------------------------------------
 *
 * mongo_wire.c
 *	  Waiting for the network inside the driver, and what is noted there.
 *
 * Every wait of the driver ends within a tenth of a second when
 *
 *	- a query cancel or a termination is pending,
 *	- the stop check of mm_source_set_stop_check() says so,
 *	- the postmaster is gone,
 *
 * and otherwise when data arrives or the deadline passes.  Deadlines are
 * points of the monotonic clock: signals do not stretch them.
 *
 * Why poll(2) in slices, not WaitLatchOrSocket().  The functions here are
 * called by the driver, so they must not raise; the latch functions can, as
 * they create an event set for each wait (descriptors, memory), and they
 * would leave the process right here on postmaster death, running exit
 * callbacks that close this very client.  They also consume the latch, which
 * belongs to the caller.  poll() does none of that and costs one system call
 * instead of six.  A signal interrupts it at once; one that comes between our
 * check and the call, or a latch set by another process, is noticed when the
 * slice ends.  Data is noticed at once either way.
 *
 * wire->leave keeps why a wait was left, and makes all further waits of the
 * same call fail at once: the driver may try other servers.
 * mm_mongo_finish() looks at it when the driver has returned.
 *
 * The driver reduces nearly every failed connection to "No suitable servers
 * found".  So each failure is noted here as a sentence, for the DETAIL of the
 * error.
 *
 * A process signal barrier, for which DROP DATABASE and others wait in all of
 * the cluster, is served right here: it closes files and calls nothing of the
 * driver, and no error of it leaves this file.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <poll.h>

#include "compat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "source/mongo.h"
#include "source/mongo_wire.h"
#include "storage/pmsignal.h"
#include "storage/procsignal.h"

/* Longest time that a wait does not look around. */
#define SLICE_MS	100

#define NO_DEADLINE	PG_INT64_MAX

static MmStopCheck stop_check = NULL;

static uint32 wait_event;

void
mm_source_set_stop_check(MmStopCheck check)
{
	stop_check = check;
}

/* Outside of the driver, as it may raise. */
void
mm_mongo_wire_init(void)
{
	wait_event = WaitEventExtensionNew_compat("MongoIO");
}

const char *
mm_mongo_wire_print_duration(int milliseconds, char *buffer, size_t size)
{
	if (milliseconds % 1000 == 0)
		snprintf(buffer, size, "%d s", milliseconds / 1000);
	else
		snprintf(buffer, size, "%d ms", milliseconds);
	return buffer;
}

/*
 * A sentence that is there already is not repeated.  That one of several
 * servers is forbidden is not why the others could not be reached.
 */
void
mm_mongo_wire_note(MmWire *wire, MmWireFailure failure, const char *sentence)
{
	size_t		len = strlen(wire->failure_text);

	if (failure != MM_WIRE_FORBIDDEN || wire->failure == MM_WIRE_OK)
		wire->failure = failure;
	if (strstr(wire->failure_text, sentence))
		return;
	snprintf(wire->failure_text + len, sizeof(wire->failure_text) - len,
			 "%s%s", len > 0 ? " " : "", sentence);
}

void
mm_mongo_wire_note_no_answer(MmWire *wire, const char *host)
{
	char		text[MM_WIRE_SENTENCE];
	char		duration[32];

	snprintf(text, sizeof(text), "No answer from %s within %s.", host,
			 mm_mongo_wire_print_duration(wire->connect_timeout_ms, duration,
										  sizeof(duration)));
	mm_mongo_wire_note(wire, MM_WIRE_NO_ANSWER, text);
}

/*
 * Waiting
 */

bool
mm_mongo_wire_must_leave(MmWire *wire)
{
	if (wire->leave != MM_WIRE_STAY)
		return true;
	if (cancel_pending_compat())
		wire->leave = MM_WIRE_PENDING;
	/* Not just a timeout: server discovery would poll again and again. */
	else if (wire->close_deadline != 0 &&
			 bson_get_monotonic_time() >= wire->close_deadline)
		wire->leave = MM_WIRE_PENDING;
	else if (!PostmasterIsAlive())
		wire->leave = MM_WIRE_ORPHANED;
	else if (wire->close_deadline == 0 && stop_check && stop_check())
		wire->leave = MM_WIRE_STOPPED;
	return wire->leave != MM_WIRE_STAY;
}

int64
mm_mongo_wire_deadline(int timeout_ms)
{
	if (timeout_ms < 0)
		return NO_DEADLINE;
	return bson_get_monotonic_time() + (int64) timeout_ms * 1000;
}

static void
serve_barrier(void)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		ProcessProcSignalBarrier();
	}
	PG_CATCH();
	{
		/* It is still pending, and raised again outside. */
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
}

MmWireWait
mm_mongo_wire_wait(MmWire *wire, struct pollfd *fds, int nfds,
				   int64 deadline)
{
	for (;;)
	{
		int64		left;
		int			ready;

		if (mm_mongo_wire_must_leave(wire))
			return MM_WIRE_WAIT_LEFT;
		if (ProcSignalBarrierPending)
			serve_barrier();

		left = deadline - bson_get_monotonic_time();
		left = Max(0, Min(left, SLICE_MS * 1000));
		pgstat_report_wait_start(wait_event);
		/* Rounded up, or the last millisecond would be a busy loop. */
		ready = poll(fds, nfds, (left + 999) / 1000);
		pgstat_report_wait_end();	/* leaves errno alone */

		if (ready > 0)
			return MM_WIRE_WAIT_READY;
		if ((ready < 0 && errno != EINTR) ||
			bson_get_monotonic_time() >= deadline)
			return MM_WIRE_WAIT_TIMEOUT;
	}
}
