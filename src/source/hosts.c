/*-------------------------------------------------------------------------
 *
 * hosts.c
 *	  The setting mongo_migrate.allowed_hosts: where roles that are no
 *	  superusers may connect to.
 *
 * A list of items with commas between:
 *
 *	  db1.example.net		a name, without regard to case
 *	  *.example.net:27017	"*" is any text; a port, or any if there is none
 *	  10.1.0.0/16:27017		a network, or an address without a "/"; IPv6 in
 *	  [fd00::]/8			brackets, if a port follows
 *	  /run/mongodb.sock		a socket in the file system
 *
 * Names are compared with what is asked for, networks with the address that
 * is connected to.  So a pattern of digits and "*" is refused: what looks
 * like a network, 10.1.*, would be any name that begins with it.
 *
 * The check of the setting and the stream initiator, which runs inside the
 * driver, both come here: nothing raises or allocates.  This file is part of
 * both libraries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "source/hosts.h"

#define MAX_ITEM 255

typedef struct Item
{
	char		text[MAX_ITEM + 1]; /* a name, an address or a path */
	int			port;			/* 0: any */
	int			bits;			/* of a network; -1: not given */
	int			family;			/* AF_INET or AF_INET6: an address */
	uint8		address[16];
} Item;

/* ---------------------------------------------------------------------
 * Items
 * ---------------------------------------------------------------------
 */

/* A number from 0 to max that is all of the text; -1: it is none. */
static int
parse_number(const char *text, int max)
{
	int			value = 0;

	if (*text == '\0')
		return -1;
	for (; *text; text++)
	{
		if (*text < '0' || *text > '9')
			return -1;
		value = value * 10 + (*text - '0');
		if (value > max)
			return -1;
	}
	return value;
}

/* Cuts the port off, if there is one.  False: it is none. */
static bool
cut_port(Item *item)
{
	char	   *colon = strrchr(item->text, ':');
	bool		is_v6 = colon && strchr(item->text, ':') != colon;

	if (colon == NULL ||
		(is_v6 && (item->text[0] != '[' || strchr(colon, ']'))))
		return true;
	item->port = parse_number(colon + 1, PG_UINT16_MAX);
	*colon = '\0';
	return item->port > 0;
}

static bool
cut_bits(Item *item)
{
	char	   *slash = strchr(item->text, '/');

	if (slash == NULL)
		return true;
	item->bits = parse_number(slash + 1, 128);
	*slash = '\0';
	return item->bits >= 0;
}

static void
strip_brackets(char *text)
{
	size_t		len = strlen(text);

	if (len < 2 || text[0] != '[' || text[len - 1] != ']')
		return;
	memmove(text, text + 1, len - 2);
	text[len - 2] = '\0';
}

static const char *
parse_item(Item *item)
{
	if (item->text[0] == '/')
		return NULL;
	if (!cut_port(item))
		return "A port must be a number from 1 to 65535.";
	if (!cut_bits(item))
		return "The length of a network's prefix must be a number.";
	strip_brackets(item->text);
	if (inet_pton(AF_INET, item->text, item->address) == 1)
		item->family = AF_INET;
	else if (inet_pton(AF_INET6, item->text, item->address) == 1)
		item->family = AF_INET6;
	if (item->bits > (item->family == AF_INET6 ? 128 :
					  item->family == AF_INET ? 32 : -1))
		return "A \"/\" must stand between an address and the length of its prefix.";
	if (item->family == 0 && strpbrk(item->text, "*:") &&
		item->text[strspn(item->text, "0123456789.*:")] == '\0' &&
		strcmp(item->text, "*") != 0)
		return "Write networks like 10.1.0.0/16.";
	return item->text[0] == '\0' ? "An item is empty." : NULL;
}

/*
 * Takes the next item off the list; false at its end.  *trouble: what is
 * wrong with it, or NULL.
 */
