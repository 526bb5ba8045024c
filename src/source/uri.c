/*-------------------------------------------------------------------------
 *
 * uri.c
 *	  Our own look at MongoDB connection strings.
 *
 * The driver parses the string in the end, but not before it was looked at
 * here, because the driver
 *
 * - takes a password with an unencoded "@" or "/" and later prints a part of
 *	 it as a host name or a database,
 * - prints user name and password when one of them holds a ":",
 * - takes a backslash to hide the character behind it, so that its parts are
 *	 others than those found here,
 * - ignores options that it does not know.
 *
 * A string is cut into "scheme://[userinfo@]hosts[/database][?options]".  The
 * authority ends at the first "/" or "?"; an "@" behind it means that a
 * password was not encoded, so it is refused there altogether (it can always
 * be written as %40).  No message of this file repeats a part of the string
 * that could be a part of a password: of options only a name made of letters
 * and digits is shown.
 *
 * Options are matched without regard to case, as the driver does.  The two
 * options about OCSP are left out of the list: they travel in a private part
 * of the driver's TLS options, which a stream of our own cannot set, and to
 * ignore them silently would be wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <mongoc/mongoc.h>

#include "lib/stringinfo.h"
#include "source/closest.h"
#include "source/hosts.h"
#include "source/mongo.h"
#include "source/uri.h"

typedef struct UriOption
{
	const char *name;
	bool		superuser_only; /* names a file, weakens TLS, or takes replies
								 * out of the guard's sight */
	bool		secret;			/* the value is not to be shown */
} UriOption;

static const UriOption uri_options[] = {
	{"appName"},
	{"authMechanism"},
	{"authMechanismProperties", false, true},
	{"authSource"},
	{"canonicalizeHostname"},
	{"compressors", true},
	{"connectTimeoutMS"},
	{"directConnection"},
	{"gssapiServiceName"},
	{"heartbeatFrequencyMS"},
	{"journal"},
	{"loadBalanced"},
	{"localThresholdMS"},
	{"maxIdleTimeMS"},
	{"maxPoolSize"},
	{"maxStalenessSeconds"},
	{"minPoolSize"},
	{"readConcernLevel"},
	{"readPreference"},
	{"readPreferenceTags"},
	{"replicaSet"},
	{"retryReads"},
	{"retryWrites"},
	{"safe"},
	{"serverSelectionTimeoutMS"},
	{"serverSelectionTryOnce"},
	{"slaveOk"},
	{"socketCheckIntervalMS"},
	{"socketTimeoutMS"},
	{"srvMaxHosts"},
	{"srvServiceName"},
	{"ssl"},
	{"sslAllowInvalidCertificates", true},
	{"sslAllowInvalidHostnames", true},
	{"sslCertificateAuthorityFile", true},
	{"sslClientCertificateKeyFile", true},
	{"sslClientCertificateKeyPassword", true, true},
	{"tls"},
	{"tlsAllowInvalidCertificates", true},
	{"tlsAllowInvalidHostnames", true},
	{"tlsCAFile", true},
	{"tlsCertificateKeyFile", true},
	{"tlsCertificateKeyFilePassword", true, true},
	{"tlsInsecure", true},
	{"w"},
	{"waitQueueMultiple"},
	{"waitQueueTimeoutMS"},
	{"wTimeoutMS"},
	{"zlibCompressionLevel"},
};

/* The parts of a string, as pointers into it. */
typedef struct UriParts
{
	const char *userinfo;		/* NULL: none */
	const char *userinfo_end;	/* the "@" */
	const char *authority_end;	/* "/", "?" or the end */
	const char *options;		/* behind the "?", or NULL */
} UriParts;

/* One "name=value" of the options. */
typedef struct UriSetting
{
	const char *name;
	int			name_len;
	const char *value;			/* NULL: no "=" */
	const char *end;
} UriSetting;

#define ENCODE_HINT \
	"Write \"@\" in a password as %40, or put user name and password into " \
	"CREATE USER MAPPING, where nothing needs encoding."

static void
raise_invalid(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid MongoDB connection string"),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
}

/* isalnum() of any other locale than C would take bytes of UTF-8. */
static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9');
}

/* The text behind the scheme, or NULL. */
static const char *
skip_scheme(const char *uri)
{
	static const char *const schemes[] = {"mongodb://", "mongodb+srv://"};

	for (int i = 0; i < lengthof(schemes); i++)
	{
		if (strncmp(uri, schemes[i], strlen(schemes[i])) == 0)
			return uri + strlen(schemes[i]);
	}
	return NULL;
}

/* Cuts a string that has a valid scheme. */
static UriParts
cut_uri(const char *uri)
{
	const char *authority = skip_scheme(uri);
	const char *at;
	UriParts	parts = {0};

	parts.authority_end = authority + strcspn(authority, "/?");
	at = memchr(authority, '@', parts.authority_end - authority);
	if (at)
	{
		parts.userinfo = authority;
		parts.userinfo_end = at;
	}
	parts.options = strchr(parts.authority_end, '?');
	if (parts.options)
		parts.options++;
	return parts;
}

