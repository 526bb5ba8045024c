/*-------------------------------------------------------------------------
 *
 * resolve.c
 *	  From the source argument of the SQL functions to a configuration.
 *
 * A source is the name of a server, made by CREATE SERVER with our wrapper,
 * or a bare connection string.  For a server, its options and those of the
 * user mapping are put together here; for a string there is only the string.
 *
 * Who may what.  The gates are USAGE on the server, and USAGE on the wrapper
 * for a bare string.  What only superusers may use (files of the server's
 * machine, weakened TLS, mechanisms with the machine's own identity) is
 * checked where it is written: in a bare string here, in options by the
 * validator as whoever runs CREATE or ALTER.  So a superuser can offer a
 * server with a CA file to everybody.  Where to is a matter of the time of
 * use, since a host name can point anywhere: link-local addresses and sockets
 * in the file system are for superusers, and mongo_migrate.allowed_hosts may
 * narrow it for all others (mongo_connect.c).
 *
 * Whoever may name any host and port must not learn what listens there: roles
 * that are no superuser get no reason for a failed connection when they wrote
 * the string themselves, be it bare or in a server that belongs to a role
 * which is no superuser either.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "compat.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "settings.h"
#include "source/closest.h"
#include "source/source.h"
#include "source/uri.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#define WRAPPER_NAME	"mongo_migrate"

/* A hint does not list more servers than this. */
#define MAX_KNOWN_SERVERS	8

/* Longest password in a file. */
#define MAX_PASSWORD_BYTES	1024

typedef enum OptionKind
{
	OPTION_TEXT,
	OPTION_MILLISECONDS,
	OPTION_SECONDS,
	OPTION_READ_PREFERENCE,
	OPTION_MECHANISM
} OptionKind;

typedef struct ServerOption
{
	const char *name;
	OptionKind	kind;
	bool		superuser_only;
	const char *uri_option;		/* option of the string that it becomes */
} ServerOption;

static const ServerOption server_options[] = {
	{"uri", OPTION_TEXT},
	{"read_preference", OPTION_READ_PREFERENCE, false, "readPreference"},
	{"max_staleness", OPTION_SECONDS, false, "maxStalenessSeconds"},
	{"connect_timeout", OPTION_MILLISECONDS},
	{"socket_timeout", OPTION_MILLISECONDS},
	{"compressors", OPTION_TEXT, true, "compressors"},
	{"tls_ca_file", OPTION_TEXT, true, "tlsCAFile"},
	{"app_name", OPTION_TEXT},
	{NULL}
};

static const ServerOption mapping_options[] = {
	{"username", OPTION_TEXT},
	{"password", OPTION_TEXT},
	{"auth_source", OPTION_TEXT, false, "authSource"},
	{"auth_mechanism", OPTION_MECHANISM},
	{"tls_certificate_key_file", OPTION_TEXT, true, "tlsCertificateKeyFile"},
	{"tls_certificate_key_file_password", OPTION_TEXT, true,
	"tlsCertificateKeyFilePassword"},
	{"password_file", OPTION_TEXT, true},
	{NULL}
};

static const char *const read_preferences[] = {
	"primary", "primaryPreferred", "secondary", "secondaryPreferred",
	"nearest", NULL
};

static const char *const mechanisms[] = {
	"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "MONGODB-X509", "MONGODB-AWS",
	"GSSAPI", NULL
};

/*
 * Options
 */

static void
raise_unknown_option(const ServerOption *known, const char *name)
{
	StringInfoData names;
	MmClosest	closest;
	const char *meant;

	mm_closest_init(&closest, name);
	initStringInfo(&names);
	for (; known->name; known++)
	{
		mm_closest_try(&closest, known->name);
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
						 known->name);
	}
	meant = mm_closest_get(&closest);
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 meant ? errhint("Perhaps you meant \"%s\".", meant) :
			 errhint("Valid options in this context are: %s", names.data)));
}

