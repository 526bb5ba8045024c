/*-------------------------------------------------------------------------
 *
 * mongo_guard.c
 *	  A stream that lets only well-formed messages through to the driver.
 *
 * The driver checks the length of a message against limits that the server
 * told it.  Then it takes a reply for one of the kind that it asked for, the
 * length of the document in it as it stands, and the document for a valid
 * one: garbage, sent by a broken server or on purpose, makes it read behind
 * its buffer or abort the process.  Anybody who may name a server could so
 * end all sessions.  This stream is put on top of the connection, behind TLS,
 * and fails as a broken connection does when
 *
 *	- the message is too long, or too short to be one,
 *	- it answers OP_MSG with another opcode than OP_MSG, or OP_QUERY with
 *	  another than OP_REPLY,
 *	- an OP_MSG has required flags (a checksum, more to come; nobody asked for
 *	  them), or is not one section of kind 0 with one document that fills the
 *	  message,
 *	- an OP_REPLY is not one document that fills the message,
 *	- it is compressed, and nobody asked for that,
 *	- the document is none that the driver can bear (mongo_sound.c).
 *
 * (MongoDB wire protocol, sections OP_MSG and OP_REPLY.)
 *
 * Messages arrive in pieces of any size.  The first HEAD bytes of each are
 * kept.  Large ones come with their document in one piece, which is checked
 * where it lies; one in several pieces is put together in a copy.
 *
 * XXX A compressed message is not looked into; that would need the libraries
 * that the driver has for it.  So only superusers may ask for compression,
 * and thereby trust the server (uri.c, resolve.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdlib.h>

#include "source/mongo.h"
#include "source/mongo_wire.h"

/* Our tag in mongoc_stream_t.type, beside that of mongo_stream.c. */
#define GUARD_TYPE	0x4D4E

#define HEADER		16
#define OP_REPLY	1
#define OP_QUERY	2004
#define OP_COMPRESSED 2012
#define OP_MSG		2013
/* Bytes in front of the document. */
#define MSG_FRONT	21
#define REPLY_FRONT	36
/* What must be seen of a message to judge it. */
#define HEAD		(REPLY_FRONT + 4)

/* Larger than any message of a server; smaller than what malloc gives. */
#define LARGEST		(64 * 1024 * 1024)

/* The lower half of the flags must be understood. */
#define MSG_REQUIRED	0xFFFF

/* A request as it passes: its header, and in a compressed one the opcode. */
typedef struct Request
{
	uint8		head[HEADER + 4];
	uint32		seen;			/* bytes of the message at work */
	uint32		opcode;			/* of the last one that was seen whole */
} Request;

typedef struct Guard
{
	mongoc_stream_t base;
	mongoc_stream_t *below;
	MmWire	   *wire;
	Request		request;
	uint8		head[HEAD];
	uint32		seen;			/* bytes of the message at work */
	uint32		length;			/* of it, once seen >= 4 */
	uint8	   *copy;			/* of a document that comes in pieces, or NULL */
	bool		broken;			/* by a message that was refused */
	char		host[BSON_HOST_NAME_MAX + 8];
} Guard;

static uint32
number_at(const uint8 *data)
{
	uint32		number;

	memcpy(&number, data, sizeof(number));
	return BSON_UINT32_FROM_LE(number);
}

static uint32
head_number(const Guard *guard, int at)
{
	return number_at(guard->head + at);
}

/* Where the document begins; 0: in no message that we look into. */
static uint32
document_start(const Guard *guard)
{
	switch (head_number(guard, 12))
	{
		case OP_MSG:
			return MSG_FRONT;
		case OP_REPLY:
			return REPLY_FRONT;
		default:
			return 0;
	}
}

/* Bytes of the head that are needed to judge it. */
static uint32
head_size(const Guard *guard)
{
	if (guard->seen < HEADER || document_start(guard) == 0)
		return HEADER;
	return document_start(guard) + 4;
}

static bool
is_msg_in_order(const Guard *guard)
{
	return guard->request.opcode == OP_MSG &&
		(head_number(guard, 16) & MSG_REQUIRED) == 0 &&
		guard->head[20] == 0 &&
		guard->length >= MSG_FRONT + 5 &&
		head_number(guard, MSG_FRONT) == guard->length - MSG_FRONT;
}

static bool
is_reply_in_order(const Guard *guard)
{
	return guard->request.opcode == OP_QUERY &&
		head_number(guard, REPLY_FRONT - 4) == 1 &&
		guard->length >= REPLY_FRONT + 5 &&
		head_number(guard, REPLY_FRONT) == guard->length - REPLY_FRONT;
}

