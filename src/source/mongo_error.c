/*-------------------------------------------------------------------------
 *
 * mongo_error.c
 *	  What went wrong on the far side, in the words of the interface.
 *
 * A failed call leaves three things behind: the driver's bson_error_t, the
 * server's reply (with code, codeName and errorLabels), and what the stream
 * has seen (MmWire).  The driver says "No suitable servers found" for nearly
 * everything that has to do with connecting, so there the stream's own notes
 * make the message.
 *
 *	domain of the error			what it is
 *	--------------------------	-------------------------------------------
 *	SERVER						an answer with ok: 0; the code decides
 *	CLIENT with AUTHENTICATE,	authentication failed, unless a connection
 *	SCRAM, SASL					broke or the text is not about credentials
 *	STREAM, SERVER_SELECTION,	the connection: never came about (messages 6
 *	PROTOCOL					to 9), or was lost
 *	anything else				ours or the driver's fault; permanent
 *
 * Every text that comes from outside goes through clean_text(), which makes
 * it valid in the server encoding, and hide_credentials().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "source/hosts.h"
#include "source/mongo.h"

/* RELIABILITY, section 3: codes worth another try. */
static const int transient_codes[] = {
	6, 7, 24, 43, 50, 63, 64, 70, 89, 90, 91, 112, 117, 133, 134, 136, 175, 187,
	189, 202, 211, 237, 239, 246, 251, 262, 282, 290, 314, 317, 358, 365, 384, 402, 406,
	407, 412, 433, 449, 450, 453, 462, 9001, 10107, 11600, 11601, 11602, 12586,
	12587, 13388, 13435, 13436, 28799, 50915, 91331, 5422103, 10045600
};

static const char *const transient_labels[] = {
	"RetryableWriteError", "TransientTransactionError",
	"ResumableChangeStreamError"
};

/* Codes of the server with a message of their own. */
#define CODE_UNAUTHORIZED			13
#define CODE_AUTHENTICATION_FAILED	18
#define CODE_NAMESPACE_NOT_FOUND	26

/* A password shorter than this would blot out half of any message. */
#define MIN_HIDDEN_PASSWORD 3

/* Copies a text that fits, or its beginning, never half a character. */
static void
put_text(char *target, size_t size, const char *text)
{
	int			len = pg_mbcliplen(text, strlen(text), size - 1);

	memcpy(target, text, len);
	target[len] = '\0';
}

void
mm_mongo_error_fill(MmSourceError *error, int sqlstate, const char *message,
					const char *detail, const char *hint)
{
	memset(error, 0, sizeof(*error));
	error->sqlstate = sqlstate;
	put_text(error->message, sizeof(error->message), message);
	if (detail)
		put_text(error->detail, sizeof(error->detail), detail);
	if (hint)
		put_text(error->hint, sizeof(error->hint), hint);
}

/* Replaces what stands between "://" and the last "@" of the word. */
static char *
hide_userinfo(const char *text)
{
	StringInfoData hidden;
	const char *scheme;

	initStringInfo(&hidden);
	while ((scheme = strstr(text, "://")) != NULL)
	{
		const char *word = scheme + 3;
		const char *end = word + strcspn(word, " \t\n\"'");
		const char *at = end;

		appendBinaryStringInfo(&hidden, text, word - text);
		while (at > word && *at != '@')
			at--;
		if (*at == '@')
			appendStringInfoString(&hidden, "***");
		else
			at = word;
		appendBinaryStringInfo(&hidden, at, end - at);
		text = end;
	}
	appendStringInfoString(&hidden, text);
	return hidden.data;
}

static char *
hide_word(const char *text, const char *word)
{
	StringInfoData hidden;
	const char *found;

	initStringInfo(&hidden);
	while ((found = strstr(text, word)) != NULL)
	{
		appendBinaryStringInfo(&hidden, text, found - text);
		appendStringInfoString(&hidden, "***");
		text = found + strlen(word);
	}
	appendStringInfoString(&hidden, text);
	return hidden.data;
}

