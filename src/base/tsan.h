/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What ThreadSanitizer has to be told. It understands C11 atomics but neither the fences nor the
 * volatile accesses of Concurrency Kit: a function that calls ck says here what it relies on. All
 * of this is nothing in other builds.
 */
#ifndef RINGLINE_BASE_TSAN_H
#define RINGLINE_BASE_TSAN_H

#if defined(__SANITIZE_THREAD__)
#define TSAN_ON 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN_ON 1
#endif
#endif

#ifdef TSAN_ON

/* Functions of the sanitizer's runtime; it has no header with all of them. */
void __tsan_acquire(void *at);
void __tsan_release(void *at);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

/* What this thread did until now is visible to whoever acquires @at from now on. */
static inline void
tsan_release(void *at)
{
	__tsan_release(at);
}

static inline void
tsan_acquire(void *at)
{
	__tsan_acquire(at);
}

/* Accesses between these two are not looked at. */
static inline void
tsan_ignore_begin(void)
{
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static inline void
tsan_ignore_end(void)
{
	AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}

#else

static inline void
tsan_release(void *at)
{
	(void)at;
}

static inline void
tsan_acquire(void *at)
{
	(void)at;
}

static inline void
tsan_ignore_begin(void)
{
}

static inline void
tsan_ignore_end(void)
{
}

#endif

#endif