static bool
next_item(const char **cursor, Item *item, const char **trouble)
{
	const char *start = *cursor;
	size_t		len;

	if (start == NULL)
		return false;
	len = strcspn(start, ",");
	*cursor = start[len] == ',' ? start + len + 1 : NULL;
	while (len > 0 && strchr(" \t", start[0]))
		start++, len--;
	while (len > 0 && strchr(" \t", start[len - 1]))
		len--;
	memset(item, 0, sizeof(*item));
	item->bits = -1;
	if (len > MAX_ITEM)
		*trouble = "An item is too long.";
	else
	{
		memcpy(item->text, start, len);
		*trouble = parse_item(item);
	}
	return true;
}

const char *
mm_hosts_check(const char *list)
{
	const char *trouble = NULL;
	Item		item;

	if (list[strspn(list, " \t")] == '\0')
		return NULL;
	while (trouble == NULL && next_item(&list, &item, &trouble))
		;
	return trouble;
}

/* ---------------------------------------------------------------------
 * Matching
 * ---------------------------------------------------------------------
 */

/* "*" is any text, none included. */
static bool
matches_pattern(const char *pattern, const char *text)
{
	const char *star = NULL;	/* the last one seen, */
	const char *retry = NULL;	/* and where its text ends so far */

	while (*text)
	{
		if (*pattern == '*')
		{
			star = pattern++;
			retry = text;
		}
		else if (pg_ascii_tolower(*pattern) ==
				 pg_ascii_tolower(*text))
		{
			pattern++;
			text++;
		}
		else if (star)
		{
			pattern = star + 1;
			text = ++retry;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* The bytes of an address; those of IPv4 also when it is mapped into IPv6. */
static int
unpack_address(const struct sockaddr *address, const uint8 **bytes, int *port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *) address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) address;

	if (address->sa_family == AF_INET)
	{
		*bytes = (const uint8 *) &v4->sin_addr;
		*port = ntohs(v4->sin_port);
		return AF_INET;
	}
	if (address->sa_family != AF_INET6)
		return 0;
	*port = ntohs(v6->sin6_port);
	*bytes = v6->sin6_addr.s6_addr;
	if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return AF_INET6;
	*bytes += 12;
	return AF_INET;
}

static bool
is_in_network(const Item *item, int family, const uint8 *bytes)
{
	int			bits = item->bits >= 0 ? item->bits :
		(family == AF_INET ? 32 : 128);

	if (item->family != family)
		return false;
	if (memcmp(item->address, bytes, bits / 8) != 0)
		return false;
	return bits % 8 == 0 ||
		((item->address[bits / 8] ^ bytes[bits / 8]) >> (8 - bits % 8)) == 0;
}

static bool
is_port(const Item *item, int port)
{
	return item->port == 0 || item->port == port;
}

MmHostAnswer
mm_hosts_match(const char *list, const char *host, int port)
{
	MmHostAnswer answer = MM_HOST_DENIED;
	/* The driver takes relative paths, too. */
	bool		is_socket = strchr(host, '/') != NULL;
	const char *trouble;
	Item		item;

	while (next_item(&list, &item, &trouble))
	{
		if (trouble != NULL)
			continue;
		if (item.text[0] == '/' || is_socket)
		{
			if (strcmp(item.text, host) == 0)
				return MM_HOST_ALLOWED;
		}
		else if (item.family != 0)
			answer = MM_HOST_BY_ADDRESS;
		else if (is_port(&item, port) && matches_pattern(item.text, host))
			return MM_HOST_ALLOWED;
	}
	return is_socket ? MM_HOST_DENIED : answer;
}

bool
mm_hosts_match_address(const char *list, const struct sockaddr *address)
{
	const uint8 *bytes;
	int			port;
	int			family = unpack_address(address, &bytes, &port);
	const char *trouble;
	Item		item;

	if (family == 0)
		return false;
	while (next_item(&list, &item, &trouble))
	{
		if (trouble == NULL && item.family != 0 && is_port(&item, port) &&
			is_in_network(&item, family, bytes))
			return true;
	}
	return false;
}
