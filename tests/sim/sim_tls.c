/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_METHOD: a provider is a module of its own */

#include "sim_tls.h"

#include <errno.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "sim_kernel.h"
#include "sim_world.h"

#define TLS_OUT_MAX    20000 /* ciphertext that waits for the socket: then no more is made */
#define TLS_JUNK_BYTES 64
#define TLS_SETUP_SEED 0x7e57 /* keys and certificates are the same in every process */
#define TLS_UPDATE     3000 /* keys are changed with a write, in 65536 */
#define TLS_SHORT      512 /* the shortest records that may be asked for */
#define TLS_KEPT_MAX   8

static SSL_CTX *tls_contexts[SIM_TLS_KINDS];
static struct sim_tls_files tls_files;
static struct rl_tls_options tls_listener =
	RL_TLS_OPTIONS(.cert_file = tls_files.server, .key_file = tls_files.server_key);
static struct rl_tls_options tls_mutual =
	RL_TLS_OPTIONS(.cert_file = tls_files.server, .key_file = tls_files.server_key,
		       .ca_file = tls_files.ca);
static struct rl_tls_options tls_client =
	RL_TLS_OPTIONS(.cert_file = tls_files.client, .key_file = tls_files.client_key,
		       .ca_file = tls_files.ca, .server_name = SIM_TLS_NAME);

/* Sessions of clients that come again, in the order they came; the oldest goes first. */
static struct tls_kept {
	SSL_SESSION *session;
	uint8_t kind;
	bool asks_short; /* it is part of a session (RFC 6066) */
} tls_kept[TLS_KEPT_MAX];
static uint32_t tls_kept_next;

/* ---- random numbers */

static int
random_bytes(unsigned char *out, int len)
{
	for (int i = 0; i < len; i += 8) {
		uint64_t word = sim_tls_random();
		int n = len - i < 8 ? len - i : 8;

		memcpy(out + i, &word, (size_t)n);
	}
	return 1;
}

static int
random_status(void)
{
	return 1;
}

static const RAND_METHOD random_method = {
	.bytes = random_bytes,
	.pseudorand = random_bytes,
	.status = random_status,
};

/* ---- sessions that are kept */

static bool
kind_is_server(enum sim_tls_kind kind)
{
	return kind >= SIM_TLS_SERVER;
}

/* OpenSSL seals a ticket. */
static int
ticket_fatten(SSL *ssl, void *arg)
{
	static const uint8_t fat[8192];
	const struct sim_tls *tls = SSL_get_app_data(ssl);

	(void)arg;
	return tls->fat == 0 ||
	       SSL_SESSION_set1_ticket_appdata(SSL_get0_session(ssl), fat, tls->fat) == 1;
}

/* A client got a session: 1 takes it. */
static int
session_keep(SSL *ssl, SSL_SESSION *session)
{
	const struct sim_tls *tls = SSL_get_app_data(ssl);
	struct tls_kept *kept = &tls_kept[tls_kept_next % TLS_KEPT_MAX];

	if (!tls->again) {
		return 0;
	}
	tls_kept_next++;
	SSL_SESSION_free(kept->session);
	*kept = (struct tls_kept){ session, tls->kind, tls->asks_short };
	return 1;
}

void
sim_tls_again(struct sim_tls *tls)
{
	const struct tls_kept *kept = &tls_kept[sim_below(TLS_KEPT_MAX)];

	tls->again = true;
	if (kept->session != NULL && kept->kind == tls->kind &&
	    kept->asks_short == tls->asks_short) {
		sim_check(SSL_set_session(tls->ssl, kept->session) == 1, "no session to resume");
	}
}

void
sim_tls_forget(void)
{
	for (uint32_t i = 0; i < TLS_KEPT_MAX; i++) {
		SSL_SESSION_free(tls_kept[i].session);
	}
	memset(tls_kept, 0, sizeof(tls_kept));
	tls_kept_next = 0;
}

