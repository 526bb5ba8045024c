/*-------------------------------------------------------------------------
 *
 * mongo_stream.c
 *	  A network stream for the driver that a backend can be called out of.
 *
 * The driver's own sockets wait through signals with their full timeout, so
 * a cancel or a shutdown would have to wait for a server that does not
 * answer.  These streams wait in mongo_wire.c.  They are made by
 * mongo_connect.c, the client's stream initiator; TLS is put on top there.
 *
 * When reading, the deadline moves with each byte received: the socket
 * timeout is about silence, not about slow networks.
 *
 * A call that leaves a wait early fails with ECANCELED, which the driver
 * takes for a broken connection.  (Not EINTR, with which it tries again.)
 *
 * The driver runs the hello command on all servers at once, for which
 * poll_streams() takes several streams.
 *
 * A stream may have no socket: mongo_connect.c says why.  Polling reports an
 * error for it at once, and nothing can be read or written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source/mongo.h"
#include "source/mongo_wire.h"
#include "storage/fd.h"

/* Our tag in mongoc_stream_t.type; the driver's are small numbers. */
#define STREAM_TYPE	0x4D4D

/* Keeps why a connection broke that had worked. */
static void
note_lost(MmWireStream *stream, int code, int timeout_ms)
{
	MmWire	   *wire = stream->wire;
	char		duration[32];

	if (!stream->answered || wire->leave != MM_WIRE_STAY)
		return;
	wire->lost = true;
	wire->lost_silent = code == ETIMEDOUT;
	if (code == 0 || code == ECONNRESET || code == EPIPE)
		snprintf(wire->lost_text, sizeof(wire->lost_text),
				 "The connection was closed by %s.", stream->host);
	else if (code == ETIMEDOUT)
		snprintf(wire->lost_text, sizeof(wire->lost_text),
				 "No data from %s for %s.", stream->host,
				 mm_mongo_wire_print_duration(timeout_ms, duration,
											  sizeof(duration)));
	else
		snprintf(wire->lost_text, sizeof(wire->lost_text),
				 "Connection to %s: %s.", stream->host, strerror(code));
}

/* Waits for one stream; the reason of a failure goes to last_errno. */
static bool
wait_for_stream(MmWireStream *stream, short events, int64 deadline)
{
	struct pollfd fd = {.fd = stream->sock, .events = events};
	MmWireWait	result = mm_mongo_wire_wait(stream->wire, &fd, 1, deadline);

	if (result == MM_WIRE_WAIT_READY)
		return true;
	/* Not EINTR: the driver takes that for an invitation to try again. */
	stream->last_errno = result == MM_WIRE_WAIT_LEFT ? ECANCELED : ETIMEDOUT;
	return false;
}

