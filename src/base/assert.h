/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Assertions. RL_ASSERT is on in every build: it guards what only a bug of ours or a misuse by the
 * caller can break, and is cheap (a pointer, a state, a bound). RL_DEBUG_ASSERT is for what costs
 * more and is compiled out with NDEBUG. What a peer or the kernel can do is never asserted.
 */
#ifndef RINGLINE_BASE_ASSERT_H
#define RINGLINE_BASE_ASSERT_H

_Noreturn void rli_assert_failed(const char *condition, const char *file, int line);

#define RL_ASSERT(condition)                                                                   \
	(__builtin_expect(!(condition), 0) ? rli_assert_failed(#condition, __FILE__, __LINE__) \
					   : (void)0)

#ifdef NDEBUG
#define RL_DEBUG_ASSERT(condition) ((void)sizeof((condition) ? 1 : 0))
#else
#define RL_DEBUG_ASSERT(condition) RL_ASSERT(condition)
#endif

#define RL_UNREACHABLE() rli_assert_failed("unreachable", __FILE__, __LINE__)

#endif