/* Text from outside, fit to be shown. */
static char *
clean_text(MmMongoSource *source, const char *text)
{
	char	   *clean = hide_userinfo(mm_mongo_text(text, -1));
	const char *password = NULL;

	if (source && source->uri)
		password = mongoc_uri_get_password(source->uri);
	if (password && strlen(password) >= MIN_HIDDEN_PASSWORD)
		clean = hide_word(clean, mm_mongo_text(password, -1));
	return clean;
}

/*
 * The server's "not authorized on shop to execute command { find: ... }" ends
 * with the whole command; the name of the command is enough.
 */
static char *
shorten_unauthorized(char *text)
{
	char	   *brace = strstr(text, "command { ");
	char	   *name;
	size_t		len;

	if (brace == NULL)
		return text;
	name = brace + strlen("command { ");
	len = strcspn(name, ": ");
	memmove(brace + strlen("command "), name, len);
	brace[strlen("command ") + len] = '\0';
	return text;
}

static bool
is_transient_code(int code)
{
	for (int i = 0; i < lengthof(transient_codes); i++)
	{
		if (transient_codes[i] == code)
			return true;
	}
	return false;
}

static bool
has_transient_label(const bson_t *reply)
{
	for (int i = 0; i < lengthof(transient_labels); i++)
	{
		if (mongoc_error_has_label(reply, transient_labels[i]))
			return true;
	}
	return false;
}

/* Message 10. */
static void
set_authentication_error(MmMongoSource *source, const bson_error_t *failure,
						 MmSourceError *error)
{
	char	   *text = clean_text(source, failure->message);
	char	   *message;
	char	   *detail;

	if (source->username)
		message = psprintf("authentication failed for MongoDB user \"%s\" on server \"%s\"",
						   source->username, source->name);
	else
		message = psprintf("authentication failed on MongoDB server \"%s\"",
						   source->name);
	if (strstr(text, "Authentication failed") || text[0] == '\0')
		detail = psprintf("The server rejected the credentials (database \"%s\", %s).",
						  source->auth_source,
						  source->auth_mechanism ? source->auth_mechanism :
						  "SCRAM-SHA-256");
	else
		detail = text;
	mm_mongo_error_fill(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
						message, detail,
						"If the user was created in another database, add authSource to the uri or auth_source to the user mapping.");
}

/* A user name whose mechanism needs a password, and none is given. */
void
mm_mongo_error_password(const MmMongoSource *source, MmSourceError *error)
{
	mm_mongo_error_fill(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
						psprintf("no password is given for MongoDB user \"%s\" on server \"%s\"",
								 source->username, source->name),
						NULL,
						source->is_server ?
						"ALTER USER MAPPING ... OPTIONS (ADD password '...')." :
						"Put it into the connection string, or into CREATE USER MAPPING for a server.");
}

static bool
is_authentication(const bson_error_t *failure)
{
	return failure->domain == MONGOC_ERROR_SCRAM ||
		failure->domain == MONGOC_ERROR_SASL ||
		(failure->domain == MONGOC_ERROR_CLIENT &&
		 (failure->code == MONGOC_ERROR_CLIENT_AUTHENTICATE ||
		  failure->code == MONGOC_ERROR_CLIENT_GETNONCE));
}

/*
 * Has the server looked at the credentials and refused them?  The driver
 * keeps its text but not its code, and a server that is going down, coming
 * up, or overloaded refuses to authenticate anybody, in words of many kinds.
 */
static bool
is_authentication_refused(const bson_error_t *failure)
{
	static const char *const signs[] = {
		"authentication failed", "mechanism", "not authorized",
		"could not find user", "user not found", "certificate"
	};

	if (failure->domain != MONGOC_ERROR_CLIENT)
		return true;			/* the exchange itself went wrong */
	for (int i = 0; i < lengthof(signs); i++)
	{
		if (strcasestr(failure->message, signs[i]))
			return true;
	}
	return false;
}

