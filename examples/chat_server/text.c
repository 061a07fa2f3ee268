/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Lines in pieces.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chat_server/chat.h"

void
chat_text_print(struct chat_text *text, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->text, sizeof(text->text), format, args);
	va_end(args);
	text->len = (uint16_t)(len < CHAT_TEXT_MAX ? len : CHAT_TEXT_MAX - 1);
}

struct chat_piece
chat_text_piece(const struct chat_text *text, uint16_t at)
{
	struct chat_piece piece = { .at = at, .last = text->len - at <= CHAT_PIECE_MAX };

	piece.len = (uint8_t)(piece.last ? text->len - at : CHAT_PIECE_MAX);
	memcpy(piece.text, text->text + at, piece.len);
	return piece;
}

bool
chat_text_add(struct chat_text *text, const struct chat_piece *piece)
{
	if (piece->at == 0) {
		text->len = 0;
	}
	if (piece->at != text->len || piece->at + piece->len > CHAT_TEXT_MAX) {
		text->len = UINT16_MAX; /* until the next line begins */
		return false;
	}
	memcpy(text->text + piece->at, piece->text, piece->len);
	text->len = (uint16_t)(text->len + piece->len);
	return piece->last;
}