/* One recv(); true with *received > 0, or waited and to be called again. */
static bool
receive_some(MmWireStream *stream, void *buffer, size_t size, int timeout_ms,
			 int64 deadline, ssize_t *received)
{
	*received = recv(stream->sock, buffer, size, 0);
	if (*received > 0)
	{
		stream->answered = true;
		return true;
	}
	stream->last_errno = *received == 0 ? 0 : errno;
	stream->closed = *received == 0;
	if (*received < 0 && errno == EINTR)
		return true;
	if (*received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
	{
		if (timeout_ms == 0)
			return false;
		if (wait_for_stream(stream, POLLIN, deadline))
			return true;
	}
	note_lost(stream, stream->last_errno, timeout_ms);
	return false;
}

/* Reads until min_bytes are there, or all buffers are full. */
static ssize_t
stream_readv(mongoc_stream_t *base, mongoc_iovec_t *iov, size_t iovcnt,
			 size_t min_bytes, int32_t timeout_msec)
{
	MmWireStream *stream = (MmWireStream *) base;
	int64		deadline = mm_mongo_wire_deadline(timeout_msec);
	size_t		current = 0;
	size_t		filled = 0;		/* of the current buffer */
	ssize_t		total = 0;

	while (current < iovcnt)
	{
		ssize_t		received;

		if (filled == iov[current].iov_len)
		{
			current++;
			filled = 0;
			continue;
		}
		if (total > 0 && total >= min_bytes)
			break;
		if (!receive_some(stream, (char *) iov[current].iov_base + filled,
						  iov[current].iov_len - filled, timeout_msec,
						  deadline, &received))
		{
			errno = stream->last_errno;
			/* An end of the stream is no error to one who asks for 0. */
			return errno == 0 && total >= min_bytes ? total : -1;
		}
		if (received > 0)
		{
			filled += received;
			total += received;
			deadline = mm_mongo_wire_deadline(timeout_msec);
		}
	}
	return total;
}

/* What is left of iov behind the first "done" bytes, at most max parts. */
static int
remaining_parts(const mongoc_iovec_t *iov, size_t iovcnt, size_t done,
				struct iovec *parts, int max)
{
	int			nparts = 0;

	for (size_t i = 0; i < iovcnt && nparts < max; i++)
	{
		if (done >= iov[i].iov_len)
		{
			done -= iov[i].iov_len;
			continue;
		}
		parts[nparts].iov_base = (char *) iov[i].iov_base + done;
		parts[nparts].iov_len = iov[i].iov_len - done;
		nparts++;
		done = 0;
	}
	return nparts;
}

/* Writes everything, or less when it does not go within the timeout. */
static ssize_t
stream_writev(mongoc_stream_t *base, mongoc_iovec_t *iov, size_t iovcnt,
			  int32_t timeout_msec)
{
	MmWireStream *stream = (MmWireStream *) base;
	int64		deadline = mm_mongo_wire_deadline(timeout_msec);
	ssize_t		total = 0;

	for (;;)
	{
		struct iovec parts[16];
		struct msghdr message = {.msg_iov = parts};
		ssize_t		sent;

		message.msg_iovlen = remaining_parts(iov, iovcnt, total, parts,
											 lengthof(parts));
		if (message.msg_iovlen == 0)
			return total;
		sent = sendmsg(stream->sock, &message, MSG_NOSIGNAL);
		if (sent >= 0)
		{
			total += sent;
			continue;
		}
		stream->last_errno = errno;
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
		{
			if (timeout_msec == 0)
				break;
			if (wait_for_stream(stream, POLLOUT, deadline))
				continue;
		}
		note_lost(stream, stream->last_errno, timeout_msec);
		break;
	}
	errno = stream->last_errno;
	return total > 0 ? total : -1;
}

/*
 * Waits for several streams of one client.  When we have to leave, every
 * stream is reported as failed, so that the driver gives up at once instead
 * of waiting again.
 */
static ssize_t
poll_streams(mongoc_stream_poll_t *streams, size_t nstreams, int32_t timeout)
{
	struct pollfd *fds = bson_malloc0(nstreams * sizeof(struct pollfd));
	MmWire	   *wire = ((MmWireStream *) streams[0].stream)->wire;
	ssize_t		nready = 0;
	MmWireWait	result;

	for (size_t i = 0; i < nstreams; i++)
	{
		fds[i].fd = ((MmWireStream *) streams[i].stream)->sock;
		fds[i].events = streams[i].events;
		if (fds[i].fd < 0)
			timeout = 0;
	}
	result = mm_mongo_wire_wait(wire, fds, nstreams,
								mm_mongo_wire_deadline(timeout));
	for (size_t i = 0; i < nstreams; i++)
	{
		streams[i].revents = result == MM_WIRE_WAIT_LEFT || fds[i].fd < 0 ?
			POLLERR : fds[i].revents;
		if (streams[i].revents != 0)
			nready++;
		/* The driver does not read from it any more, so we never see 0. */
		if (fds[i].revents & (POLLERR | POLLHUP))
			((MmWireStream *) streams[i].stream)->closed = true;
	}
	bson_free(fds);
	return nready;
}

static int
stream_close(mongoc_stream_t *base)
{
	MmWireStream *stream = (MmWireStream *) base;

	if (stream->sock >= 0)
	{
		close(stream->sock);
		ReleaseExternalFD();
		stream->sock = -1;
	}
	return 0;
}

static void
stream_destroy(mongoc_stream_t *base)
{
	stream_close(base);
	bson_free(base);
}

/*
 * The driver gives the stream up.  If the server has never said a word, this
 * is all we learn about a failed discovery.
 */
static void
stream_failed(mongoc_stream_t *base)
{
	MmWireStream *stream = (MmWireStream *) base;
	char		text[MM_WIRE_SENTENCE];

	if (stream->sock >= 0 && !stream->answered &&
		stream->wire->leave == MM_WIRE_STAY)
	{
		if (mm_mongo_stream_is_closed(stream))
		{
			snprintf(text, sizeof(text),
					 "The connection was closed by %s without an answer.",
					 stream->host);
			mm_mongo_wire_note(stream->wire, MM_WIRE_CLOSED, text);
		}
		else
			mm_mongo_wire_note_no_answer(stream->wire, stream->host);
	}
	stream_destroy(base);
}

static int
stream_flush(mongoc_stream_t *base)
{
	return 0;
}

static int
stream_setsockopt(mongoc_stream_t *base, int level, int optname, void *optval,
				  mongoc_socklen_t optlen)
{
	return setsockopt(((MmWireStream *) base)->sock, level, optname, optval,
					  optlen);
}

static bool
stream_check_closed(mongoc_stream_t *base)
{
	char		byte;
	ssize_t		received = recv(((MmWireStream *) base)->sock, &byte, 1,
								MSG_PEEK | MSG_DONTWAIT);

	return received == 0 ||
		(received < 0 && errno != EAGAIN && errno != EWOULDBLOCK &&
		 errno != EINTR);
}

static bool
stream_timed_out(mongoc_stream_t *base)
{
	return ((MmWireStream *) base)->last_errno == ETIMEDOUT;
}

static bool
stream_should_retry(mongoc_stream_t *base)
{
	int			code = ((MmWireStream *) base)->last_errno;

	return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

mongoc_stream_t *
mm_mongo_stream_new(MmWire *wire, int sock, const char *host)
{
	MmWireStream *stream = bson_malloc0(sizeof(MmWireStream));

	stream->base.type = STREAM_TYPE;
	stream->base.destroy = stream_destroy;
	stream->base.close = stream_close;
	stream->base.flush = stream_flush;
	stream->base.writev = stream_writev;
	stream->base.readv = stream_readv;
	stream->base.setsockopt = stream_setsockopt;
	stream->base.check_closed = stream_check_closed;
	stream->base.poll = poll_streams;
	stream->base.failed = stream_failed;
	stream->base.timed_out = stream_timed_out;
	stream->base.should_retry = stream_should_retry;
	stream->wire = wire;
	stream->sock = sock;
	strlcpy(stream->host, host, sizeof(stream->host));
	return &stream->base;
}
