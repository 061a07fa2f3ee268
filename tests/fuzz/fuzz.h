/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A fuzz target: bytes in, a run that must not fail out. Linked with fuzz_main.c it is a program
 * that mutates its own beginnings for a while, which is what the gate runs; with libFuzzer
 * (-DRL_FUZZ=ON, clang) it is guided by coverage.
 *
 *	fuzz_tls --runs 2000 --seed 7
 *	fuzz_tls --hex 00a1f3		one input again: the line that a failure prints
 */
#ifndef RINGLINE_FUZZ_H
#define RINGLINE_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_BYTES_MAX 512

/* libFuzzer's name for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Inputs to begin with, NUL-terminated, in hexadecimal; NULL ends them. */
extern const char *const fuzz_beginnings[];

#endif
