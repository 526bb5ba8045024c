/*-------------------------------------------------------------------------
 *
 * mongo_connect.c
 *	  The stream initiator of our clients: connects to one server.
 *
 * Connecting is done to its end here, one server after the other, and each
 * address of a host in turn.  With tls=true the handshake is part of it, so a
 * server without TLS never sees a plain byte.
 *
 * XXX Name resolution is done by getaddrinfo() and, for mongodb+srv, by the
 * driver with res_nsearch(): both block for the resolver's own timeouts, as
 * they do for libpq in core.  The same holds for the driver's own HTTP
 * requests (OCSP responders named by a certificate, MONGODB-AWS).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "source/hosts.h"
#include "source/mongo.h"
#include "source/mongo_wire.h"
#include "storage/fd.h"

static void
note_connect_errno(MmWire *wire, const char *host, int code)
{
	char		text[MM_WIRE_SENTENCE];

	if (code == ETIMEDOUT)
		mm_mongo_wire_note_no_answer(wire, host);
	else if (code == ECONNREFUSED)
	{
		snprintf(text, sizeof(text), "Connection refused by %s.", host);
		mm_mongo_wire_note(wire, MM_WIRE_REFUSED, text);
	}
	else
	{
		snprintf(text, sizeof(text), "Connection to %s failed: %s.", host,
				 strerror(code));
		mm_mongo_wire_note(wire, MM_WIRE_OTHER, text);
	}
}

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
	struct pollfd fd = {.fd = sock, .events = POLLOUT};
	int			code = 0;
	socklen_t	len = sizeof(code);

	switch (mm_mongo_wire_wait(wire, &fd, 1, deadline))
	{
		case MM_WIRE_WAIT_LEFT:
			return ECANCELED;
		case MM_WIRE_WAIT_TIMEOUT:
			return ETIMEDOUT;
		case MM_WIRE_WAIT_READY:
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
 * What roles that are no superusers may connect to: not the machine's own
 * surroundings, and only what mongo_migrate.allowed_hosts lists.  Every
 * server passes here: those of the string, those that SRV records name and
 * those that a server tells us of.
 */
static bool
is_forbidden_address(MmWire *wire, const struct sockaddr *address,
					 MmHostAnswer by_name, const char *host)
{
	char		text[MM_WIRE_SENTENCE];

	if (wire->allowed_hosts == NULL)
		return false;
	if (is_link_local(address))
		snprintf(text, sizeof(text), "%s is a link-local address.", host);
	else if (by_name == MM_HOST_BY_ADDRESS &&
			 !mm_hosts_match_address(wire->allowed_hosts, address))
		snprintf(text, sizeof(text),
				 "The address of %s is not in mongo_migrate.allowed_hosts.",
				 host);
	else
		return false;
	mm_mongo_wire_note(wire, MM_WIRE_FORBIDDEN, text);
	return true;
}

static MmHostAnswer
check_name(MmWire *wire, const mongoc_host_list_t *host)
{
	bool		is_socket = host->family == AF_UNIX;
	MmHostAnswer answer = MM_HOST_ALLOWED;
	char		text[MM_WIRE_SENTENCE];

	if (wire->allowed_hosts == NULL)
		return MM_HOST_ALLOWED;
	if (wire->allowed_hosts[0] != '\0' || is_socket)
		answer = mm_hosts_match(wire->allowed_hosts, host->host, host->port);
	if (answer != MM_HOST_DENIED)
		return answer;
	snprintf(text, sizeof(text), "%s is not in mongo_migrate.allowed_hosts.",
			 is_socket ? host->host : host->host_and_port);
	mm_mongo_wire_note(wire, MM_WIRE_FORBIDDEN, text);
	return MM_HOST_DENIED;
}

/*
 * Tries the addresses of a host in turn.  Each gets its share of the time
 * that is left, so that one black hole does not eat it all.
 */
static int
connect_addresses(MmWire *wire, const struct addrinfo *list,
				  MmHostAnswer by_name, const char *host, int64 deadline)
{
	int			nleft = 0;
	int			code = 0;

	for (const struct addrinfo *a = list; a; a = a->ai_next)
		nleft++;
	for (const struct addrinfo *a = list; a; a = a->ai_next, nleft--)
	{
		int64		now = bson_get_monotonic_time();
		int			sock;

		if (is_forbidden_address(wire, a->ai_addr, by_name, host))
			continue;
		sock = connect_address(wire, a->ai_addr, a->ai_addrlen,
							   now + (deadline - now) / nleft, &code);
		if (sock >= 0 || code == ECANCELED)
			return sock;
	}
	if (code != 0)
		note_connect_errno(wire, host, code);
	return -1;
}