/* A value out of a list, without regard to case. */
static void
check_choice(const ServerOption *option, const char *value,
			 const char *const *choices)
{
	StringInfoData list;

	initStringInfo(&list);
	for (; *choices; choices++)
	{
		if (pg_strcasecmp(*choices, value) == 0)
			return;
		appendStringInfo(&list, "%s\"%s\"", list.len > 0 ? ", " : "",
						 *choices);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", option->name,
					value),
			 errhint("Available values: %s.", list.data)));
}

/* A duration with an optional unit; at least 1. */
static int
parse_duration(const ServerOption *option, const char *value)
{
	int			flags = option->kind == OPTION_SECONDS ? GUC_UNIT_S :
		GUC_UNIT_MS;
	const char *hint = NULL;
	int			result;

	if (!parse_int(value, &result, flags, &hint) || result < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\": \"%s\"",
						option->name, value),
				 hint ? errhint("%s", _(hint)) : 0));
	return result;
}

static void
check_value(const ServerOption *option, const char *value)
{
	switch (option->kind)
	{
		case OPTION_TEXT:
			break;
		case OPTION_MILLISECONDS:
		case OPTION_SECONDS:
			(void) parse_duration(option, value);
			break;
		case OPTION_READ_PREFERENCE:
			check_choice(option, value, read_preferences);
			break;
		case OPTION_MECHANISM:
			check_choice(option, value, mechanisms);
			if (mm_uri_mechanism_is_restricted(value) && !superuser())
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("permission denied to use authentication mechanism \"%s\"",
								value),
						 errdetail("Mechanisms that use the identity of the server's machine are for superusers only.")));
			break;
	}
}

static const ServerOption *
known_option(const ServerOption *known, const char *name)
{
	for (const ServerOption *option = known; option->name; option++)
	{
		if (strcmp(option->name, name) == 0)
			return option;
	}
	return NULL;
}

static void
check_options(const ServerOption *known, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);
		const ServerOption *option = known_option(known, def->defname);

		if (option == NULL)
			raise_unknown_option(known, def->defname);
		if (option->superuser_only && !superuser())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"",
							option->name),
					 errdetail(MM_URI_SUPERUSER_OPTIONS)));
		check_value(option, defGetString(def));
	}
}

static char *
get_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);

		if (strcmp(def->defname, name) == 0)
			return defGetString(def);
	}
	return NULL;
}

void
mm_source_check_server_options(List *options)
{
	char	   *uri;

	check_options(server_options, options);
	uri = get_option(options, "uri");
	if (uri == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"uri\" is required"),
				 errhint("OPTIONS (uri 'mongodb://host:27017/database')")));
	mm_uri_check(uri, superuser(), NULL);
	if (mm_uri_has_secret(uri))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("password is not allowed in the \"uri\" option of a server"),
				 errdetail("Options of foreign servers are visible to every database user."),
				 errhint("Use CREATE USER MAPPING ... OPTIONS (username '...', password '...').")));
	(void) mm_uri_parse(uri);
}

void
mm_source_check_mapping_options(List *options)
{
	check_options(mapping_options, options);
	if (get_option(options, "password") && get_option(options, "password_file"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"password\" and \"password_file\" cannot be used together")));
}

/*
 * Servers
 */

/* Names of the servers of our wrapper, as a List of char *. */
static List *
list_servers(void)
{
	ForeignDataWrapper *wrapper = GetForeignDataWrapperByName(WRAPPER_NAME,
															  true);
	List	   *names = NIL;
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (wrapper == NULL)
		return NIL;
	catalog = table_open(ForeignServerRelationId, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server server =
			(Form_pg_foreign_server) GETSTRUCT(tuple);

		if (server->srvfdw == wrapper->fdwid)
			names = lappend(names, pstrdup(NameStr(server->srvname)));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return names;
}

static int
compare_strings(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* HINT of message 1. */
static char *
known_servers_hint(void)
{
	List	   *names = list_servers();
	StringInfoData hint;
	ListCell   *lc;

	initStringInfo(&hint);
	appendStringInfoString(&hint,
						   "To use a server defined with CREATE SERVER, give its name.");
	list_sort(names, compare_strings);
	foreach(lc, names)
	{
		int			i = foreach_current_index(lc);

		if (i >= MAX_KNOWN_SERVERS)
			break;
		appendStringInfo(&hint, "%s%s", i == 0 ? " Known servers: " : ", ",
						 (char *) lfirst(lc));
	}
	if (names != NIL)
		appendStringInfoString(&hint, list_length(names) > MAX_KNOWN_SERVERS ?
							   ", ..." : ".");
	return hint.data;
}

/* Message 2. */
static void
raise_unknown_server(const char *name)
{
	MmClosest	closest;
	ListCell   *lc;
	const char *meant;

	mm_closest_init(&closest, name);
	foreach(lc, list_servers())
		mm_closest_try(&closest, lfirst(lc));
	meant = mm_closest_get(&closest);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("server \"%s\" does not exist", name),
			 meant ? errhint("Perhaps you meant \"%s\".", meant) : 0));
}

