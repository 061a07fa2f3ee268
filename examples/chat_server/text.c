/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Lines.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chat_server/chat.h"

struct rl_buf *
chat_line(struct rl_shard *shard, const char *format, ...)
{
	struct rl_buf *buf = NULL;
	char text[CHAT_TEXT_MAX + 1];
	va_list args;
	void *data;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	len = len < CHAT_TEXT_MAX ? len : CHAT_TEXT_MAX;
	for (int i = 0; i + 1 < len; i++) {
		if ((uint8_t)text[i] < ' ' || text[i] == 0x7f) {
			text[i] = '?'; /* it goes to others' terminals */
		}
	}
	if (rl_buf_take(shard, (size_t)len, &buf, &data) == 0) {
		memcpy(data, text, (size_t)len);
	}
	return buf;
}