/* Takes the next setting off the options; false at their end. */
static bool
next_setting(const char **cursor, UriSetting *setting)
{
	const char *start = *cursor;
	const char *equals;

	if (start == NULL || *start == '\0')
		return false;
	setting->end = start + strcspn(start, "&");
	equals = memchr(start, '=', setting->end - start);
	setting->name = start;
	setting->name_len = (equals ? equals : setting->end) - start;
	setting->value = equals ? equals + 1 : NULL;
	*cursor = *setting->end ? setting->end + 1 : setting->end;
	return true;
}

static const UriOption *
known_option(const UriSetting *setting)
{
	for (int i = 0; i < lengthof(uri_options); i++)
	{
		if (strlen(uri_options[i].name) == setting->name_len &&
			pg_strncasecmp(uri_options[i].name, setting->name,
						   setting->name_len) == 0)
			return &uri_options[i];
	}
	return NULL;
}

/* An "@" too many is a password that was not encoded. */
static void
check_userinfo(const UriParts *parts)
{
	const char *second;

	if (strchr(parts->authority_end, '@'))
		raise_invalid("There is an \"@\" behind the host name.", ENCODE_HINT);
	if (parts->userinfo == NULL)
		return;
	second = memchr(parts->userinfo_end + 1, '@',
					parts->authority_end - parts->userinfo_end - 1);
	if (second)
		raise_invalid("There is more than one \"@\" before the host name.",
					  ENCODE_HINT);

	/* The driver would print both. */
	second = memchr(parts->userinfo, ':',
					parts->userinfo_end - parts->userinfo);
	if (second && memchr(second + 1, ':', parts->userinfo_end - second - 1))
		raise_invalid("There is more than one \":\" before the \"@\".",
					  "Write \":\" in a password as %3A, or put user name and password into CREATE USER MAPPING, where nothing needs encoding.");
}

static void
raise_unknown_option(const UriSetting *setting)
{
	char	   *name = pnstrdup(setting->name, setting->name_len);
	const char *meant;
	MmClosest	closest;

	/* Whatever else stands here might be a part of a password. */
	for (const char *c = name; *c; c++)
	{
		if (!is_plain(*c))
			raise_invalid("An option name may only have letters and digits.",
						  NULL);
	}
	mm_closest_init(&closest, name);
	for (int i = 0; i < lengthof(uri_options); i++)
		mm_closest_try(&closest, uri_options[i].name);
	meant = mm_closest_get(&closest);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unsupported option \"%s\" in MongoDB connection string",
					name),
			 meant ? errhint("Perhaps you meant \"%s\".", meant) : 0));
}

static void
check_options(const UriParts *parts, bool superuser)
{
	const char *cursor = parts->options;
	UriSetting	setting;

	while (next_setting(&cursor, &setting))
	{
		const UriOption *option = known_option(&setting);

		if (option == NULL)
			raise_unknown_option(&setting);
		if (setting.value == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid MongoDB connection string"),
					 errdetail("Option \"%s\" has no value.", option->name)));
		if (option->superuser_only && !superuser)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to use option \"%s\" in MongoDB connection string",
							option->name),
					 errdetail(MM_URI_SUPERUSER_OPTIONS)));
	}
}

bool
mm_uri_has_scheme(const char *uri)
{
	return skip_scheme(uri) != NULL;
}

void
mm_uri_check(const char *uri, bool superuser, const char *scheme_hint)
{
	UriParts	parts;

	if (!mm_uri_has_scheme(uri))
		raise_invalid("It must start with \"mongodb://\" or \"mongodb+srv://\".",
					  scheme_hint);
	if (strchr(uri, '\\'))
		raise_invalid(MM_URI_BACKSLASH ".", "Write \"\\\" as %5C.");
	parts = cut_uri(uri);
	check_userinfo(&parts);
	check_options(&parts, superuser);
	if (!superuser)
	{
		MmUriFacts *facts = mm_uri_parse(uri);

		/* Decoded, since "MONGODB%2DAWS" is one, too. */
		if (facts->auth_mechanism &&
			mm_uri_mechanism_is_restricted(facts->auth_mechanism))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to use authentication mechanism \"%s\"",
							facts->auth_mechanism),
					 errdetail("Mechanisms that use the identity of the server's machine are for superusers only.")));
	}
}

bool
mm_uri_mechanism_is_restricted(const char *mechanism)
{
	return pg_strcasecmp(mechanism, "MONGODB-AWS") == 0 ||
		pg_strcasecmp(mechanism, "MONGODB-OIDC") == 0 ||
		pg_strcasecmp(mechanism, "GSSAPI") == 0;
}

/* Where the password begins, NULL if there is none. */
static const char *
find_password(const UriParts *parts)
{
	const char *colon;

	if (parts->userinfo == NULL)
		return NULL;
	colon = memchr(parts->userinfo, ':',
				   parts->userinfo_end - parts->userinfo);
	return colon ? colon + 1 : NULL;
}