/* The server, if the user may use it; messages 2 and 16. */
static ForeignServer *
find_server(const char *name, Oid userid)
{
	ForeignServer *server = GetForeignServerByName(name, true);
	ForeignDataWrapper *wrapper;

	if (server == NULL)
		raise_unknown_server(name);
	wrapper = GetForeignDataWrapper(server->fdwid);
	if (strcmp(wrapper->fdwname, WRAPPER_NAME) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" does not use foreign-data wrapper \"%s\"",
						name, WRAPPER_NAME)));
	if (foreign_server_aclcheck_compat(server->serverid,
									   userid) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s", name),
				 errhint("GRANT USAGE ON FOREIGN SERVER %s TO %s;",
						 quote_identifier(name),
						 quote_identifier(GetUserNameFromId(userid, false)))));
	return server;
}

/* Options of the user's mapping, or of PUBLIC's; message 11. */
static List *
find_mapping(const ForeignServer *server, Oid userid)
{
	const char *user;

	if (SearchSysCacheExists2(USERMAPPINGUSERSERVER,
							  ObjectIdGetDatum(userid),
							  ObjectIdGetDatum(server->serverid)) ||
		SearchSysCacheExists2(USERMAPPINGUSERSERVER,
							  ObjectIdGetDatum(InvalidOid),
							  ObjectIdGetDatum(server->serverid)))
		return GetUserMapping(userid, server->serverid)->options;

	user = GetUserNameFromId(userid, false);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("user mapping not found for \"%s\", server \"%s\"", user,
					server->servername),
			 errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS (username '...', password '...');",
					 quote_identifier(user),
					 quote_identifier(server->servername))));
}

/* The first line of a file. */
static char *
read_password_file(const char *path)
{
	char		line[MAX_PASSWORD_BYTES];
	FILE	   *file = AllocateFile(path, "r");
	char	   *password;

	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open password file \"%s\": %m", path)));
	if (fgets(line, sizeof(line), file) == NULL)
		line[0] = '\0';
	FreeFile(file);
	line[strcspn(line, "\r\n")] = '\0';
	password = pstrdup(line);
	explicit_bzero(line, sizeof(line));
	if (password[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("password file \"%s\" is empty", path)));
	return password;
}

/*
 * The configuration
 */

static char *
or_default(const char *value, const char *fallback)
{
	return value ? pstrdup(value) : fallback ? pstrdup(fallback) : NULL;
}

/* What the string itself says. */
static MmSourceConfig *
make_config(const char *uri)
{
	MmSourceConfig *config = palloc0(sizeof(MmSourceConfig));
	MmUriFacts *facts = mm_uri_parse(uri);

	config->name = facts->hosts;
	config->uri = pstrdup(uri);
	config->database = facts->database;
	config->username = facts->username;
	config->auth_mechanism = facts->auth_mechanism;
	config->application_name = or_default(facts->application_name,
										  WRAPPER_NAME);
	config->connect_timeout_ms = facts->connect_timeout_ms > 0 ?
		facts->connect_timeout_ms : mm_connect_timeout_ms;
	config->socket_timeout_ms = facts->socket_timeout_ms > 0 ?
		facts->socket_timeout_ms : mm_socket_timeout_ms;
	return config;
}