void
sim_tls_setup(void)
{
	uint64_t rng = sim_world.tls_rng;

	if (tls_contexts[0] != NULL) {
		return;
	}
	sim_check(RAND_set_rand_method(&random_method) == 1, "random numbers are not the seed's");
	sim_world.tls_rng = TLS_SETUP_SEED;
	sim_tls_certs(&tls_files, tls_contexts);
	for (int kind = 0; kind < SIM_TLS_KINDS; kind++) {
		if (kind_is_server((enum sim_tls_kind)kind)) {
			(void)SSL_CTX_set_session_ticket_cb(tls_contexts[kind], ticket_fatten, NULL,
							    NULL);
		} else {
			SSL_CTX_sess_set_new_cb(tls_contexts[kind], session_keep);
		}
	}
	sim_world.tls_rng = rng;
}

const struct rl_tls_options *
sim_tls_listener(bool mutual)
{
	return mutual ? &tls_mutual : &tls_listener;
}

const struct rl_tls_options *
sim_tls_client(void)
{
	return &tls_client;
}

/* ---- a session */

void
sim_tls_init(struct sim_tls *tls, enum sim_tls_kind kind)
{
	memset(tls, 0, sizeof(*tls));
	tls->flip_at = UINT64_MAX;
	tls->junk_at = UINT64_MAX;
	tls->ssl = SSL_new(tls_contexts[kind]);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	sim_check(tls->ssl != NULL && tls->in != NULL && tls->out != NULL, "no session");
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	tls->kind = (uint8_t)kind;
	(void)SSL_set_app_data(tls->ssl, tls);
	if (kind_is_server(kind)) {
		SSL_set_accept_state(tls->ssl);
	} else {
		SSL_set_connect_state(tls->ssl);
	}
}

void
sim_tls_fini(struct sim_tls *tls)
{
	SSL_free(tls->ssl);
	tls->ssl = NULL;
}

void
sim_tls_old(struct sim_tls *tls)
{
	sim_check(SSL_set_max_proto_version(tls->ssl, TLS1_2_VERSION) == 1, "no TLS 1.2");
}

void
sim_tls_split(struct sim_tls *tls, uint32_t fat)
{
	sim_check(SSL_set_max_send_fragment(tls->ssl, TLS_SHORT) == 1, "no short records");
	tls->fat = fat;
}

void
sim_tls_ask_short(struct sim_tls *tls)
{
	tls->asks_short = true;
	sim_check(SSL_set_tlsext_max_fragment_length(tls->ssl, TLSEXT_max_fragment_length_512) == 1,
		  "no short records");
}

