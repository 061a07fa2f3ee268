/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Records and their messages, byte by byte where headers are, since both may be cut anywhere. What
 * is neither is left for OpenSSL to complain of.
 */
#include "tls/tls_hello.h"

#define HELLO_RECORD_HEADER  5
#define HELLO_MESSAGE_HEADER 4
#define HELLO_HANDSHAKE	     22 /* type of a record */

static void
hello_record_byte(struct tls_hello *hello, uint8_t byte)
{
	if (hello->record_have == 0) {
		hello->record_type = byte;
	}
	if (hello->record_have >= 3) {
		hello->record_left = (uint16_t)(hello->record_left << 8 | byte);
	}
	hello->record_have++;
}

/* Bytes of a record, as many as are taken at once. */
static size_t
hello_message(struct tls_hello *hello, const uint8_t *data, size_t len)
{
	if (hello->record_type != HELLO_HANDSHAKE) {
		return len;
	}
	if (hello->have < HELLO_MESSAGE_HEADER) {
		hello->len = hello->have == 0 ? 0 : hello->len << 8 | data[0];
		hello->have++;
		return 1;
	}
	if (len >= hello->len) {
		len = hello->len;
		hello->have = 0;
		hello->done = true;
	}
	hello->len -= (uint32_t)len;
	return len;
}

bool
rli_tls_hello_look(struct tls_hello *hello, const uint8_t *data, size_t len)
{
	while (len > 0 && !hello->over) {
		size_t taken = 1;

		if (hello->record_have < HELLO_RECORD_HEADER) {
			hello_record_byte(hello, data[0]);
		} else {
			taken = len < hello->record_left ? len : hello->record_left;
			taken = hello_message(hello, data, taken);
			hello->record_left -= (uint16_t)taken;
			if (hello->have == HELLO_MESSAGE_HEADER && hello->len > TLS_HELLO_MAX) {
				return false;
			}
		}
		if (hello->record_have == HELLO_RECORD_HEADER && hello->record_left == 0) {
			hello->record_have = 0;
		}
		data += taken;
		len -= taken;
	}
	return true;
}
