/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sessions that a shard's opened connections may resume: a bounded number of sites, the least
 * recently opened one makes room. A site is what was verified: a name, at a port, under certain
 * options. A session is found only there, so it is resumed only where the same name would be
 * verified by the same rules.
 */
#ifndef RINGLINE_TLS_TLS_STORE_H
#define RINGLINE_TLS_TLS_STORE_H

#include <stdint.h>

#include "base/list.h"
#include "base/slab.h"

#define TLS_SITE_SESSIONS 4 /* the oldest makes room */
#define TLS_SITE_NAME_MAX 255 /* bytes; a longer name is not kept */
#define TLS_KEPT_MAX_NS	  (UINT64_C(7200) * 1000000000)

struct ssl_session_st;
struct tls_context;

struct tls_kept {
	struct ssl_session_st *session;
	uint64_t proved_ns; /* when certificates were verified */
	uint64_t until_ns;
};

struct tls_site {
	uint32_t slab_link;
	uint32_t number; /* counts who had this slot: what was found once may be another's now */
	struct list_node recent; /* on store->recent */
	const struct tls_context *context;
	uint32_t hash;
	uint16_t port;
	uint16_t count; /* of kept */
	struct tls_kept kept[TLS_SITE_SESSIONS]; /* the oldest first */
	char name[TLS_SITE_NAME_MAX + 1];
};

struct tls_store {
	struct slab sites;
	struct list recent; /* all of them, the last opened first */
};

/* Where a connection's sessions are kept; zero: nowhere. */
struct tls_place {
	struct tls_site *site;
	uint32_t number;
};

/* 0 or -ENOMEM. */
int rli_tls_store_init(struct tls_store *store, uint32_t sites_max);

/* Zeroed memory is fine. */
void rli_tls_store_fini(struct tls_store *store);

/* Where sessions of @name at @port under @context are kept from now on. */
struct tls_place rli_tls_store_place(struct tls_store *store, const struct tls_context *context,
				     const char *name, uint16_t port);

/*
 * Takes @session, which rests on what was verified at @proved_ns, and answers 1; or 0: the place is
 * somebody else's by now.
 */
int rli_tls_store_keep(struct tls_place place, struct ssl_session_st *session, uint64_t proved_ns,
		       uint64_t now_ns);

/*
 * The newest session that can still be resumed, the caller's now; NULL: none. One of TLS 1.3 is
 * given out once.
 */
struct ssl_session_st *rli_tls_store_take(struct tls_place place, uint64_t now_ns,
					  uint64_t *proved_ns);

#endif