/* Message 12, or its counterpart for nobody in particular. */
static void
set_unauthorized_error(MmMongoSource *source, const bson_error_t *failure,
					   const char *ns, MmSourceError *error)
{
	char	   *detail = shorten_unauthorized(clean_text(source,
														 failure->message));
	const char *dot = ns ? strchr(ns, '.') : NULL;

	/* The name may be in a certificate, or come from the surroundings. */
	if (source->username == NULL && source->auth_mechanism == NULL)
		mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
							psprintf("MongoDB server \"%s\" requires authentication",
									 source->name),
							detail,
							source->is_server ?
							"Use CREATE USER MAPPING or ALTER USER MAPPING ... OPTIONS (username '...', password '...')." :
							"Put user name and password into the connection string, or into CREATE USER MAPPING for a server.");
	else if (source->username == NULL)
		mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
							ns ? psprintf("MongoDB user of server \"%s\" may not read \"%s\"",
										  source->name, ns) :
							psprintf("MongoDB user of server \"%s\" may not do this",
									 source->name),
							detail, NULL);
	else if (dot == NULL)
		mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
							psprintf("MongoDB user \"%s\" may not do this on server \"%s\"",
									 source->username, source->name),
							detail, NULL);
	else
		mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
							psprintf("MongoDB user \"%s\" may not read \"%s\"",
									 source->username, ns),
							detail,
							psprintf("In mongosh: db.getSiblingDB(\"%s\").grantRolesToUser(\"%s\", [{role: \"read\", db: \"%.*s\"}])",
									 source->auth_source, source->username, (int) (dot - ns), ns));
}

/* The server answered with an error. */
static void
set_server_error(MmMongoSource *source, const bson_error_t *failure,
				 const char *ns, MmSourceError *error)
{
	char	   *text;

	switch (failure->code)
	{
		case CODE_UNAUTHORIZED:
			set_unauthorized_error(source, failure, ns, error);
			return;
		case CODE_AUTHENTICATION_FAILED:
			set_authentication_error(source, failure, error);
			return;
		case CODE_NAMESPACE_NOT_FOUND:
			mm_mongo_error_fill(error, ERRCODE_FDW_TABLE_NOT_FOUND,
								psprintf("collection \"%s\" does not exist",
										 ns ? ns : source->name),
								NULL, NULL);
			return;
	}
	text = psprintf("%s (code %d)", clean_text(source, failure->message),
					(int) failure->code);
	mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
						ns ? psprintf("could not read \"%s\" from MongoDB server \"%s\"",
									  ns, source->name) :
						psprintf("command failed on MongoDB server \"%s\"",
								 source->name),
						text, NULL);
	error->transient = is_transient_code(failure->code) ||
		has_transient_label(source->reply);
	error->timed_out = failure->code == MM_MONGO_TIME_LIMIT;
	error->unlucky = failure->code == MM_MONGO_SAMPLE_FAILED ||
		failure->code == MM_MONGO_SAMPLE_FAILED_TIMESERIES;
}

/*
 * What the driver says of a connection.  "No suitable servers found" is of no
 * use; the cause may follow in brackets.
 */
static char *
describe_failure(MmMongoSource *source, const bson_error_t *failure)
{
	char	   *text = clean_text(source, failure->message);
	char	   *cause;

	if (failure->domain != MONGOC_ERROR_SERVER_SELECTION)
		return text;
	cause = strstr(text, ": [");
	if (cause == NULL)
		return "No server suits the replica set name and the read preference at the moment.";
	cause += strlen(": [");
	return pnstrdup(cause, strcspn(cause, "]"));
}

/* What follows from the string need not stand in it. */
static const char *
no_tls_hint(MmMongoSource *source)
{
	if (mongoc_uri_get_srv_hostname(source->uri))
		return "Add tls=false to the uri of the server, as mongodb+srv:// asks for TLS.";
	if (source->wire.tls.ca_file || source->wire.tls.pem_file)
		return "Remove tls=true and the options that name files for TLS.";
	return "Remove tls=true from the uri of the server.";
}

#define RAISE_TIMEOUT \
	"To wait longer, raise mongo_migrate.connect_timeout, or connect_timeout of the server."

