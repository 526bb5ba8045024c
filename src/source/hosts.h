/*-------------------------------------------------------------------------
 *
 * hosts.h
 *	  The setting mongo_migrate.allowed_hosts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_HOSTS_H
#define MM_HOSTS_H

#include "postgres.h"

#include <sys/socket.h>

#define MM_HOSTS_HINT \
	"An administrator can add it: ALTER SYSTEM SET mongo_migrate.allowed_hosts = ..., then SELECT pg_reload_conf()."

typedef enum MmHostAnswer
{
	MM_HOST_DENIED,
	MM_HOST_ALLOWED,
	MM_HOST_BY_ADDRESS			/* its addresses decide */
} MmHostAnswer;

/* NULL, or what is wrong with the list: a sentence about an item of it. */
extern const char *mm_hosts_check(const char *list);

/* A host by its name, its address as text or, with a "/" in front, its path. */
extern MmHostAnswer mm_hosts_match(const char *list, const char *host,
								   int port);

/* One of the addresses of a host. */
extern bool mm_hosts_match_address(const char *list,
								   const struct sockaddr *address);

#endif							/* MM_HOSTS_H */
