/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Telling AddressSanitizer which memory nobody may touch; nothing without it.
 */
#ifndef RINGLINE_SIM_POISON_H
#define RINGLINE_SIM_POISON_H

#include <stddef.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)

#include <sanitizer/asan_interface.h>

static inline void
sim_poison(const volatile void *at, size_t bytes)
{
	__asan_poison_memory_region(at, bytes);
}

static inline void
sim_unpoison(const volatile void *at, size_t bytes)
{
	__asan_unpoison_memory_region(at, bytes);
}

#else

static inline void
sim_poison(const volatile void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
}

static inline void
sim_unpoison(const volatile void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
}

#endif

#endif
