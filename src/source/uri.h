/*-------------------------------------------------------------------------
 *
 * uri.h
 *	  Our own look at MongoDB connection strings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_URI_H
#define MM_URI_H

#include "postgres.h"

/* Why an option is refused, in a string as of a server or a mapping. */
#define MM_URI_SUPERUSER_OPTIONS \
	"Options that name files of the server's machine, weaken TLS or ask for compressed replies are for superusers only."

#define MM_URI_BACKSLASH "There is a backslash"

/* What a connection string says, decoded; NULL where it says nothing. */
typedef struct MmUriFacts
{
	char	   *hosts;			/* for people: host:port, or the SRV name */
	char	   *database;
	char	   *username;
	char	   *auth_mechanism;
	char	   *application_name;
	int			connect_timeout_ms; /* 0: not given */
	int			socket_timeout_ms;	/* 0: not given */
} MmUriFacts;

extern bool mm_uri_has_scheme(const char *uri);

/*
 * Raises messages 1 (with scheme_hint), 3 and 4 of the interface, and 42501
 * for what only superusers may use.  The functions below want a string that
 * has passed.
 */
extern void mm_uri_check(const char *uri, bool superuser,
						 const char *scheme_hint);

/* Does the string hold a password, or another secret? */
extern bool mm_uri_has_secret(const char *uri);

/* A copy with *** in place of each secret. */
extern char *mm_uri_mask(const char *uri);

/* A copy with one more option; the value is encoded. */
extern char *mm_uri_add_option(const char *uri, const char *name,
							   const char *value);

/*
 * Raises 42501 for a host of the string that the list of
 * mongo_migrate.allowed_hosts does not have; what only an address can tell
 * is left to the connection.
 */
extern void mm_uri_check_hosts(const char *uri, const char *allowed_hosts);

/* Raises message 1 with the driver's text when it cannot be parsed. */
extern MmUriFacts *mm_uri_parse(const char *uri);

/* May only superusers use this authentication mechanism? */
extern bool mm_uri_mechanism_is_restricted(const char *mechanism);

#endif							/* MM_URI_H */
