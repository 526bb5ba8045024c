/*-------------------------------------------------------------------------
 *
 * pages.c
 *	  Pages that a load adds to its table, some at a time.
 *
 * PostgreSQL 15 adds one page at a time, with one system call each, as long
 * as nobody waits for the lock of extension (hio.c); 16 and later add more the
 * more a BulkInsertState has added, and this file has nothing to do there.
 *
 * A transaction that has stored more than a little adds pages in steps, the
 * first of FIRST_STEP_PAGES, the others as large as all before them, up to
 * STEP_PAGES: under the lock of extension, buffers for them are taken, zeroed
 * and locked, then the file grows by as many zeros.  From there on these are
 * pages like any other that is new: whoever comes across one may use it,
 * VACUUM finds it, and a crash or an error leaves at worst empty pages.
 * Hardly anybody does (INSERT tries the last page of the file): this process
 * hands them one by one to heap_multi_insert(), as the target block of the
 * relation.  That looks at the room in the page, under its lock; so what is
 * said here about room is a guess, and when it is wrong the server finds
 * a page by itself.
 *
 * The buffers come before the file grows, as in core: a page that is in the
 * file may be filled by another process and leave the buffers, and to zero it
 * then would lose rows.  They stay locked until the zeros are written: a map
 * of free space from before a crash may lead others to a buffer that is behind
 * the end of the file, and what they put there would be overwritten.
 *
 * smgrextend() adds one page, so all but the last are written to the file of
 * the segment, which is found by its name; the last one is added in the
 * ordinary way, and has the segment synced at the next checkpoint.  Not
 * a hole in the file, which smgrextend() would allow: a disk that is full has
 * to be noticed here, not when buffers are written.  When pages cannot be had
 * in this way, the server adds its own, and says what is wrong; so it does
 * with the first page of a segment, whose file it has to make.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "sink/pages.h"

#ifdef MM_SERVER_ADDS_PAGES

int
mm_pages_prepare(MmPages *pages, Relation rel, BulkInsertState bulk,
				 TupleTableSlot **slots, int n)
{
	return n;
}

void
mm_pages_release(MmPages *pages, Relation rel)
{
}

#else

#include <fcntl.h>

#include "access/heaptoast.h"
#include "access/hio.h"
#include "common/relpath.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_iovec.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/memutils.h"

#define FIRST_STEP_PAGES 16
#define STEP_PAGES 64

/*
 * Bytes of a transaction, in rows that are not toasted, that the server finds
 * pages for: first those that were left over by others, as many as one may
 * leave.  A slow load, whose transactions are small, adds no page before it
 * needs it.
 */
#define STORED_BEFORE (STEP_PAGES * BLCKSZ)

/*
 * COPY's ring, kept from one transaction to the next: with a ring that is new
 * each time, the process would come to touch all of the shared buffers.
 */
static BufferAccessStrategy
get_ring(void)
{
	static BufferAccessStrategy ring = NULL;

	if (ring == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		ring = GetAccessStrategy(BAS_BULKWRITE);
		MemoryContextSwitchTo(old);
	}
	return ring;
}

/*
 * The file of the segment that a page belongs to; -1 when there is none, as at
 * the start of each segment but the first.
 */
static int
open_segment(Relation rel, BlockNumber page)
{
	char	   *path = relpathperm(rel->rd_node, MAIN_FORKNUM);
	BlockNumber segment = page / RELSEG_SIZE;

	if (segment > 0)
		path = psprintf("%s.%u", path, segment);
	return OpenTransientFile(path, O_RDWR | PG_BINARY);
}

/*
 * Writes pages of zeros; one call takes PG_IOV_MAX of them, and refuses more.
 * False: perhaps fewer were written.
 */
static bool
write_zeros(int fd, BlockNumber first, int n, char *zeros)
{
	struct iovec iov[PG_IOV_MAX];

	for (int i = 0; i < PG_IOV_MAX; i++)
		iov[i] = (struct iovec) {.iov_base = zeros, .iov_len = BLCKSZ};
	for (int done = 0; done < n; done += PG_IOV_MAX)
	{
		int			some = Min(n - done, PG_IOV_MAX);
		off_t		at = (off_t) BLCKSZ * (first % RELSEG_SIZE + done);

		if (pg_pwritev_with_retry(fd, iov, some, at) !=
			(ssize_t) BLCKSZ * some)
			return false;
	}
	return true;
}

/*
 * The file, which ends before the first of these pages, grows by them.  False:
 * perhaps by fewer.
 */
static bool
grow_file(Relation rel, int fd, BlockNumber first, int n)
{
	static PGAlignedBlock zeros;
	bool		written;

	pgstat_report_wait_start(WAIT_EVENT_DATA_FILE_EXTEND);
	written = write_zeros(fd, first, n - 1, zeros.data);
	pgstat_report_wait_end();
	if (written)
		smgrextend(RelationGetSmgr(rel), MAIN_FORKNUM, first + n - 1,
				   zeros.data, false);
	return written;
}

