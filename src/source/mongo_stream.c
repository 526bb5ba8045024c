/*-------------------------------------------------------------------------
 *
 * mongo_stream.c
 *	  A network stream for the driver that a backend can be called out of.
 *
 * The driver's own sockets wait through signals with their full timeout, so
 * a cancel or a shutdown would have to wait for a server that does not
 * answer.  With this stream, installed as the client's stream initiator,
 * every wait of the driver (connecting, TLS handshake, server discovery,
 * authentication, commands) ends within a tenth of a second when
 *
 *	- a query cancel or a termination is pending,
 *	- the stop check of mm_source_set_stop_check() says so,
 *	- the postmaster is gone,
 *
 * and otherwise when data arrives or the deadline passes.  Deadlines are
 * points of the monotonic clock: signals do not stretch them.  When reading,
 * the deadline moves with each byte received: the socket timeout is about
 * silence, not about slow networks.
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
 * A call that leaves early fails with ECANCELED, which the driver takes for a
 * broken connection.  wire->leave keeps the reason and makes all further
 * waits of the same call fail at once: the driver may try other servers.
 * mm_mongo_finish() looks at it when the driver has returned.
 *
 * Connecting happens in the initiator, one server after the other; the
 * driver then runs the hello command on all of them at once, for which
 * poll_streams() takes several streams.  With tls=true the handshake is part
 * of the initiator, so a server without TLS never sees a plain byte.
 *
 * XXX Name resolution is done by getaddrinfo() and, for mongodb+srv, by the
 * driver with res_nsearch(): both block for the resolver's own timeouts, as
 * they do for libpq in core.  The same holds for the driver's own HTTP
 * requests (OCSP responders named by a certificate, MONGODB-AWS).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "compat.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/pmsignal.h"

/* Longest time that a wait does not look around. */
#define SLICE_MS	100

/* Our tag in mongoc_stream_t.type; the driver's are small numbers. */
#define STREAM_TYPE	0x4D4D

#define NO_DEADLINE	PG_INT64_MAX

typedef struct LatchStream
{
	mongoc_stream_t base;
	MmWire	   *wire;
	int			sock;
	int			last_errno;		/* of the last read or write */
	bool		answered;		/* a byte has been received */
	bool		closed;			/* by the server */
	char		host[BSON_HOST_NAME_MAX + 8];
} LatchStream;

typedef enum WaitResult
{
	WAIT_READY,
	WAIT_TIMEOUT,
	WAIT_LEAVE
} WaitResult;

static MmStopCheck stop_check = NULL;

static uint32 wait_event_connect;
static uint32 wait_event_io;

void
mm_source_set_stop_check(MmStopCheck check)
{
	stop_check = check;
}

/* Outside of the driver, as it may raise. */
void
mm_mongo_stream_init(void)
{
	wait_event_connect = WaitEventExtensionNew_compat("MongoConnect");
	wait_event_io = WaitEventExtensionNew_compat("MongoIO");
}

/* Milliseconds as people say them, in a caller's buffer. */
static const char *
print_duration(int milliseconds, char *buffer, size_t size)
{
	if (milliseconds % 1000 == 0)
		snprintf(buffer, size, "%d s", milliseconds / 1000);
	else
		snprintf(buffer, size, "%d ms", milliseconds);
	return buffer;
}

/* Keeps a sentence on why a server could not be reached. */
static void
note_failure(MmWire *wire, MmWireFailure failure, const char *sentence)
{
	size_t		len = strlen(wire->failure_text);

	wire->failure = failure;
	if (strstr(wire->failure_text, sentence))
		return;
	snprintf(wire->failure_text + len, sizeof(wire->failure_text) - len,
			 "%s%s", len > 0 ? " " : "", sentence);
}

static void
note_no_answer(MmWire *wire, const char *host)
{
	char		text[384];
	char		duration[32];

	snprintf(text, sizeof(text), "No answer from %s within %s.", host,
			 print_duration(wire->connect_timeout_ms, duration,
							sizeof(duration)));
	note_failure(wire, MM_WIRE_NO_ANSWER, text);
}

static void
note_connect_errno(MmWire *wire, const char *host, int code)
{
	char		text[384];

	if (code == ETIMEDOUT)
		note_no_answer(wire, host);
	else if (code == ECONNREFUSED)
	{
		snprintf(text, sizeof(text), "Connection refused by %s.", host);
		note_failure(wire, MM_WIRE_REFUSED, text);
	}
	else
	{
		snprintf(text, sizeof(text), "Connection to %s failed: %s.", host,
				 strerror(code));
		note_failure(wire, MM_WIRE_OTHER, text);
	}
}