bool
sim_tls_is_mutual(const SSL *ssl)
{
	return SSL_is_server(ssl) &&
	       (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
}

bool
sim_tls_has_output(const struct sim_tls *tls)
{
	return BIO_ctrl_pending(tls->out) > 0;
}

bool
sim_tls_has_input(const struct sim_tls *tls)
{
	return BIO_ctrl_pending(tls->in) > 0 || SSL_pending(tls->ssl) > 0;
}

/* Something that is no TLS, in between. */
static int64_t
tls_junk(struct sim_tls *tls, struct sk_sock *sock)
{
	uint8_t junk[TLS_JUNK_BYTES];

	for (size_t i = 0; i < sizeof(junk); i++) {
		junk[i] = (uint8_t)sim_random();
	}
	tls->junk_at = UINT64_MAX;
	tls->spoilt = true;
	return sk_write(sock, junk, (uint32_t)sim_between(1, sizeof(junk)));
}

int64_t
sim_tls_out(struct sim_tls *tls, struct sk_sock *sock, uint32_t max)
{
	char *data;
	long len = BIO_get_mem_data(tls->out, &data);
	uint8_t piece[8192];
	uint32_t n = (uint64_t)len < max ? (uint32_t)len : max;
	int64_t took;

	if (tls->written >= tls->junk_at) {
		return tls_junk(tls, sock);
	}
	n = n < sizeof(piece) ? n : (uint32_t)sizeof(piece);
	if (n > 0) {
		memcpy(piece, data, n);
	}
	if (tls->flip_at >= tls->written && tls->flip_at - tls->written < n) {
		piece[tls->flip_at - tls->written] ^= (uint8_t)(1u << sim_below(8));
	}
	took = sk_write(sock, piece, n);
	if (took > 0) {
		tls->spoilt = tls->spoilt || (tls->flip_at >= tls->written &&
					      tls->flip_at - tls->written < (uint64_t)took);
		tls->written += (uint64_t)took;
		tls->moved += (uint64_t)took;
		(void)BIO_read(tls->out, piece, (int)took);
	}
	return took;
}

int64_t
sim_tls_in(struct sim_tls *tls, struct sk_sock *sock, uint32_t max)
{
	uint8_t piece[8192];
	int64_t got = sk_read(sock, piece, max < sizeof(piece) ? max : (uint32_t)sizeof(piece));

	if (got > 0) {
		tls->moved += (uint64_t)got;
		sim_check(BIO_write(tls->in, piece, (int)got) == got, "no memory for a peer");
	} else if (got == 0) {
		tls->fin = true;
	}
	return got;
}

/* A call did not do it: -EAGAIN, -ECONNABORTED or -EPROTO; 0: close_notify came. */
static int64_t
tls_why_not(struct sim_tls *tls, int answer)
{
	switch (SSL_get_error(tls->ssl, answer)) {
	case SSL_ERROR_WANT_READ:
		return tls->fin ? -ECONNABORTED : -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		tls->ended = true;
		return 0;
	default:
		tls->failed = true;
		return -EPROTO;
	}
}

void
sim_tls_shake(struct sim_tls *tls)
{
	int answer;

	ERR_clear_error();
	answer = SSL_do_handshake(tls->ssl);
	if (answer == 1) {
		tls->shaken = true;
	} else {
		(void)tls_why_not(tls, answer);
	}
}

bool
sim_tls_may_write(const struct sim_tls *tls)
{
	return tls->shaken && !tls->failed && BIO_ctrl_pending(tls->out) < TLS_OUT_MAX;
}

int64_t
sim_tls_write(struct sim_tls *tls, const void *data, uint32_t len)
{
	size_t took;
	int answer;

	if (!sim_tls_may_write(tls)) {
		return -EAGAIN;
	}
	if (tls->updates && sim_chance(TLS_UPDATE)) {
		sim_tls_update(tls, sim_coin());
	}
	ERR_clear_error();
	answer = SSL_write_ex(tls->ssl, data, len, &took);
	return answer == 1 ? (int64_t)took : tls_why_not(tls, answer);
}

int64_t
sim_tls_read(struct sim_tls *tls, void *data, uint32_t len)
{
	size_t got;
	int answer;

	ERR_clear_error();
	answer = SSL_read_ex(tls->ssl, data, len, &got);
	return answer == 1 ? (int64_t)got : tls_why_not(tls, answer);
}

void
sim_tls_end(struct sim_tls *tls)
{
	ERR_clear_error();
	tls->said = true;
	(void)SSL_do_handshake(tls->ssl); /* new keys that were not said yet */
	sim_check(SSL_shutdown(tls->ssl) >= 0, "a peer can't say close_notify: %s", sim_tls_why());
}

void
sim_tls_update(struct sim_tls *tls, bool both)
{
	if (SSL_version(tls->ssl) == TLS1_3_VERSION) {
		ERR_clear_error();
		(void)SSL_key_update(tls->ssl, both ? SSL_KEY_UPDATE_REQUESTED
						    : SSL_KEY_UPDATE_NOT_REQUESTED);
	}
}

const char *
sim_tls_why(void)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());

	return why != NULL ? why : "no reason";
}