bool
mm_uri_has_secret(const char *uri)
{
	UriParts	parts = cut_uri(uri);
	const char *cursor = parts.options;
	UriSetting	setting;

	while (next_setting(&cursor, &setting))
	{
		const UriOption *option = known_option(&setting);

		if (option && option->secret)
			return true;
	}
	return find_password(&parts) != NULL;
}

char *
mm_uri_mask(const char *uri)
{
	UriParts	parts = cut_uri(uri);
	const char *password = find_password(&parts);
	const char *cursor = parts.options;
	const char *done = uri;
	UriSetting	setting;
	StringInfoData masked;

	initStringInfo(&masked);
	if (password)
	{
		appendBinaryStringInfo(&masked, uri, password - uri);
		appendStringInfoString(&masked, "***");
		done = parts.userinfo_end;
	}
	while (next_setting(&cursor, &setting))
	{
		const UriOption *option = known_option(&setting);

		if (option == NULL || !option->secret)
			continue;
		appendBinaryStringInfo(&masked, done, setting.value - done);
		appendStringInfoString(&masked, "***");
		done = setting.end;
	}
	appendStringInfoString(&masked, done);
	return masked.data;
}

char *
mm_uri_add_option(const char *uri, const char *name, const char *value)
{
	UriParts	parts = cut_uri(uri);
	StringInfoData longer;

	initStringInfo(&longer);
	appendStringInfoString(&longer, uri);
	if (parts.options == NULL)
		appendStringInfoString(&longer,
							   *parts.authority_end == '/' ? "?" : "/?");
	else if (*parts.options != '\0')
		appendStringInfoChar(&longer, '&');
	appendStringInfo(&longer, "%s=", name);
	for (const char *c = value; *c; c++)
	{
		if (is_plain(*c) || strchr("-._~", *c))
			appendStringInfoChar(&longer, *c);
		else
			appendStringInfo(&longer, "%%%02X", (unsigned char) *c);
	}
	return longer.data;
}

/* Host list for people, as host:port,host:port. */
static char *
describe_hosts(const mongoc_uri_t *uri)
{
	const char *service = mongoc_uri_get_srv_hostname(uri);
	const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri);
	StringInfoData list;

	if (service)
		return mm_mongo_text(service, -1);
	initStringInfo(&list);
	for (; host; host = host->next)
	{
		if (list.len > 0)
			appendStringInfoChar(&list, ',');
		appendStringInfoString(&list, mm_mongo_text(host->host_and_port, -1));
	}
	return list.data;
}

static void
check_host(const mongoc_host_list_t *host, const char *allowed_hosts)
{
	bool		is_socket = host->family == AF_UNIX;

	if ((allowed_hosts[0] == '\0' && !is_socket) ||
		mm_hosts_match(allowed_hosts, host->host,
					   host->port) != MM_HOST_DENIED)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to connect to MongoDB at \"%s\"",
					mm_mongo_text(is_socket ? host->host :
								  host->host_and_port, -1)),
			 errdetail("It is not in mongo_migrate.allowed_hosts."),
			 errhint("%s", MM_HOSTS_HINT)));
}

void
mm_uri_check_hosts(const char *uri, const char *allowed_hosts)
{
	bson_error_t failure;
	mongoc_uri_t *parsed = mm_mongo_uri_new(uri, &failure);

	if (parsed == NULL || mongoc_uri_get_srv_hostname(parsed))
		return;
	for (const mongoc_host_list_t *host = mongoc_uri_get_hosts(parsed); host;
		 host = host->next)
		check_host(host, allowed_hosts);
}

static char *
copy_text(const char *text)
{
	return text ? mm_mongo_text(text, -1) : NULL;
}

MmUriFacts *
mm_uri_parse(const char *uri)
{
	MmUriFacts *facts = palloc0(sizeof(MmUriFacts));
	bson_error_t failure;
	mongoc_uri_t *parsed = mm_mongo_uri_new(uri, &failure);

	if (parsed == NULL)
	{
		MmSourceError error;

		mm_mongo_error_uri(&failure, &error);
		mm_source_raise(&error);
	}
	facts->hosts = describe_hosts(parsed);
	facts->database = copy_text(mongoc_uri_get_database(parsed));
	facts->username = copy_text(mongoc_uri_get_username(parsed));
	facts->auth_mechanism = copy_text(mongoc_uri_get_auth_mechanism(parsed));
	facts->application_name = copy_text(mongoc_uri_get_appname(parsed));
	facts->connect_timeout_ms =
		mongoc_uri_get_option_as_int32(parsed, MONGOC_URI_CONNECTTIMEOUTMS, 0);
	facts->socket_timeout_ms =
		mongoc_uri_get_option_as_int32(parsed, MONGOC_URI_SOCKETTIMEOUTMS, 0);
	return facts;
}