/* Judges a head that is complete. */
static bool
is_head_in_order(const Guard *guard)
{
	switch (head_number(guard, 12))
	{
		case OP_MSG:
			return is_msg_in_order(guard);
		case OP_REPLY:
			return is_reply_in_order(guard);
		case OP_COMPRESSED:
			return guard->wire->compresses;
		default:
			return false;
	}
}

/*
 * Takes n bytes of a message, the first of which is number "from", and whose
 * head is complete.  False: the document is damaged, or there is no memory.
 */
static bool
take_document(Guard *guard, const uint8 *data, uint32 from, uint32 n)
{
	uint32		start = document_start(guard);
	uint32		len = head_number(guard, start);
	bool		sound;

	if (guard->copy == NULL)
	{
		if (from <= start && from + n >= start + len)
			return mm_mongo_reply_is_sound(data + (start - from), len);
		guard->copy = malloc(len);
		if (guard->copy == NULL)
			return false;
		memcpy(guard->copy, guard->head + start, 4);
	}
	if (from < start + 4)
	{
		data += start + 4 - from;
		n -= start + 4 - from;
		from = start + 4;
	}
	memcpy(guard->copy + (from - start), data, Min(n, start + len - from));
	if (from + n < start + len)
		return true;
	sound = mm_mongo_reply_is_sound(guard->copy, len);
	free(guard->copy);
	guard->copy = NULL;
	return sound;
}

/*
 * Keeps what is missing of the head.  False: it is not in order.  The driver
 * acts on the length as soon as it has these four bytes; and a message that
 * ends within its head would be complete before it is judged.
 */
static bool
take_head(Guard *guard, const uint8 *data, size_t size)
{
	while (guard->seen < head_size(guard) && size > 0)
	{
		uint32		n = Min(head_size(guard) - guard->seen, size);

		memcpy(guard->head + guard->seen, data, n);
		guard->seen += n;
		data += n;
		size -= n;
		if (guard->seen < 4)
			return true;
		guard->length = head_number(guard, 0);
		if (guard->length < head_size(guard) || guard->length > LARGEST)
			return false;
	}
	return guard->seen < head_size(guard) || is_head_in_order(guard);
}

/* Looks at bytes that have arrived.  False: they are not in order. */
static bool
inspect(Guard *guard, const uint8 *data, size_t size)
{
	while (size > 0)
	{
		uint32		from = guard->seen;
		uint32		n;

		if (guard->seen < head_size(guard) && !take_head(guard, data, size))
			return false;
		if (guard->seen < head_size(guard))
			return true;
		n = Min(guard->length - from, size);
		if (document_start(guard) != 0 && !take_document(guard, data, from, n))
			return false;
		guard->seen = from + n == guard->length ? 0 : from + n;
		data += n;
		size -= n;
	}
	return true;
}

static ssize_t
refuse(Guard *guard)
{
	MmWire	   *wire = guard->wire;
	char		text[MM_WIRE_SENTENCE];

	snprintf(text, sizeof(text), "%s sent a malformed message.", guard->host);
	mm_mongo_wire_note(wire, MM_WIRE_OTHER, text);
	wire->lost = true;
	strlcpy(wire->lost_text, text, sizeof(wire->lost_text));
	guard->broken = true;
	errno = EPROTO;
	return -1;
}

/*
 * Reads until min_bytes are there, or the buffer is full.  TLS takes the
 * timeout for the time of a call, and the driver asks for a whole reply in
 * one: here each piece that arrives begins it anew, as in mongo_stream.c.
 */
static ssize_t
read_pieces(Guard *guard, mongoc_iovec_t *buffer, size_t min_bytes,
			int32_t timeout_msec)
{
	size_t		filled = 0;

	do
	{
		mongoc_iovec_t rest = {
			.iov_base = (char *) buffer->iov_base + filled,
			.iov_len = buffer->iov_len - filled
		};
		ssize_t		received = guard->below->readv(guard->below, &rest, 1,
												   Min(min_bytes, 1),
												   timeout_msec);

		if (received <= 0)
			return filled == 0 ? received : -1;
		filled += received;
	} while (filled < buffer->iov_len && filled < min_bytes);
	return filled;
}