/* HINTs of messages 6 to 9. */
static const char *
connect_hint(MmMongoSource *source)
{
	MmWireFailure failure = source->wire.failure;

	if (source->wire.failure_named &&
		(failure == MM_WIRE_UNRESOLVED || failure == MM_WIRE_REFUSED ||
		 failure == MM_WIRE_NO_ANSWER))
		return "This is what the replica set calls its member (rs.conf()). If it runs, the name must lead to it from the machine PostgreSQL runs on; else read one server alone, with directConnection=true and without replicaSet.";
	switch (failure)
	{
		case MM_WIRE_UNRESOLVED:
			if (mongoc_uri_get_srv_hostname(source->uri))
				return "The connection is made from the machine PostgreSQL runs on.";
			return "The connection is made from the machine PostgreSQL runs on. For an Atlas cluster use the mongodb+srv:// form.";
		case MM_WIRE_REFUSED:
			return "Check that mongod listens on this address (net.bindIp) and that a firewall lets the PostgreSQL server in.";
		case MM_WIRE_NO_ANSWER:
			if (source->wire.use_tls)
				return RAISE_TIMEOUT;
			return "If the server requires TLS, add tls=true to its uri. " RAISE_TIMEOUT;
		case MM_WIRE_CLOSED:
			return source->wire.use_tls ?
				"If the server does not use TLS, remove tls=true from its uri." :
				"If the server requires TLS, add tls=true to its uri.";
		case MM_WIRE_NO_TLS:
			return no_tls_hint(source);
		case MM_WIRE_TLS_REFUSED:
			return "For an Atlas cluster, add the address of the machine PostgreSQL runs on to its IP access list.";
		case MM_WIRE_TLS_CERTIFICATE:
			return "The server may want a certificate of the client: tls_certificate_key_file of the user mapping.";
		case MM_WIRE_TLS:
			if (source->wire.tls.pem_file)
				return "Check the certificate of the server, tlsCAFile in its uri or tls_ca_file of the server, and the file with the certificate of the client.";
			return "Check the certificate of the server, and tlsCAFile in its uri or tls_ca_file of the server.";
		default:
			return NULL;
	}
}

static const char *
forbidden_hint(const MmWire *wire)
{
	return strstr(wire->failure_text, "link-local") ?
		"Connections to link-local addresses are for superusers only." :
		MM_HOSTS_HINT;
}

/*
 * Has a server said what it is?  Then only one of the kind that is wanted is
 * missing, as in an election, whatever is wrong with others.
 */
static bool
knows_a_server(const MmMongoSource *source)
{
	size_t		n;
	mongoc_server_description_t **servers =
		mongoc_client_get_server_descriptions(source->client, &n);
	bool		found = false;

	for (size_t i = 0; i < n; i++)
	{
		const char *type = mongoc_server_description_type(servers[i]);

		found = found || (strcmp(type, "Unknown") != 0 &&
						  strcmp(type, "PossiblePrimary") != 0);
	}
	mongoc_server_descriptions_destroy_all(servers, n);
	return found;
}

/* Messages 6 to 9. */
static void
set_connect_error(MmMongoSource *source, const bson_error_t *failure,
				  MmSourceError *error)
{
	const MmWire *wire = &source->wire;
	char	   *detail = wire->failure_text[0] ?
		clean_text(source, wire->failure_text) :
		describe_failure(source, failure);
	bool		passing = failure->domain == MONGOC_ERROR_SERVER_SELECTION &&
		knows_a_server(source);

	if (wire->failure == MM_WIRE_FORBIDDEN)
	{
		mm_mongo_error_fill(error, ERRCODE_INSUFFICIENT_PRIVILEGE,
							psprintf("permission denied to connect to MongoDB server \"%s\"",
									 source->name),
							detail, forbidden_hint(wire));
		error->transient = passing;
		return;
	}
	mm_mongo_error_fill(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
						psprintf("could not connect to MongoDB server \"%s\"",
								 source->name),
						detail, connect_hint(source));
	error->transient = passing || (wire->failure != MM_WIRE_TLS &&
								   wire->failure != MM_WIRE_TLS_CERTIFICATE &&
								   wire->failure != MM_WIRE_NO_TLS);

	/* Whoever may name any host must not learn what listens where. */
	if (source->coarse_errors)
	{
		put_text(error->log_detail, sizeof(error->log_detail), detail);
		put_text(error->detail, sizeof(error->detail),
				 "The server could not be reached.");
		error->hint[0] = '\0';
	}
}