static int
connect_tcp(MmWire *wire, const mongoc_host_list_t *host,
			MmHostAnswer by_name, int64 *deadline)
{
	struct addrinfo hints = {
		.ai_family = host->family,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list;
	char		port[8];
	char		text[MM_WIRE_SENTENCE];
	int			sock;

	if (mm_mongo_wire_must_leave(wire))
		return -1;
	snprintf(port, sizeof(port), "%u", host->port);
	if (getaddrinfo(host->host, port, &hints, &list) != 0)
	{
		snprintf(text, sizeof(text),
				 "Host name \"%s\" could not be resolved.", host->host);
		mm_mongo_wire_note(wire, MM_WIRE_UNRESOLVED, text);
		return -1;
	}
	/* The time that the resolver took is not the server's. */
	*deadline = mm_mongo_wire_deadline(wire->connect_timeout_ms);
	sock = connect_addresses(wire, list, by_name, host->host_and_port,
							 *deadline);
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

/* By the words of OpenSSL for what the other side has announced. */
static MmWireFailure
classify_tls_failure(const char *text)
{
	if (strstr(text, "alert internal error"))
		return MM_WIRE_TLS_REFUSED;
	if (strstr(text, "alert handshake failure") ||
		strstr(text, "alert certificate required") ||
		strstr(text, "alert bad certificate"))
		return MM_WIRE_TLS_CERTIFICATE;
	return MM_WIRE_TLS;
}

/*
 * Keeps why a handshake failed.  A mongod without TLS hangs up; but so do
 * those that go down, or have too many connections, and what stands before
 * them: that is no last word.
 */
static void
note_tls_failure(MmWire *wire, const char *host, bool closed, int code,
				 const char *driver_text)
{
	char		text[sizeof(wire->failure_text)];

	if (strstr(driver_text, "wrong version number") ||
		strstr(driver_text, "http request"))
		mm_mongo_wire_note(wire, MM_WIRE_NO_TLS,
						   "TLS handshake failed: the server answered without TLS.");
	else if (code == ETIMEDOUT)
		mm_mongo_wire_note_no_answer(wire, host);
	else if (closed)
	{
		snprintf(text, sizeof(text),
				 "TLS handshake failed: %s closed the connection.", host);
		mm_mongo_wire_note(wire, MM_WIRE_CLOSED, text);
	}
	else
	{
		snprintf(text, sizeof(text), "%s%s.",
				 strncmp(driver_text, "TLS", 3) == 0 ? "" :
				 "TLS handshake failed: ",
				 driver_text);
		mm_mongo_wire_note(wire, classify_tls_failure(driver_text), text);
	}
}

/* Puts TLS on a connected stream, which is taken over.  NULL on failure. */
static mongoc_stream_t *
start_tls(mongoc_stream_t *base, const mongoc_host_list_t *host,
		  int64 deadline)
{
	MmWireStream *stream = (MmWireStream *) base;
	MmWire	   *wire = stream->wire;
	int64		left = deadline - bson_get_monotonic_time();
	/* A copy: the driver writes into it for this one host. */
	mongoc_ssl_opt_t options = wire->tls;
	mongoc_stream_t *tls;
	bson_error_t failure = {0};

	mm_mongo_log_reset();
	tls = mongoc_stream_tls_new_with_hostname(base, host->host, &options, 1);
	if (tls == NULL)
	{
		mongoc_stream_destroy(base);
		/* The reason, such as a missing file, is only in the log. */
		note_tls_failure(wire, host->host_and_port, false, 0,
						 mm_mongo_log_last());
		return NULL;
	}
	if (!mongoc_stream_tls_handshake_block(tls, host->host,
										   Max(left, 0) / 1000, &failure))
	{
		if (wire->leave == MM_WIRE_STAY)
			note_tls_failure(wire, host->host_and_port,
							 mm_mongo_stream_is_closed(stream),
							 bson_get_monotonic_time() >= deadline ?
							 ETIMEDOUT : stream->last_errno,
							 failure.message);
		mongoc_stream_destroy(tls);
		return NULL;
	}
	return tls;
}

/* Does the connection string have it?  SRV records count as the string. */
static bool
is_in_string(const mongoc_uri_t *uri, const mongoc_host_list_t *host)
{
	if (mongoc_uri_get_srv_hostname(uri))
		return true;
	for (const mongoc_host_list_t *own = mongoc_uri_get_hosts(uri); own;
		 own = own->next)
	{
		if (pg_strcasecmp(own->host_and_port, host->host_and_port) == 0)
			return true;
	}
	return false;
}

/*
 * The stream initiator: connects to one server.  "data" is the MmWire of the
 * source.
 *
 * Never NULL.  When a server tells of others, the driver connects to them
 * with its lock on the topology held, and takes it once more to note that
 * this failed (mongoc_topology_reconcile() of 1.23): the process would hang,
 * deaf to signals, for each member of a replica set that is down.  So what
 * could not be connected is a stream that fails when it is used.
 */
mongoc_stream_t *
mm_mongo_connect_open(const mongoc_uri_t *uri, const mongoc_host_list_t *host,
					  void *data, bson_error_t *error)
{
	MmWire	   *wire = data;
	int64		deadline = mm_mongo_wire_deadline(wire->connect_timeout_ms);
	mongoc_stream_t *stream = NULL;
	MmHostAnswer by_name = check_name(wire, host);
	int			sock = -1;

	/* The driver leaves it as it was, and reads it in any case. */
	memset(error, 0, sizeof(*error));

	if (by_name == MM_HOST_DENIED)
		;
	else if (host->family == AF_UNIX)
		sock = connect_unix(wire, host, deadline);
	else
		sock = connect_tcp(wire, host, by_name, &deadline);
	if (sock >= 0)
	{
		stream = mm_mongo_stream_new(wire, sock, host->host_and_port);
		if (wire->use_tls)
			stream = start_tls(stream, host, deadline);
		if (stream != NULL)
			stream = mm_mongo_guard_new(wire, stream, host->host_and_port);
	}
	if (stream == NULL)
	{
		wire->failure_named = !is_in_string(uri, host);
		stream = mm_mongo_stream_new(wire, -1, host->host_and_port);
	}
	return stream;
}
