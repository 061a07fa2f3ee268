/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/self_signed.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "support/options.h"

#define SELF_SIGNED_S (7L * 86400)

static bool
cert_extend(X509 *cert, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool done;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	done = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return done;
}

static bool
cert_fill(X509 *cert, EVP_PKEY *key)
{
	X509_NAME *name = X509_get_subject_name(cert);
	int64_t serial = 0;

	return RAND_bytes((unsigned char *)&serial, 7) == 1 && /* a positive number */
	       ASN1_INTEGER_set_int64(X509_get_serialNumber(cert), serial) == 1 &&
	       X509_set_version(cert, X509_VERSION_3) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), SELF_SIGNED_S) != NULL &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					  (const unsigned char *)"localhost", -1, -1, 0) == 1 &&
	       X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
	       cert_extend(cert, NID_basic_constraints, "critical,CA:TRUE") &&
	       cert_extend(cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1") &&
	       X509_sign(cert, key, EVP_sha256()) > 0;
}

/* Nobody else may read it. */
static bool
file_write(const char *file, X509 *cert, EVP_PKEY *key)
{
	FILE *out = fopen(file, "wx");
	bool done;

	if (out == NULL) {
		return false;
	}
	done = fchmod(fileno(out), S_IRUSR | S_IWUSR) == 0 &&
	       (key == NULL || PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1) &&
	       (cert == NULL || PEM_write_X509(out, cert) == 1);
	return fclose(out) == 0 && done;
}

int
self_signed_make(struct self_signed *made)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	bool done;

	(void)snprintf(made->dir, sizeof(made->dir), "/tmp/ringline-tls-XXXXXX");
	done = key != NULL && cert != NULL && cert_fill(cert, key) && mkdtemp(made->dir) != NULL;
	if (done) {
		(void)snprintf(made->cert_file, sizeof(made->cert_file), "%s/cert.pem", made->dir);
		(void)snprintf(made->key_file, sizeof(made->key_file), "%s/key.pem", made->dir);
		done = file_write(made->cert_file, cert, NULL) &&
		       file_write(made->key_file, NULL, key);
		if (!done) {
			self_signed_remove(made);
		}
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	if (!done) {
		options_complain("can't make a certificate in /tmp");
	}
	return done ? 0 : -1;
}

void
self_signed_remove(const struct self_signed *made)
{
	(void)unlink(made->key_file);
	(void)unlink(made->cert_file);
	(void)rmdir(made->dir);
}