/* What is read is inspected at once, so that a reply lies in one piece. */
static ssize_t
guard_readv(mongoc_stream_t *base, mongoc_iovec_t *iov, size_t iovcnt,
			size_t min_bytes, int32_t timeout_msec)
{
	Guard	   *guard = (Guard *) base;
	size_t		total = 0;

	for (size_t i = 0; i < iovcnt && (total == 0 || total < min_bytes); i++)
	{
		ssize_t		received;

		if (iov[i].iov_len == 0)
			continue;
		received = read_pieces(guard, &iov[i],
							   min_bytes > total ? min_bytes - total : 0,
							   timeout_msec);
		if (received <= 0)
			return total == 0 ? received : -1;
		if (!inspect(guard, iov[i].iov_base, received))
			return refuse(guard);
		total += received;
	}
	return total;
}

/* Looks at bytes that were sent, for the opcodes of the requests. */
static void
note_request(Request *request, const uint8 *data, size_t size)
{
	while (size > 0)
	{
		bool		in_head = request->seen < sizeof(request->head);
		uint32		end = in_head ? sizeof(request->head) :
			number_at(request->head);
		uint32		n = Min(end - request->seen, size);

		if (in_head)
			memcpy(request->head + request->seen, data, n);
		request->seen += n;
		data += n;
		size -= n;
		if (request->seen < end)
			return;
		if (!in_head)
			request->seen = 0;
		else
		{
			request->opcode = number_at(request->head + 12);
			if (request->opcode == OP_COMPRESSED)
				request->opcode = number_at(request->head + HEADER);
		}
	}
}

static ssize_t
guard_writev(mongoc_stream_t *base, mongoc_iovec_t *iov, size_t iovcnt,
			 int32_t timeout_msec)
{
	Guard	   *guard = (Guard *) base;
	ssize_t		sent = guard->below->writev(guard->below, iov, iovcnt,
											timeout_msec);
	ssize_t		left = sent;

	for (size_t i = 0; i < iovcnt && left > 0; i++)
	{
		ssize_t		size = Min(left, iov[i].iov_len);

		note_request(&guard->request, iov[i].iov_base, size);
		left -= size;
	}
	return sent;
}

static int
guard_flush(mongoc_stream_t *base)
{
	return mongoc_stream_flush(((Guard *) base)->below);
}

static int
guard_close(mongoc_stream_t *base)
{
	return mongoc_stream_close(((Guard *) base)->below);
}

static void
guard_destroy(mongoc_stream_t *base)
{
	mongoc_stream_destroy(((Guard *) base)->below);
	free(((Guard *) base)->copy);
	bson_free(base);
}

static void
guard_failed(mongoc_stream_t *base)
{
	mongoc_stream_failed(((Guard *) base)->below);
	free(((Guard *) base)->copy);
	bson_free(base);
}

static int
guard_setsockopt(mongoc_stream_t *base, int level, int optname, void *optval,
				 mongoc_socklen_t optlen)
{
	return mongoc_stream_setsockopt(((Guard *) base)->below, level, optname,
									optval, optlen);
}

/* The driver polls the lowest stream. */
static mongoc_stream_t *
guard_get_base_stream(mongoc_stream_t *base)
{
	return ((Guard *) base)->below;
}

static bool
guard_check_closed(mongoc_stream_t *base)
{
	return mongoc_stream_check_closed(((Guard *) base)->below);
}

static bool
guard_timed_out(mongoc_stream_t *base)
{
	Guard	   *guard = (Guard *) base;

	return !guard->broken && mongoc_stream_timed_out(guard->below);
}

static bool
guard_should_retry(mongoc_stream_t *base)
{
	Guard	   *guard = (Guard *) base;

	return !guard->broken && mongoc_stream_should_retry(guard->below);
}

/* Takes the stream below over. */
mongoc_stream_t *
mm_mongo_guard_new(MmWire *wire, mongoc_stream_t *below, const char *host)
{
	Guard	   *guard = bson_malloc0(sizeof(Guard));

	guard->base.type = GUARD_TYPE;
	guard->base.destroy = guard_destroy;
	guard->base.close = guard_close;
	guard->base.flush = guard_flush;
	guard->base.writev = guard_writev;
	guard->base.readv = guard_readv;
	guard->base.setsockopt = guard_setsockopt;
	guard->base.get_base_stream = guard_get_base_stream;
	guard->base.check_closed = guard_check_closed;
	guard->base.failed = guard_failed;
	guard->base.timed_out = guard_timed_out;
	guard->base.should_retry = guard_should_retry;
	guard->below = below;
	guard->wire = wire;
	strlcpy(guard->host, host, sizeof(guard->host));
	return &guard->base;
}
