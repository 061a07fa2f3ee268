/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a ticket is good on every shard, after a reload and after one rotation, and no more when
 * its key has been retired; keys rotate by themselves; opened connections resume, each only where
 * it has verified before; a listener shows the certificate of the name, and does not open without
 * a key for tickets.
 * How: OpenSSL as the other end, and our own.
 * Not: names and keys in detail (test_tls_sni.c, test_tls_tickets.c, test_tls_store.c).
 */
#include "tls_peer.h"

#include <errno.h>

#include <openssl/x509.h>

#include "../unit/tls_random.h"

/* Connects with @session, which may be NULL, and leaves there what it got. True: resumed. */
static bool
peer_resumes(struct rig *rig, int version, SSL_SESSION **session)
{
	struct tls_peer_setup setup = { .version = version };
	struct tls_peer peer;
	bool resumed;

	tls_peer_init(&peer, raw_dial(rig), &setup);
	if (*session != NULL) {
		assert_int_equal(SSL_set_session(peer.ssl, *session), 1);
		SSL_SESSION_free(*session);
	}
	assert_int_equal(tls_peer_handshake(&peer), 0);
	tls_peer_send(&peer, "hello", 5);
	tls_peer_recv_text(&peer, "hello"); /* tickets come before it */
	resumed = SSL_session_reused(peer.ssl) == 1;
	*session = SSL_get1_session(peer.ssl);
	tls_peer_leave(&peer);
	return resumed;
}

static uint64_t
resumed_on(const struct rig *rig, int shard)
{
	struct rl_stats stats;

	assert_int_equal(rl_system_stats(rig->sys, shard, &stats), 0);
	return stats.tls_resumed;
}

static void
life_of_a_session(struct rig *rig, rl_listener_id id, int version)
{
	uint64_t before = resumed_on(rig, -1);
	SSL_SESSION *session = NULL;

	assert_false(peer_resumes(rig, version, &session));
	for (int i = 0; i < 4; i++) {
		assert_true(peer_resumes(rig, version, &session)); /* on both shards in turn */
	}
	assert_int_equal(rl_system_rotate_tickets(rig->sys), 0);
	assert_true(peer_resumes(rig, version, &session));
	assert_int_equal(rl_system_rotate_tickets(rig->sys), 0);
	assert_true(peer_resumes(rig, version, &session)); /* it had got a fresh one */
	assert_int_equal(rl_listener_reload(rig->sys, id, &server_tls), 0);
	assert_true(peer_resumes(rig, version, &session));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rl_system_rotate_tickets(rig->sys), 0);
	}
	assert_false(peer_resumes(rig, version, &session));
	assert_true(peer_resumes(rig, version, &session));
	SSL_SESSION_free(session);
	assert_int_equal(resumed_on(rig, -1), before + 8);
}

static void
tls_session_is_resumed_on_all_shards_while_its_key_lives(void **state)
{
	struct rig *rig = *state;
	const struct rl_listener_options options = {
		.arg = &rig->probes[0],
		.conn = { .tls = &server_tls },
	};
	rl_listener_id id;

	rig_start(rig, RL_CONFIG(.accept_mode = RL_ACCEPT_ROUND_ROBIN));
	id = rig_listen_with(rig, "tls://127.0.0.1:0", &rig_echo, &options);
	life_of_a_session(rig, id, TLS1_3_VERSION);
	life_of_a_session(rig, id, TLS1_2_VERSION);
	for (uint32_t i = 0; i < rig->shards; i++) {
		assert_true(resumed_on(rig, (int)i) >= 4);
	}
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 20);
	rig_end(rig);
}

/* The timer is there, and asks again. */
static void
tls_keys_of_tickets_rotate_by_themselves(void **state)
{
	struct rig *rig = *state;
	uint64_t until_ns = rig_now_ns() + RL_MS(RIG_PATIENCE_MS);
	uint8_t names[3][16] = { { 0 } };
	uint64_t conns = 0;
	uint32_t seen = 0;

	rig_start(rig, RL_CONFIG(.tls_ticket_rotation_ns = RL_MS(20)));
	rig->restless = true;
	tls_listen(rig, &rig_echo);
	while (seen < RIG_COUNT(names)) {
		SSL_SESSION *session = NULL;
		const uint8_t *ticket;
		size_t len;

		assert_true(rig_now_ns() < until_ns);
		assert_false(peer_resumes(rig, TLS1_3_VERSION, &session));
		conns++;
		SSL_SESSION_get0_ticket(session, &ticket, &len);
		assert_true(len > 16);
		if (seen == 0 || memcmp(ticket, names[seen - 1], 16) != 0) {
			memcpy(names[seen++], ticket, 16);
		}
		SSL_SESSION_free(session);
	}
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], conns);
	rig_end(rig);
}