/*
 * Buffers of pages behind the end, locked.  Their number: fewer when one is
 * there already, and not empty, which the server complains of.
 */
static int
take_buffers(Relation rel, BlockNumber first, int n, Buffer *buffers)
{
	for (int i = 0; i < n; i++)
	{
		buffers[i] = ReadBufferExtended(rel, MAIN_FORKNUM, first + i,
										RBM_ZERO_AND_LOCK, get_ring());
		if (!PageIsNew(BufferGetPage(buffers[i])))
			return i + 1;
	}
	return n;
}

/*
 * As many as are added next, behind this many: within a segment, and with no
 * more buffers pinned than there are for each process.
 */
static int
count_addable(const MmPages *pages, BlockNumber first)
{
	int			step = Max(Min(pages->added, STEP_PAGES), FIRST_STEP_PAGES);

	if (first > MaxBlockNumber - STEP_PAGES)
		return 0;
	return Min(Min(step, RELSEG_SIZE - first % RELSEG_SIZE),
			   NBuffers / MaxBackends);
}

/* With the lock of extension held.  No pages when they cannot be had. */
static void
add_pages_locked(MmPages *pages, Relation rel)
{
	BlockNumber first = RelationGetNumberOfBlocks(rel);
	int			n = count_addable(pages, first);
	int			fd = n > 1 ? open_segment(rel, first) : -1;
	Buffer		buffers[STEP_PAGES];
	int			taken;

	if (fd < 0)
		return;
	taken = take_buffers(rel, first, n, buffers);
	if (PageIsNew(BufferGetPage(buffers[taken - 1])) &&
		grow_file(rel, fd, first, n))
	{
		pages->next = first;
		pages->end = first + n;
		pages->added += n;
	}
	while (taken > 0)
		UnlockReleaseBuffer(buffers[--taken]);
	CloseTransientFile(fd);
}

static Size
page_room(Relation rel, Page page)
{
	Size		room = page ? PageGetExactFreeSpace(page) :
		BLCKSZ - SizeOfPageHeaderData;
	Size		kept = RelationGetTargetPageFreeSpace(rel,
													  HEAP_DEFAULT_FILLFACTOR);

	return room > kept ? room - kept : 0;
}

/* In the page that comes next; read without its lock. */
static Size
current_room(Relation rel, BulkInsertState bulk)
{
	return BufferIsValid(bulk->current_buf) ?
		page_room(rel, BufferGetPage(bulk->current_buf)) : 0;
}

/* Makes the next page the one that rows go to; false when there is none. */
static bool
next_page(MmPages *pages, Relation rel, BulkInsertState bulk)
{
	if (pages->next == pages->end)
	{
		LockRelationForExtension(rel, ExclusiveLock);
		add_pages_locked(pages, rel);
		UnlockRelationForExtension(rel, ExclusiveLock);
	}
	if (pages->next == pages->end)
		return false;
	ReleaseBulkInsertStatePin(bulk);
	RelationSetTargetBlock(rel, pages->next++);
	return true;
}

/* The bytes of the tuple that the slot forms, and keeps. */
static Size
tuple_size(TupleTableSlot *slot)
{
	return ExecFetchSlotHeapTuple(slot, true, NULL)->t_len;
}

/* Rows from the first on of which nobody knows what is left when toasted. */
static int
count_toasted(TupleTableSlot **slots, int n)
{
	int			rows = 0;

	while (rows < n && tuple_size(slots[rows]) > TOAST_TUPLE_THRESHOLD)
		rows++;
	return rows;
}

static int
count_fitting(Size room, TupleTableSlot **slots, int n)
{
	int			rows = 0;

	while (rows < n)
	{
		Size		size = MAXALIGN(tuple_size(slots[rows])) +
			sizeof(ItemIdData);

		if (size > room)
			break;
		room -= size;
		rows++;
	}
	return rows;
}

int
mm_pages_prepare(MmPages *pages, Relation rel, BulkInsertState bulk,
				 TupleTableSlot **slots, int n)
{
	int			rows;

	if (pages->stored < STORED_BEFORE)
	{
		for (int i = 0; i < n; i++)
		{
			Size		size = tuple_size(slots[i]);

			if (size <= TOAST_TUPLE_THRESHOLD)
				pages->stored += size;
		}
		return n;
	}
	rows = count_toasted(slots, n);
	if (rows == 0)
		rows = count_fitting(current_room(rel, bulk), slots, n);
	if (rows > 0)
		return rows;
	if (!next_page(pages, rel, bulk))
		return n;
	return Max(count_fitting(page_room(rel, NULL), slots, n), 1);
}

void
mm_pages_release(MmPages *pages, Relation rel)
{
	for (BlockNumber page = pages->next; page < pages->end; page++)
		RecordPageWithFreeSpace(rel, page, BLCKSZ - SizeOfPageHeaderData);
	if (pages->next < pages->end)
		FreeSpaceMapVacuumRange(rel, pages->next, pages->end);
}

#endif							/* MM_SERVER_ADDS_PAGES */
