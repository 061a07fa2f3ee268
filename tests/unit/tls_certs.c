/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * X.509 by hand: small P-256 certificates, written as PEM.
 */
#include "tls_certs.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

struct wish {
	const char *name;
	const char *alt; /* subjectAltName; NULL: none */
	long from_s; /* from now */
	long until_s;
	bool authority;
};

#define DAY_S 86400L

static const char *const certs_names[CERTS_FILES] = {
	[CERTS_CA] = "ca.pem",
	[CERTS_SERVER] = "server.pem",
	[CERTS_SERVER_KEY] = "server.key",
	[CERTS_OTHER] = "other.pem",
	[CERTS_OTHER_KEY] = "other.key",
	[CERTS_CLIENT] = "client.pem",
	[CERTS_CLIENT_KEY] = "client.key",
	[CERTS_LONG] = "long.pem",
	[CERTS_LONG_KEY] = "long.key",
	[CERTS_EXPIRED] = "expired.pem",
	[CERTS_EARLY] = "early.pem",
	[CERTS_STRANGER] = "stranger.pem",
	[CERTS_STRANGER_KEY] = "stranger.key",
	[CERTS_WILD] = "wild.pem",
	[CERTS_WILD_KEY] = "wild.key",
	[CERTS_EMPTY] = "empty.pem",
};

static void
must(bool did, const char *what)
{
	if (!did) {
		(void)fprintf(stderr, "certificates: can't %s\n", what);
		abort();
	}
}

static void
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	must(extension != NULL && X509_add_ext(cert, extension, -1) == 1, "extend");
	X509_EXTENSION_free(extension);
}

/* @by: who signs; NULL: itself. */
static struct identity
identity_make(const struct wish *wish, const struct identity *by, EVP_PKEY *key)
{
	static long serial;
	struct identity made = { key != NULL ? key : EVP_EC_gen("P-256"), X509_new() };
	X509_NAME *name;

	must(made.key != NULL && made.cert != NULL, "make a key");
	if (by == NULL) {
		by = &made;
	}
	name = X509_get_subject_name(made.cert);
	must(X509_set_version(made.cert, X509_VERSION_3) == 1 &&
		     ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial) == 1 &&
		     X509_gmtime_adj(X509_getm_notBefore(made.cert), wish->from_s) != NULL &&
		     X509_gmtime_adj(X509_getm_notAfter(made.cert), wish->until_s) != NULL &&
		     X509_set_pubkey(made.cert, made.key) == 1 &&
		     X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
						(const uint8_t *)wish->name, -1, -1, 0) == 1 &&
		     (wish->name[0] != ',' ||
		      X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
						 (const uint8_t *)wish->name, -1, -1, 0) == 1) &&
		     X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert)) == 1,
	     "fill");
	if (wish->authority) {
		extend(made.cert, by->cert, NID_basic_constraints, "critical,CA:TRUE");
	}
	if (wish->alt != NULL) {
		extend(made.cert, by->cert, NID_subject_alt_name, wish->alt);
	}
	must(X509_sign(made.cert, by->key, EVP_sha256()) > 0, "sign");
	return made;
}

static void
identity_free(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->cert);
}

static FILE *
certs_open(const struct tls_certs *certs, enum tls_certs_file file)
{
	FILE *out = fopen(certs->file[file], "w");

	must(out != NULL, certs->file[file]);
	return out;
}

static void
certs_write(const struct tls_certs *certs, enum tls_certs_file file, X509 *cert)
{
	FILE *out = certs_open(certs, file);

	must(PEM_write_X509(out, cert) == 1 && fclose(out) == 0, "write");
}

static void
certs_write_key(const struct tls_certs *certs, enum tls_certs_file file, EVP_PKEY *key)
{
	FILE *out = certs_open(certs, file);

	must(fchmod(fileno(out), S_IRUSR | S_IWUSR) == 0, "protect a key");
	must(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(out) == 0,
	     "write");
}

static void
certs_issue(const struct tls_certs *certs, enum tls_certs_file file, const struct wish *wish,
	    const struct identity *by)
{
	struct identity made =
		identity_make(wish, by, file == CERTS_WILD ? EVP_RSA_gen(2048) : NULL);

	certs_write(certs, file, made.cert);
	certs_write_key(certs, file + 1, made.key); /* the key's file is the next */
	identity_free(&made);
}

/* A certificate with the server's key that is not valid now. */
static void
certs_issue_bad(const struct tls_certs *certs, enum tls_certs_file file, const struct wish *wish,
		const struct identity *ca, const struct identity *server)
{
	struct identity made;

	must(EVP_PKEY_up_ref(server->key) == 1, "share a key");
	made = identity_make(wish, ca, server->key);
	certs_write(certs, file, made.cert);
	identity_free(&made);
}

void
tls_certs_make(struct tls_certs *certs)
{
	static const struct wish ca_wish = { "Test Authority", NULL, -DAY_S, DAY_S, true };
	static const struct wish server_wish = {
		TLS_CERTS_NAME, "DNS:" TLS_CERTS_NAME ",DNS:localhost,IP:127.0.0.1,IP:::1",
		-DAY_S,		DAY_S,
		false,
	};
	static const struct wish other = { "other.test", "DNS:other.test", -DAY_S, DAY_S, false };
	static const struct wish client = { "client 7", NULL, -DAY_S, DAY_S, false };
	/* commas are escaped, so 64 are 128, and no common name may have more */
	static const struct wish endless = {
		",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,",
		NULL,
		-DAY_S,
		DAY_S,
		false,
	};
	static const struct wish wild = {
		"wild.test", "DNS:*.Wild.test,DNS:" TLS_CERTS_NAME, -DAY_S, DAY_S, false,
	};
	static const struct wish expired = { TLS_CERTS_NAME, NULL, -2 * DAY_S, -1, false };
	static const struct wish early = { TLS_CERTS_NAME, NULL, DAY_S, 2 * DAY_S, false };
	struct identity ca = identity_make(&ca_wish, NULL, NULL);
	struct identity server = identity_make(&server_wish, &ca, NULL);

	(void)snprintf(certs->dir, sizeof(certs->dir), "/tmp/ringline-certs-XXXXXX");
	must(mkdtemp(certs->dir) != NULL, "make a directory");
	for (int i = 0; i < CERTS_FILES; i++) {
		(void)snprintf(certs->file[i], sizeof(certs->file[i]), "%s/%s", certs->dir,
			       certs_names[i]);
	}
	certs_write(certs, CERTS_CA, ca.cert);
	certs_write(certs, CERTS_SERVER, server.cert);
	certs_write_key(certs, CERTS_SERVER_KEY, server.key);
	certs_issue(certs, CERTS_OTHER, &other, &ca);
	certs_issue(certs, CERTS_CLIENT, &client, &ca);
	certs_issue(certs, CERTS_LONG, &endless, &ca);
	certs_issue(certs, CERTS_WILD, &wild, &ca);
	certs_issue(certs, CERTS_STRANGER, &server_wish, NULL);
	certs_issue_bad(certs, CERTS_EXPIRED, &expired, &ca, &server);
	certs_issue_bad(certs, CERTS_EARLY, &early, &ca, &server);
	must(fclose(certs_open(certs, CERTS_EMPTY)) == 0, "write");
	identity_free(&ca);
	identity_free(&server);
}

void
tls_certs_remove(const struct tls_certs *certs)
{
	for (int i = 0; i < CERTS_FILES; i++) {
		(void)unlink(certs->file[i]);
	}
	(void)rmdir(certs->dir);
}
