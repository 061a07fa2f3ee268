/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * self_signed - a certificate for trying things out, when there is none.
 *
 * P-256, for localhost, 127.0.0.1 and ::1, valid for a week, signed by itself: a client has to be
 * told to trust it. In a directory of its own, which only this user may enter.
 */
#ifndef RINGLINE_EXAMPLES_SELF_SIGNED_H
#define RINGLINE_EXAMPLES_SELF_SIGNED_H

struct self_signed {
	char dir[64];
	char cert_file[80];
	char key_file[80];
};

/* 0, or -1 after one line on stderr; then there is nothing to remove. */
int self_signed_make(struct self_signed *made);

void self_signed_remove(const struct self_signed *made);

#endif