/* marks[0]: opened with a resumed session, marks[1]: with a new one. Ends when an echo is back. */
static int
opener_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct probe *probe = probe_note(self, msg);

	switch (msg->kind) {
	case RL_MSG_OPEN:
		PROBE_EXPECT(probe, strcmp(msg->open.tls->peer_subject, "CN=" TLS_CERTS_NAME) == 0);
		probe_add(probe, &probe->marks[msg->open.tls->resumed ? 0 : 1], 1);
		return rl_conn_send(self, "hello", 5);
	case RL_MSG_RECV:
		return probe->bytes % 5 == 0 ? RL_ACTOR_STOP : 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static const struct rl_actor_def opener = {
	.name = "opener",
	.receive = opener_receive,
	.state_size = sizeof(struct probed),
};

/* One connection to @url, from its beginning to its end: it was resumed, or was not. */
static void
assert_opens(struct rig *rig, const char *url, const struct rl_conn_options *options, bool resumed)
{
	struct probe *probe = &rig->probes[1];
	uint64_t before[2] = { probe->marks[0], probe->marks[1] };
	uint64_t ended = probe->stopped[RL_REASON_LOCAL];

	assert_int_equal(rig_open(rig, 0, url, &opener, probe, options), 0);
	rig_await(rig, probe->stopped[RL_REASON_LOCAL], ended + 1);
	assert_int_equal(probe->marks[0] - before[0], resumed);
	assert_int_equal(probe->marks[1] - before[1], !resumed);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], ended + 1);
}

static void
tls_opened_connection_resumes_what_it_has_verified(void **state)
{
	static struct rl_tls_options named = RL_TLS_OPTIONS(.server_name = TLS_CERTS_NAME);
	static struct rl_tls_options wrong = RL_TLS_OPTIONS(.server_name = "other.test");
	struct rl_conn_options plain = { .tls = &client_tls };
	struct rl_conn_options right = { .tls = &named };
	struct rl_conn_options bad = { .tls = &wrong };
	struct rig *rig = *state;
	char first[RL_URL_MAX];
	char url[RL_URL_MAX];

	named.ca_file = certs.file[CERTS_CA];
	wrong.ca_file = certs.file[CERTS_CA];
	rig_start(rig, RL_CONFIG());
	tls_listen(rig, &rig_echo);
	(void)snprintf(first, sizeof(first), "%s", rig->url);
	assert_opens(rig, first, &plain, false);
	for (int i = 0; i < 6; i++) {
		assert_opens(rig, first, &plain, true); /* each ticket once, and each gives one */
	}

	/* another name, other options, another port: nothing of that */
	(void)snprintf(url, sizeof(url), "tls://localhost%s", strrchr(first, ':'));
	assert_opens(rig, url, &plain, false);
	assert_opens(rig, url, &plain, true);
	assert_opens(rig, first, &right, false);
	assert_opens(rig, first, &right, true);
	tls_listen(rig, &rig_echo);
	assert_opens(rig, rig->url, &plain, false);

	/* keys that were retired: a full handshake, which is none that failed */
	assert_int_equal(rl_system_rotate_tickets(rig->sys), 0);
	assert_opens(rig, first, &plain, true);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rl_system_rotate_tickets(rig->sys), 0);
	}
	assert_opens(rig, first, &plain, false);
	assert_int_equal(resumed_on(rig, -1), 18); /* nine, and both ends count */

	/* whoever expects somebody else is not content with what others have verified */
	assert_int_equal(rig_open(rig, 0, first, &opener, &rig->probes[1], &bad), 0);
	rig_await(rig, rig->probes[1].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[1].error, -EKEYREJECTED);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	rig_end(rig);
}

/* A listener that says which name was asked for. */
static int
namer_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	const char *name;

	(void)probe_note(self, msg);
	if (msg->kind != RL_MSG_OPEN) {
		return RL_ACTOR_UNHANDLED;
	}
	name = msg->open.tls->server_name;
	return rl_conn_send(self, name[0] != '\0' ? name : "-", name[0] != '\0' ? strlen(name) : 1);
}