static void
set_lost_error(MmMongoSource *source, const bson_error_t *failure,
			   MmSourceError *error)
{
	const MmWire *wire = &source->wire;

	mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
						psprintf("lost connection to MongoDB server \"%s\"",
								 source->name),
						wire->lost ? clean_text(source, wire->lost_text) :
						describe_failure(source, failure),
						wire->lost && wire->lost_silent ?
						"If the server needs longer to answer, raise mongo_migrate.socket_timeout, or socket_timeout of the server." :
						NULL);
	error->transient = true;
}

static void
set_connection_error(MmMongoSource *source, const bson_error_t *failure,
					 MmSourceError *error)
{
	const MmWire *wire = &source->wire;

	if (wire->lost && (source->connected ||
					   (wire->failure == MM_WIRE_OK &&
						!source->coarse_errors)))
		set_lost_error(source, failure, error);
	else if (wire->failure != MM_WIRE_OK || !source->connected)
		set_connect_error(source, failure, error);
	else
		set_lost_error(source, failure, error);
}

/*
 * The wait was left.  This is only seen when CHECK_FOR_INTERRUPTS() did not
 * raise: for the stop check, or while interrupts are held off.
 */
static void
set_left_error(MmMongoSource *source, MmSourceError *error)
{
	mm_mongo_error_fill(error, ERRCODE_QUERY_CANCELED,
						psprintf("stopped waiting for MongoDB server \"%s\"",
								 source->name),
						NULL, NULL);
	error->transient = true;
	error->stopped = source->wire.leave == MM_WIRE_STOPPED;
}

/* Fills error from a failed call; the reply is in source->reply. */
void
mm_mongo_error_set(MmMongoSource *source, const bson_error_t *failure,
				   const char *ns, MmSourceError *error)
{
	if (mm_mongo_log_last()[0] != '\0')
		ereport(DEBUG1,
				(errmsg_internal("MongoDB driver: %s",
								 clean_text(source, mm_mongo_log_last()))));
	if (source->wire.leave != MM_WIRE_STAY)
	{
		set_left_error(source, error);
		return;
	}
	switch (failure->domain)
	{
		case MONGOC_ERROR_SERVER:
			set_server_error(source, failure, ns, error);
			break;
		case MONGOC_ERROR_STREAM:
		case MONGOC_ERROR_SERVER_SELECTION:
		case MONGOC_ERROR_PROTOCOL:
			set_connection_error(source, failure, error);
			break;
		default:
			if (is_authentication(failure) && source->wire.lost)
				set_lost_error(source, failure, error);
			else if (is_authentication(failure))
			{
				set_authentication_error(source, failure, error);
				error->transient = !is_authentication_refused(failure);
			}
			else
				mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
									psprintf("command failed on MongoDB server \"%s\"",
											 source->name),
									clean_text(source, failure->message),
									NULL);
			break;
	}
}

int
mm_mongo_error_code(const MmMongoSource *source)
{
	bson_iter_t iter;

	if (!bson_iter_init_find(&iter, source->reply, "code"))
		return 0;
	return (int) bson_iter_as_int64(&iter);
}

/* Message 1, with the driver's reason, unless that shows values. */
void
mm_mongo_error_uri(const bson_error_t *failure, MmSourceError *error)
{
	mm_mongo_error_fill(error, ERRCODE_INVALID_PARAMETER_VALUE,
						"invalid MongoDB connection string",
						strncmp(failure->message, "Deprecated option",
								strlen("Deprecated option")) == 0 ?
						"An option is given under two names with different values." :
						psprintf("%s.", clean_text(NULL, failure->message)),
						strstr(failure->message, "Invalid host string") ?
						"Write hosts as host:port, IPv6 addresses in brackets, sockets as %2Ftmp%2Fmongodb-27017.sock, and a \"/\" before the \"?\"." :
						NULL);
}
