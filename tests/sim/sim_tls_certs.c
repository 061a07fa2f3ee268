/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Certificates of the simulated world: P-256, valid for a century, in memory that has names of
 * files. Whoever makes them twice from the same random numbers makes the same.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "sim_tls.h"
#include "sim_world.h"

#define CERTS_COMMENT 1500

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static void
identity_extend(const struct identity *made, const struct identity *by, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, by->cert, made->cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	sim_check(extension != NULL && X509_add_ext(made->cert, extension, -1) == 1,
		  "no certificate: %s", value);
	X509_EXTENSION_free(extension);
}

/*
 * @by: who signs; NULL: itself. @names: whose it is; NULL: an authority's. @comment: something that
 * makes it longer; or NULL.
 */
static struct identity
identity_make(const char *name, const char *names, const char *comment, const struct identity *by)
{
	static long serial;
	struct identity made = { EVP_EC_gen("P-256"), X509_new() };
	X509_NAME *subject;

	by = by != NULL ? by : &made;
	sim_check(made.key != NULL && made.cert != NULL, "no certificate");
	subject = X509_get_subject_name(made.cert);
	sim_check(X509_set_version(made.cert, X509_VERSION_3) == 1 &&
			  ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial) == 1 &&
			  ASN1_TIME_set_string(X509_getm_notBefore(made.cert), "20200101000000Z") ==
				  1 &&
			  ASN1_TIME_set_string(X509_getm_notAfter(made.cert), "21200101000000Z") ==
				  1 &&
			  X509_set_pubkey(made.cert, made.key) == 1 &&
			  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
						     (const uint8_t *)name, -1, -1, 0) == 1 &&
			  X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert)) == 1,
		  "no certificate: %s", name);
	if (name[0] == ',') {
		sim_check(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
						     (const uint8_t *)name, -1, -1, 0) == 1,
			  "no certificate: %s", name);
	}
	identity_extend(&made, by, names == NULL ? NID_basic_constraints : NID_subject_alt_name,
			names == NULL ? "critical,CA:TRUE" : names);
	if (comment != NULL) {
		identity_extend(&made, by, NID_netscape_comment, comment);
	}
	sim_check(X509_sign(made.cert, by->key, EVP_sha256()) > 0, "no certificate: %s", name);
	return made;
}

static void
identity_free(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->cert);
}

/* It stays open as long as the process: that is what keeps it. */
static FILE *
certs_open(char path[32])
{
	int fd = memfd_create("ringline-sim", 0);

	sim_check(fd >= 0 && fchmod(fd, S_IRUSR | S_IWUSR) == 0, "no memory with a name");
	(void)snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fdopen(fd, "w");
}

static void
certs_write(char path[32], X509 *cert)
{
	FILE *out = certs_open(path);

	sim_check(PEM_write_X509(out, cert) == 1 && fflush(out) == 0, "not written");
}

static void
certs_write_key(char path[32], EVP_PKEY *key)
{
	FILE *out = certs_open(path);

	sim_check(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
			  fflush(out) == 0,
		  "not written");
}

/* A peer trusts everybody: what it must not trust is for others to test. */
static SSL_CTX *
certs_context(bool server, const struct identity *own)
{
	SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	sim_check(context != NULL &&
			  (own == NULL || (SSL_CTX_use_certificate(context, own->cert) == 1 &&
					   SSL_CTX_use_PrivateKey(context, own->key) == 1)),
		  "no context");
	(void)SSL_CTX_set_session_cache_mode(context, server ? SSL_SESS_CACHE_OFF
							     : SSL_SESS_CACHE_CLIENT |
								       SSL_SESS_CACHE_NO_INTERNAL);
	(void)SSL_CTX_set_mode(context,
			       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return context;
}

void
sim_tls_certs(struct sim_tls_files *files, SSL_CTX *contexts[SIM_TLS_KINDS])
{
	static const char names[] = "DNS:" SIM_TLS_NAME ",IP:127.0.0.1,IP:::1";
	/* each is escaped, and there are two such parts */
	static const char commas[] =
		",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,";
	char comment[CERTS_COMMENT + 1] = "";
	struct identity ca = identity_make("authority", NULL, NULL, NULL);
	struct identity server = identity_make("server", names, NULL, &ca);
	struct identity client = identity_make("client", "DNS:client.sim", NULL, &ca);
	struct identity stranger = identity_make("server", names, NULL, NULL);
	struct identity endless = identity_make(commas, "DNS:client.sim", NULL, &ca);
	struct identity long_server;
	struct identity long_client;

	memset(comment, 'x', CERTS_COMMENT);
	long_server = identity_make("server", names, comment, &ca);
	long_client = identity_make("client", "DNS:client.sim", comment, &ca);
	certs_write(files->ca, ca.cert);
	certs_write(files->server, server.cert);
	certs_write_key(files->server_key, server.key);
	certs_write(files->client, client.cert);
	certs_write_key(files->client_key, client.key);
	contexts[SIM_TLS_CLIENT] = certs_context(false, &client);
	contexts[SIM_TLS_NOBODY] = certs_context(false, NULL);
	contexts[SIM_TLS_ENDLESS] = certs_context(false, &endless);
	contexts[SIM_TLS_SERVER] = certs_context(true, &server);
	contexts[SIM_TLS_STRANGER] = certs_context(true, &stranger);
	contexts[SIM_TLS_LONG_CLIENT] = certs_context(false, &long_client);
	contexts[SIM_TLS_LONG_SERVER] = certs_context(true, &long_server);
	identity_free(&ca);
	identity_free(&server);
	identity_free(&client);
	identity_free(&stranger);
	identity_free(&endless);
	identity_free(&long_server);
	identity_free(&long_client);
}