static const struct rl_actor_def namer = {
	.name = "namer",
	.receive = namer_receive,
	.state_size = sizeof(struct probed),
};

static void
assert_named(struct rig *rig, const char *name, const char *shown)
{
	const struct tls_peer_setup setup = { .name = name };
	struct tls_peer peer;
	char subject[64] = "";

	tls_peer_dial(&peer, rig->url, &setup);
	(void)X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(peer.ssl)),
					NID_commonName, subject, sizeof(subject));
	assert_string_equal(subject, shown);
	tls_peer_recv_text(&peer, name != NULL ? name : "-");
	tls_peer_leave(&peer);
}

static void
tls_listener_shows_the_certificate_of_the_name(void **state)
{
	static struct rl_tls_cert others[2];
	static struct rl_tls_options many = RL_TLS_OPTIONS(.certs = others, .certs_count = 2);
	const struct rl_listener_options options = {
		.arg = &((struct rig *)*state)->probes[0],
		.conn = { .tls = &many },
	};
	struct tls_peer_setup nobody = { .name = "nobody.test" };
	struct rig *rig = *state;
	struct tls_peer peer;
	rl_listener_id id;

	many.cert_file = certs.file[CERTS_SERVER];
	many.key_file = certs.file[CERTS_SERVER_KEY];
	others[0] = (struct rl_tls_cert){ certs.file[CERTS_OTHER], certs.file[CERTS_OTHER_KEY] };
	others[1] = (struct rl_tls_cert){ certs.file[CERTS_WILD], certs.file[CERTS_WILD_KEY] };
	rig_start(rig, RL_CONFIG());
	id = rig_listen_with(rig, "tls://127.0.0.1:0", &namer, &options);
	assert_named(rig, "other.test", "other.test");
	assert_named(rig, "a.wild.test", "wild.test");
	assert_named(rig, TLS_CERTS_NAME, TLS_CERTS_NAME);
	assert_named(rig, "nobody.test", TLS_CERTS_NAME);
	assert_named(rig, NULL, TLS_CERTS_NAME);

	/* one of several is bad: the old ones stay, all of them */
	others[1].key_file = certs.file[CERTS_EMPTY];
	assert_int_equal(rl_listener_reload(rig->sys, id, &many), -EINVAL);
	rig_assert_logged(rig, "empty.pem");
	assert_named(rig, "a.wild.test", "wild.test");
	others[1].key_file = certs.file[CERTS_WILD_KEY];
	many.certs_count = 1;
	many.refuse_unknown_names = true;
	assert_int_equal(rl_listener_reload(rig->sys, id, &many), 0);
	assert_named(rig, "other.test", "other.test");
	assert_named(rig, NULL, TLS_CERTS_NAME);
	tls_peer_init(&peer, raw_dial(rig), &nobody);
	assert_int_equal(tls_peer_handshake(&peer), -EPROTO);
	client_shut(peer.fd);
	tls_peer_close(&peer);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_TLS], 1);
	assert_int_equal(rig->probes[0].error, -EADDRNOTAVAIL);
	rig_await(rig, rig->probes[0].stopped[RL_REASON_PEER_FIN], 8);
	rig_end(rig);
}

static void
tls_listener_without_a_key_for_tickets_is_refused(void **state)
{
	const struct rl_listener_options options = { .conn = { .tls = &server_tls } };
	struct rig *rig = *state;
	rl_listener_id id;

	rig_start(rig, RL_CONFIG());
	tls_random_is_out(true);
	assert_int_equal(rl_listener_open(rig->sys, "tls://127.0.0.1:0", &namer, &options, &id),
			 -EIO);
	rig_assert_logged(rig, "OpenSSL has no random numbers");
	assert_int_equal(rl_system_rotate_tickets(rig->sys), -EIO);
	tls_random_is_out(false);
	assert_int_equal(rl_listener_open(rig->sys, "tls://127.0.0.1:0", &namer, &options, &id), 0);
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(tls_session_is_resumed_on_all_shards_while_its_key_lives),
		rig_case(tls_keys_of_tickets_rotate_by_themselves),
		rig_case(tls_opened_connection_resumes_what_it_has_verified),
		rig_case(tls_listener_shows_the_certificate_of_the_name),
		rig_case(tls_listener_without_a_key_for_tickets_is_refused),
	};

	return tls_rig_main("tls_resume", tests, RIG_COUNT(tests));
}