/* Keeps why a connection broke that had worked. */
static void
note_lost(LatchStream *stream, int code, int timeout_ms)
{
	MmWire	   *wire = stream->wire;
	char		duration[32];

	if (!stream->answered || wire->leave != MM_WIRE_STAY)
		return;
	wire->lost = true;
	if (code == 0 || code == ECONNRESET || code == EPIPE)
		snprintf(wire->lost_text, sizeof(wire->lost_text),
				 "The connection was closed by %s.", stream->host);
	else if (code == ETIMEDOUT)
		snprintf(wire->lost_text, sizeof(wire->lost_text),
				 "No data from %s for %s.", stream->host,
				 print_duration(timeout_ms, duration, sizeof(duration)));
	else
		snprintf(wire->lost_text, sizeof(wire->lost_text),
				 "Connection to %s: %s.", stream->host, strerror(code));
}

/*
 * Waiting
 */

/* Is there a reason to leave the driver?  Sticks in wire->leave. */
static bool
must_leave(MmWire *wire)
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

/* The driver's timeout: 0 is "do not wait", negative "as long as it takes". */
static int64
deadline_after(int timeout_ms)
{
	if (timeout_ms < 0)
		return NO_DEADLINE;
	return bson_get_monotonic_time() + (int64) timeout_ms * 1000;
}

/* Waits for an event on one of the descriptors. */
static WaitResult
wait_for_events(MmWire *wire, struct pollfd *fds, int nfds, int64 deadline,
				uint32 wait_event)
{
	for (;;)
	{
		int64		left;
		int			ready;

		if (must_leave(wire))
			return WAIT_LEAVE;

		left = deadline - bson_get_monotonic_time();
		left = Max(0, Min(left, SLICE_MS * 1000));
		pgstat_report_wait_start(wait_event);
		/* Rounded up, or the last millisecond would be a busy loop. */
		ready = poll(fds, nfds, (left + 999) / 1000);
		pgstat_report_wait_end();

		if (ready > 0)
			return WAIT_READY;
		if (bson_get_monotonic_time() >= deadline)
			return WAIT_TIMEOUT;
	}
}

static WaitResult
wait_for_socket(MmWire *wire, int sock, short events, int64 deadline,
				uint32 wait_event)
{
	struct pollfd fd = {.fd = sock, .events = events};

	return wait_for_events(wire, &fd, 1, deadline, wait_event);
}

/* The same for a stream; the reason of a failure goes to last_errno. */
static bool
wait_for_stream(LatchStream *stream, short events, int64 deadline)
{
	WaitResult	result = wait_for_socket(stream->wire, stream->sock, events,
										 deadline, wait_event_io);

	if (result == WAIT_READY)
		return true;
	/* Not EINTR: the driver takes that for an invitation to try again. */
	stream->last_errno = result == WAIT_LEAVE ? ECANCELED : ETIMEDOUT;
	return false;
}

/*
 * The stream's functions
 */

/* One recv(); true with *received > 0, or waited and to be called again. */
static bool
receive_some(LatchStream *stream, void *buffer, size_t size, int timeout_ms,
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
	LatchStream *stream = (LatchStream *) base;
	int64		deadline = deadline_after(timeout_msec);
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
			deadline = deadline_after(timeout_msec);
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
	LatchStream *stream = (LatchStream *) base;
	int64		deadline = deadline_after(timeout_msec);
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
	MmWire	   *wire = ((LatchStream *) streams[0].stream)->wire;
	ssize_t		nready = 0;
	WaitResult	result;

	for (size_t i = 0; i < nstreams; i++)
	{
		fds[i].fd = ((LatchStream *) streams[i].stream)->sock;
		fds[i].events = streams[i].events;
	}
	result = wait_for_events(wire, fds, nstreams,
							 deadline_after(timeout), wait_event_io);
	for (size_t i = 0; i < nstreams; i++)
	{
		streams[i].revents = result == WAIT_LEAVE ? POLLERR : fds[i].revents;
		if (streams[i].revents != 0)
			nready++;
	}
	bson_free(fds);
	return nready;
}

