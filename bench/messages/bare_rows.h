/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The bare side's rows. */
#ifndef RINGLINE_BENCH_BARE_ROWS_H
#define RINGLINE_BENCH_BARE_ROWS_H

#include "messages/messages.h"

void bare_window(const struct messages_options *options, struct meter *meter);
void bare_pingpong(const struct messages_options *options, struct meter *meter);
void bare_broadcast(const struct messages_options *options, struct meter *meter);
void bare_spawn(const struct messages_options *options, struct meter *meter);
void bare_timer(const struct messages_options *options, struct meter *meter);
void bare_notify(const struct messages_options *options, struct meter *meter);
void bare_send(const struct messages_options *options, struct meter *meter);
void bare_parked(const struct messages_options *options, struct meter *meter);
void bare_spinning(const struct messages_options *options, struct meter *meter);

#endif
