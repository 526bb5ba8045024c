/*-------------------------------------------------------------------------
 *
 * mongo_wire.h
 *	  Between mongo_wire.c, mongo_stream.c, mongo_guard.c, mongo_sound.c
 *	  and mongo_connect.c.
 *
 * Everything here runs inside the driver: nothing raises or allocates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_MONGO_WIRE_H
#define MM_MONGO_WIRE_H

#include "postgres.h"

#include <poll.h>

#include "source/mongo.h"

/* Room for a sentence that names a host. */
#define MM_WIRE_SENTENCE	384

typedef enum MmWireWait
{
	MM_WIRE_WAIT_READY,
	MM_WIRE_WAIT_TIMEOUT,
	MM_WIRE_WAIT_LEFT			/* see wire->leave */
} MmWireWait;

/* A stream on a connected socket. */
typedef struct MmWireStream
{
	mongoc_stream_t base;
	MmWire	   *wire;
	int			sock;			/* -1: none, the stream is dead */
	int			last_errno;		/* of the last read or write */
	bool		answered;		/* a byte has been received */
	bool		closed;			/* by the server */
	char		host[BSON_HOST_NAME_MAX + 8];
} MmWireStream;

/* Has the other side ended it? */
static inline bool
mm_mongo_stream_is_closed(const MmWireStream *stream)
{
	return stream->closed || stream->last_errno == ECONNRESET ||
		stream->last_errno == EPIPE;
}

/* Is there a reason to leave the driver?  Sticks in wire->leave. */
extern bool mm_mongo_wire_must_leave(MmWire *wire);

/* The driver's timeout as a point of time; negative: none. */
extern int64 mm_mongo_wire_deadline(int timeout_ms);

/* Waits for an event on one of the descriptors. */
extern MmWireWait mm_mongo_wire_wait(MmWire *wire, struct pollfd *fds,
									 int nfds, int64 deadline);

/* Keeps a sentence on why a server could not be reached. */
extern void mm_mongo_wire_note(MmWire *wire, MmWireFailure failure,
							   const char *sentence);
extern void mm_mongo_wire_note_no_answer(MmWire *wire, const char *host);

/* "10 s" or "1500 ms", in the caller's buffer. */
extern const char *mm_mongo_wire_print_duration(int milliseconds,
												char *buffer, size_t size);

/* Takes a connected socket, reserved with AcquireExternalFD(); or -1. */
extern mongoc_stream_t *mm_mongo_stream_new(MmWire *wire, int sock,
											const char *host);

/* mongo_guard.c: lets only well-formed messages through. */
extern mongoc_stream_t *mm_mongo_guard_new(MmWire *wire,
										   mongoc_stream_t *below,
										   const char *host);

/* mongo_sound.c: can the driver be given this reply? */
extern bool mm_mongo_reply_is_sound(const uint8 *document, uint32 len);

#endif							/* MM_MONGO_WIRE_H */