/* Adds the options that are spelled as options of the string. */
static void
add_uri_options(MmSourceConfig *config, const ServerOption *known,
				List *options)
{
	for (; known->name; known++)
	{
		const char *value = get_option(options, known->name);

		if (value == NULL || known->uri_option == NULL)
			continue;
		if (known->kind == OPTION_SECONDS)
			value = psprintf("%d", parse_duration(known, value));
		config->uri = mm_uri_add_option(config->uri, known->uri_option,
										value);
	}
}

static void
set_timeout(int *target, List *options, const char *name)
{
	const char *value = get_option(options, name);

	if (value)
		*target = parse_duration(known_option(server_options, name), value);
}

static void
apply_server(MmSourceConfig *config, const ForeignServer *server)
{
	add_uri_options(config, server_options, server->options);
	set_timeout(&config->connect_timeout_ms, server->options,
				"connect_timeout");
	set_timeout(&config->socket_timeout_ms, server->options,
				"socket_timeout");
	config->application_name = or_default(get_option(server->options,
													 "app_name"),
										  config->application_name);
}

static void
apply_mapping(MmSourceConfig *config, List *options)
{
	const char *file = get_option(options, "password_file");

	add_uri_options(config, mapping_options, options);
	config->username = or_default(get_option(options, "username"),
								  config->username);
	config->auth_mechanism = or_default(get_option(options, "auth_mechanism"),
										config->auth_mechanism);
	config->password = file ? read_password_file(file) :
		or_default(get_option(options, "password"), NULL);
}

static MmSourceConfig *
resolve_server(const char *name, Oid userid)
{
	ForeignServer *server = find_server(name, userid);
	List	   *mapping = find_mapping(server, userid);
	const char *uri = get_option(server->options, "uri");
	MmSourceConfig *config;

	/* The validator saw to it. */
	if (uri == NULL)
		elog(ERROR, "server \"%s\" has no uri", name);
	config = make_config(uri);
	config->name = pstrdup(name);
	config->is_server = true;
	config->shown = pstrdup(name);
	config->coarse_errors = !superuser_arg(userid) &&
		!superuser_arg(server->owner);
	apply_server(config, server);
	apply_mapping(config, mapping);
	return config;
}

/* A bare string is for those who may use the wrapper. */
static void
check_wrapper(Oid userid)
{
	Oid			wrapper = GetForeignDataWrapperByName(WRAPPER_NAME,
													  false)->fdwid;

	if (foreign_data_wrapper_aclcheck_compat(wrapper, userid) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign-data wrapper %s",
						WRAPPER_NAME),
				 errhint("GRANT USAGE ON FOREIGN DATA WRAPPER %s TO %s;",
						 WRAPPER_NAME,
						 quote_identifier(GetUserNameFromId(userid, false)))));
}

void
mm_source_check_rights(const char *source, Oid userid)
{
	if (mm_source_is_uri(source))
		check_wrapper(userid);
	else
		(void) find_mapping(find_server(source, userid), userid);
}

static MmSourceConfig *
resolve_uri(const char *uri, Oid userid)
{
	bool		is_superuser = superuser_arg(userid);
	MmSourceConfig *config;

	check_wrapper(userid);
	mm_uri_check(uri, is_superuser,
				 mm_uri_has_scheme(uri) ? NULL : known_servers_hint());
	config = make_config(uri);
	config->shown = mm_uri_mask(uri);
	config->has_password = mm_uri_has_secret(uri);
	config->coarse_errors = !is_superuser;
	return config;
}

MmSourceConfig *
mm_source_resolve(const char *source, Oid userid)
{
	MmSourceConfig *config = mm_source_is_uri(source) ?
		resolve_uri(source, userid) : resolve_server(source, userid);

	if (!superuser_arg(userid))
	{
		config->allowed_hosts = pstrdup(mm_allowed_hosts);
		mm_uri_check_hosts(config->uri, config->allowed_hosts);
	}
	return config;
}