static int
stream_close(mongoc_stream_t *base)
{
	LatchStream *stream = (LatchStream *) base;

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
	LatchStream *stream = (LatchStream *) base;
	char		text[384];

	if (!stream->answered && stream->wire->leave == MM_WIRE_STAY)
	{
		if (stream->closed || stream->last_errno == ECONNRESET)
		{
			snprintf(text, sizeof(text),
					 "The connection was closed by %s without an answer.",
					 stream->host);
			note_failure(stream->wire, MM_WIRE_CLOSED, text);
		}
		else
			note_no_answer(stream->wire, stream->host);
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
	return setsockopt(((LatchStream *) base)->sock, level, optname, optval,
					  optlen);
}

static bool
stream_check_closed(mongoc_stream_t *base)
{
	char		byte;
	ssize_t		received = recv(((LatchStream *) base)->sock, &byte, 1,
								MSG_PEEK | MSG_DONTWAIT);

	return received == 0 ||
		(received < 0 && errno != EAGAIN && errno != EWOULDBLOCK &&
		 errno != EINTR);
}

static bool
stream_timed_out(mongoc_stream_t *base)
{
	return ((LatchStream *) base)->last_errno == ETIMEDOUT;
}

static bool
stream_should_retry(mongoc_stream_t *base)
{
	int			code = ((LatchStream *) base)->last_errno;

	return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

/* Takes the descriptor over. */
static mongoc_stream_t *
stream_new(MmWire *wire, int sock, const char *host)
{
	LatchStream *stream = bson_malloc0(sizeof(LatchStream));

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

/*
 * Connecting
 */

static void
set_tcp_options(int sock)
{
	int			on = 1;
	int			idle = 120;
	int			interval = 10;
	int			count = 9;

	/* As the driver's own sockets; failures do no harm. */
	(void) setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void) setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void) setsockopt(sock, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
					  sizeof(interval));
	(void) setsockopt(sock, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* Waits for a connection in progress; 0 or an errno. */
static int
finish_connect(MmWire *wire, int sock, int64 deadline)
{
	int			code = 0;
	socklen_t	len = sizeof(code);

	switch (wait_for_socket(wire, sock, POLLOUT, deadline,
							wait_event_connect))
	{
		case WAIT_LEAVE:
			return ECANCELED;
		case WAIT_TIMEOUT:
			return ETIMEDOUT;
		case WAIT_READY:
			break;
	}
	if (getsockopt(sock, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		return errno;
	return code;
}

/* A connected socket, or -1 with *code set to an errno. */
static int
connect_address(MmWire *wire, const struct sockaddr *address, socklen_t len,
				int64 deadline, int *code)
{
	int			sock;

	if (!AcquireExternalFD())
	{
		*code = errno;
		return -1;
	}
	sock = socket(address->sa_family,
				  SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (sock < 0)
	{
		*code = errno;
		ReleaseExternalFD();
		return -1;
	}
	*code = connect(sock, address, len) < 0 ? errno : 0;
	if (*code == EINPROGRESS || *code == EINTR)
		*code = finish_connect(wire, sock, deadline);
	if (*code != 0)
	{
		close(sock);
		ReleaseExternalFD();
		return -1;
	}
	if (address->sa_family != AF_UNIX)
		set_tcp_options(sock);
	return sock;
}

static bool
is_link_local(const struct sockaddr *address)
{
	const uint8 *v4 = NULL;

	if (address->sa_family == AF_INET)
		v4 = (const uint8 *) &((const struct sockaddr_in *) address)->sin_addr;
	else if (address->sa_family == AF_INET6)
	{
		const struct in6_addr *v6 =
			&((const struct sockaddr_in6 *) address)->sin6_addr;

		if (IN6_IS_ADDR_LINKLOCAL(v6))
			return true;
		if (IN6_IS_ADDR_V4MAPPED(v6))
			v4 = v6->s6_addr + 12;
	}
	return v4 && v4[0] == 169 && v4[1] == 254;
}

/*
 * Tries the addresses of a host in turn.  Each gets its share of the time
 * that is left, so that one black hole does not eat it all.
 */
static int
connect_addresses(MmWire *wire, const struct addrinfo *list,
				  const char *host, int64 deadline)
{
	int			nleft = 0;
	int			code = 0;
	char		text[384];

	for (const struct addrinfo *a = list; a; a = a->ai_next)
		nleft++;
	for (const struct addrinfo *a = list; a; a = a->ai_next, nleft--)
	{
		int64		now = bson_get_monotonic_time();
		int			sock;

		if (!wire->allow_link_local && is_link_local(a->ai_addr))
		{
			snprintf(text, sizeof(text), "%s is a link-local address.", host);
			note_failure(wire, MM_WIRE_LINK_LOCAL, text);
			return -1;
		}
		sock = connect_address(wire, a->ai_addr, a->ai_addrlen,
							   now + (deadline - now) / nleft, &code);
		if (sock >= 0 || code == ECANCELED)
			return sock;
	}
	note_connect_errno(wire, host, code);
	return -1;
}

static int
connect_tcp(MmWire *wire, const mongoc_host_list_t *host, int64 *deadline)
{
	struct addrinfo hints = {
		.ai_family = host->family,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list;
	char		port[8];
	char		text[384];
	int			sock;

	if (must_leave(wire))
		return -1;
	snprintf(port, sizeof(port), "%u", host->port);
	if (getaddrinfo(host->host, port, &hints, &list) != 0)
	{
		snprintf(text, sizeof(text),
				 "Host name \"%s\" could not be resolved.", host->host);
		note_failure(wire, MM_WIRE_UNRESOLVED, text);
		return -1;
	}
	/* The time that the resolver took is not the server's. */
	*deadline = deadline_after(wire->connect_timeout_ms);
	sock = connect_addresses(wire, list, host->host_and_port, *deadline);
	freeaddrinfo(list);
	return sock;
}

static int
connect_unix(MmWire *wire, const mongoc_host_list_t *host, int64 deadline)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			code = ENAMETOOLONG;
	int			sock = -1;

	if (strlen(host->host) < sizeof(address.sun_path))
	{
		strlcpy(address.sun_path, host->host, sizeof(address.sun_path));
		sock = connect_address(wire, (struct sockaddr *) &address,
							   sizeof(address), deadline, &code);
	}
	if (sock < 0 && code != ECANCELED)
		note_connect_errno(wire, host->host_and_port, code);
	return sock;
}

/* Keeps why a handshake failed; "answered" tells whether bytes came back. */
static void
note_tls_failure(MmWire *wire, const char *host, bool answered, int code,
				 const char *driver_text)
{
	char		text[sizeof(wire->failure_text)];

	/* A server without TLS hangs up, or answers in its own protocol. */
	if (strstr(driver_text, "wrong version number") ||
		strstr(driver_text, "http request") ||
		(!answered && code != ETIMEDOUT))
		note_failure(wire, MM_WIRE_NO_TLS,
					 "TLS handshake failed: the server answered without TLS.");
	else if (code == ETIMEDOUT)
		note_no_answer(wire, host);
	else
	{
		snprintf(text, sizeof(text), "%s%s.",
				 strncmp(driver_text, "TLS", 3) == 0 ? "" :
				 "TLS handshake failed: ",
				 driver_text);
		note_failure(wire, MM_WIRE_TLS, text);
	}
}

/* Puts TLS on a connected stream, which is taken over.  NULL on failure. */
static mongoc_stream_t *
start_tls(mongoc_stream_t *base, const mongoc_host_list_t *host,
		  int64 deadline, bson_error_t *error)
{
	LatchStream *stream = (LatchStream *) base;
	MmWire	   *wire = stream->wire;
	int64		left = deadline - bson_get_monotonic_time();
	/* A copy: the driver writes into it for this one host. */
	mongoc_ssl_opt_t options = wire->tls;
	mongoc_stream_t *tls;

	mm_mongo_log_reset();
	tls = mongoc_stream_tls_new_with_hostname(base, host->host, &options, 1);
	if (tls == NULL)
	{
		mongoc_stream_destroy(base);
		/* The reason, such as a missing file, is only in the log. */
		note_tls_failure(wire, host->host_and_port, true, 0,
						 mm_mongo_log_last());
		return NULL;
	}
	if (!mongoc_stream_tls_handshake_block(tls, host->host,
										   Max(left, 0) / 1000, error))
	{
		if (wire->leave == MM_WIRE_STAY)
			note_tls_failure(wire, host->host_and_port, stream->answered,
							 bson_get_monotonic_time() >= deadline ?
							 ETIMEDOUT : stream->last_errno,
							 error->message);
		mongoc_stream_destroy(tls);
		return NULL;
	}
	return tls;
}

/*
 * The stream initiator: connects to one server.  "data" is the MmWire of the
 * source.  NULL with error set when it fails.
 */
mongoc_stream_t *
mm_mongo_stream_open(const mongoc_uri_t *uri, const mongoc_host_list_t *host,
					 void *data, bson_error_t *error)
{
	MmWire	   *wire = data;
	int64		deadline = deadline_after(wire->connect_timeout_ms);
	mongoc_stream_t *stream = NULL;
	int			sock;

	/* The driver leaves it as it was, and reads it in any case. */
	memset(error, 0, sizeof(*error));

	if (host->family == AF_UNIX)
		sock = connect_unix(wire, host, deadline);
	else
		sock = connect_tcp(wire, host, &deadline);
	if (sock >= 0)
	{
		stream = stream_new(wire, sock, host->host_and_port);
		if (wire->use_tls)
			stream = start_tls(stream, host, deadline, error);
	}
	if (stream == NULL)
		bson_set_error(error, MONGOC_ERROR_STREAM,
					   MONGOC_ERROR_STREAM_CONNECT, "%s",
					   wire->leave == MM_WIRE_STAY ? wire->failure_text :
					   "interrupted");
	return stream;
}
