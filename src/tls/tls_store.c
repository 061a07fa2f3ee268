/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Kept sessions. Invariant: each was verified for the name, port and context of its site, and a
 * place that was found for one is worth nothing once the slot is another's.
 */
#include "tls/tls_store.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tls/tls_tickets.h"

int
rli_tls_store_init(struct tls_store *store, uint32_t sites_max)
{
	list_init(&store->recent);
	return rli_slab_init(&store->sites, sizeof(struct tls_site), sites_max);
}

/* Forgets the @index-th. */
static void
site_drop(struct tls_site *site, uint32_t index)
{
	SSL_SESSION_free(site->kept[index].session);
	site->count--;
	memmove(&site->kept[index], &site->kept[index + 1],
		(site->count - index) * sizeof(site->kept[0]));
}

static void
site_clear(struct tls_site *site)
{
	while (site->count > 0) {
		site_drop(site, site->count - 1u);
	}
	site->number++;
}

void
rli_tls_store_fini(struct tls_store *store)
{
	while (store->sites.taken > 0) {
		struct tls_site *site =
			list_entry(list_pop_front(&store->recent), struct tls_site, recent);

		site_clear(site);
		rli_slab_give(&store->sites, site);
	}
	rli_slab_fini(&store->sites);
}

/* FNV-1a: an attacker who could choose names would only make us compare them. */
static uint32_t
site_hash(const char *name, uint16_t port)
{
	uint32_t hash = 2166136261u ^ port;

	for (; *name != '\0'; name++) {
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	}
	return hash;
}

static struct tls_site *
store_find(const struct tls_store *store, const struct tls_site *like)
{
	for (struct list_node *node = store->recent.head.next; node != &store->recent.head;
	     node = node->next) {
		struct tls_site *site = list_entry(node, struct tls_site, recent);

		if (site->hash == like->hash && site->port == like->port &&
		    site->context == like->context && strcmp(site->name, like->name) == 0) {
			return site;
		}
	}
	return NULL;
}

/* A new one, or the least recently opened one, emptied; on no list. NULL: no memory. */
static struct tls_site *
store_room(struct tls_store *store)
{
	struct tls_site *site = rli_slab_take(&store->sites);

	if (site == NULL && !list_is_empty(&store->recent)) {
		site = list_entry(store->recent.head.prev, struct tls_site, recent);
		list_remove(&site->recent);
		site_clear(site);
	}
	return site;
}

struct tls_place
rli_tls_store_place(struct tls_store *store, const struct tls_context *context, const char *name,
		    uint16_t port)
{
	struct tls_site like = { .context = context, .port = port };
	struct tls_site *site;
	uint32_t number;

	if (strlen(name) > TLS_SITE_NAME_MAX) {
		return (struct tls_place){ .site = NULL };
	}
	memcpy(like.name, name, strlen(name));
	like.hash = site_hash(name, port);
	site = store_find(store, &like);
	if (site != NULL) {
		list_remove(&site->recent);
	} else {
		site = store_room(store);
		if (site == NULL) {
			return (struct tls_place){ .site = NULL };
		}
		number = site->number;
		*site = like;
		site->number = number;
		list_node_init(&site->recent);
	}
	list_push_front(&store->recent, &site->recent);
	return (struct tls_place){ .site = site, .number = site->number };
}

int
rli_tls_store_keep(struct tls_place place, struct ssl_session_st *session, uint64_t proved_ns,
		   uint64_t now_ns)
{
	struct tls_site *site = place.site;
	uint64_t life_ns = SSL_SESSION_get_ticket_lifetime_hint(session) * UINT64_C(1000000000);

	if (site == NULL || site->number != place.number || !SSL_SESSION_is_resumable(session)) {
		return 0;
	}
	if (site->count == TLS_SITE_SESSIONS) {
		site_drop(site, 0);
	}
	life_ns = life_ns != 0 && life_ns < TLS_KEPT_MAX_NS ? life_ns : TLS_KEPT_MAX_NS;
	site->kept[site->count++] = (struct tls_kept){ session, proved_ns, now_ns + life_ns };
	return 1;
}

/* What was verified then would be so now. */
static bool
kept_is_good(const struct tls_kept *kept, uint64_t now_ns)
{
	const X509 *cert = SSL_SESSION_get0_peer(kept->session);

	return now_ns < kept->until_ns && now_ns - kept->proved_ns < TLS_PROOF_MAX_NS &&
	       SSL_SESSION_is_resumable(kept->session) == 1 && cert != NULL &&
	       X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

struct ssl_session_st *
rli_tls_store_take(struct tls_place place, uint64_t now_ns, uint64_t *proved_ns)
{
	struct tls_site *site = place.site;

	while (site != NULL && site->number == place.number && site->count > 0) {
		uint32_t newest = site->count - 1u;
		SSL_SESSION *session = site->kept[newest].session;

		if (!kept_is_good(&site->kept[newest], now_ns)) {
			site_drop(site, newest);
			continue;
		}
		*proved_ns = site->kept[newest].proved_ns;
		(void)SSL_SESSION_up_ref(session); /* fails for a count that is out of order */
		if (SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION) {
			site_drop(site, newest);
		}
		return session;
	}
	return NULL;
}
