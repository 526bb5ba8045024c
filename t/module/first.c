/*-------------------------------------------------------------------------
 *
 * first.c
 *	  Starts AddressSanitizer before anything else runs.
 *
 * A library for LD_PRELOAD, next to that of the sanitizer, which sets itself
 * up at the first malloc().  In a PostgreSQL with LDAP this is one of
 * libp11-kit's, inside newlocale(): the C library's lock on locales is held
 * then, the set-up wants it too, for a message, and so the process hangs.
 * Linked with -z initfirst, this runs before.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

static void *volatile first;

static __attribute__((constructor)) void
begin(void)
{
	first = malloc(1);
	free(first);
}
