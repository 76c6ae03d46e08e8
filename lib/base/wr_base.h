/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every part needs: errors, log, clock, latency histogram, random numbers, number parsing,
 * progress. Rank 0: libc only. Nothing here allocates unless its comment says so.
 */
#ifndef WR_BASE_H
#define WR_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WR_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define WR_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define WR_MAX(a, b)    ((a) > (b) ? (a) : (b))
/* n rounded up to a multiple of m; m is a power of two. */
#define WR_ALIGN_UP(n, m) (((n) + ((m)-1)) & ~((__typeof__(n))(m)-1))
#define WR_MUST_CHECK     __attribute__((warn_unused_result))
#define WR_PRINTF(f, a)   __attribute__((format(printf, f, a)))
#define WR_CACHE_LINE     64

/* ---- errors: 0 or a negative code. ---- */
enum wr_err {
	WR_OK = 0,
	WR_EINVAL = -1,    /* a value is out of its range */
	WR_ENOMEM = -2,    /* memory or a table is exhausted */
	WR_EIO = -3,       /* reading or writing failed; errno tells more */
	WR_ENOENT = -4,    /* no such file, key, user or item */
	WR_EFORMAT = -5,   /* the bytes are not what the format says */
	WR_ECHECKSUM = -6, /* the bytes changed after they were written */
	WR_EVERSION = -7,  /* a version that this build does not know */
	WR_ENOTSUP = -8,   /* this CPU, port or build cannot do it */
	WR_EFULL = -9,     /* a bounded container is full */
	WR_EAGAIN = -10,   /* not now */
	WR_EPERM = -11,    /* refused by a rule */
	WR_ESTATE = -12,   /* called in the wrong order */
	WR_EINTR = -13,    /* stopped by the user */
};

/* A constant string for any code, "unknown error" for others. */
const char *wr_strerror(int err);

/*
 * A caller's buffer for one human-readable line: what failed, where, and how to mend it.
 * Functions that take one write it on failure only. No newline at the end.
 */
struct wr_errmsg {
	char text[512];
};
/* Formats into msg (which may be NULL) and returns err, so that failing is one statement. */
int wr_fail(struct wr_errmsg *msg, int err, const char *fmt, ...) WR_PRINTF(3, 4);

/* Users of libwirerank include wirerank.h, which defines WIRERANK_H first:
 * what the library does not export is not declared for them. */
#ifndef WIRERANK_H
/* ---- log: one line a call to stderr, "level part: text". Never on the corridor. Thread-safe. ----
 */
enum wr_log_level { WR_LOG_ERROR, WR_LOG_WARN, WR_LOG_INFO, WR_LOG_DEBUG };
void wr_log_set_level(enum wr_log_level level);
void wr_log(enum wr_log_level level, const char *part, const char *fmt, ...) WR_PRINTF(3, 4);
#endif

/* ---- clock ---- */
/* CLOCK_MONOTONIC and CLOCK_REALTIME; nanoseconds and unix milliseconds. */
uint64_t wr_clock_ns(void);
int64_t wr_clock_unix_ms(void);
#ifndef WIRERANK_H
/*
 * The calling thread's scheduling: 1 … 99 = SCHED_FIFO of that priority (children do not inherit
 * it), 0 = ordinary. WR_EPERM with what it needs. A thread that polls at such a priority keeps its
 * CPU from every ordinary one, and is itself paused by the kernel while wr_thread_throttled.
 */
int wr_thread_realtime(unsigned int priority, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Whether the kernel takes CPUs from real-time threads for a part of every period (by default for
 * 50 ms of each second). */
bool wr_thread_throttled(void);
/* CPU time of the calling thread, ns. */
uint64_t wr_clock_thread_cpu_ns(void);
/* The time stamp counter; x86-64 only. */
static inline uint64_t wr_clock_tsc(void)
{
	return __builtin_ia32_rdtsc();
}
/* TSC ticks per second, measured once over 50 ms against CLOCK_MONOTONIC. Thread-safe. */
uint64_t wr_clock_tsc_hz(void);
#endif

/* ---- latency histogram: log-linear, 64 sub-buckets per power of two (error below 1.6 %),
 * values 0 … 2^40-1 (larger ones count as the largest). Mergeable by addition. Source: the layout
 * of HdrHistogram (G. Tene). One writer; a reader of another thread may see a torn but never an
 * invalid sum. 17.5 KB. ---- */
#define WR_HIST_SUB_LOG2 6
#define WR_HIST_BUCKETS  ((40 - WR_HIST_SUB_LOG2 + 1) << WR_HIST_SUB_LOG2)
struct wr_hist {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[WR_HIST_BUCKETS];
};
static inline unsigned int wr_hist_index(uint64_t v)
{
	if (v >> 40)
		v = ((uint64_t)1 << 40) - 1;
	if (v < (1u << WR_HIST_SUB_LOG2))
		return (unsigned int)v;
	unsigned int shift = 63u - (unsigned int)__builtin_clzll(v) - WR_HIST_SUB_LOG2;
	return (shift << WR_HIST_SUB_LOG2) + (unsigned int)(v >> shift);
}
/* Adds n observations of v. */
static inline void wr_hist_add(struct wr_hist *h, uint64_t v, uint64_t n)
{
	h->count += n;
	h->sum += v * n;
	if (v > h->max)
		h->max = v;
	h->bucket[wr_hist_index(v)] += n;
}
void wr_hist_merge(struct wr_hist *into, const struct wr_hist *from);
/* The value below which share q (0 … 1) of the observations lie: the bucket's upper end, at most
 * max. 0 if empty. */
uint64_t wr_hist_quantile(const struct wr_hist *h, double q);
/* The smallest value of a bucket. */
uint64_t wr_hist_bucket_floor(unsigned int index);

/* ---- mixing ---- */
/* The finaliser of MurmurHash3 / splitmix64's mixer (Stafford's variant 13): a bijection of u64. */
static inline uint64_t wr_mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* ---- text ---- */
/* Whether the n bytes are well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no
 * surrogates). */
bool wr_utf8_valid(const char *s, size_t n);

#ifndef WIRERANK_H
/* ---- random numbers: xoshiro256** (Blackman, Vigna 2018), seeded through splitmix64.
 * Not for secrets. Streams of different (seed, stream) are independent for our purposes. ---- */
struct wr_rng {
	uint64_t s[4];
};
void wr_rng_init(struct wr_rng *r, uint64_t seed, uint64_t stream);
uint64_t wr_rng_u64(struct wr_rng *r);
/* Uniform in [0, n), unbiased (Lemire 2019); n > 0. */
uint32_t wr_rng_below(struct wr_rng *r, uint32_t n);
/* Uniform in [0, 1), 53 bits. */
double wr_rng_double(struct wr_rng *r);
/* Standard normal by Box and Muller, one of the pair (no hidden state). */
double wr_rng_normal(struct wr_rng *r);
/* Exponential with mean 1. */
double wr_rng_exponential(struct wr_rng *r);
/*
 * Zipf over ranks 0 … n-1 with exponent s > 0 by rejection inversion (Hörmann, Derflinger 1996):
 * constant memory, about 1.1 draws each. Rank 0 is the most frequent.
 */
struct wr_zipf {
	double s, h_x1, h_n, cut;
	uint64_t n;
};
void wr_zipf_init(struct wr_zipf *z, uint64_t n, double s);
uint64_t wr_zipf_draw(const struct wr_zipf *z, struct wr_rng *r);

/* ---- number parsing: the whole string must be the number; WR_EFORMAT or WR_EINVAL (range). ----
 */
int wr_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out) WR_MUST_CHECK;
int wr_parse_i64(const char *s, int64_t min, int64_t max, int64_t *out) WR_MUST_CHECK;
int wr_parse_double(const char *s, double min, double max, double *out) WR_MUST_CHECK;
/* "true/false/yes/no/on/off/1/0". */
int wr_parse_bool(const char *s, bool *out) WR_MUST_CHECK;
/* Bytes with an optional suffix k, M, G (powers of 1024). */
int wr_parse_bytes(const char *s, uint64_t min, uint64_t max, uint64_t *out) WR_MUST_CHECK;
/* "HOST", "HOST:PORT", "[IPv6]:PORT", or an IPv6 address alone; *port = 0 when none is given.
 * WR_EFORMAT, also when host (size bytes with its NUL) is too small. */
int wr_parse_host_port(const char *s, char *host, size_t size, uint16_t *port) WR_MUST_CHECK;

/* ---- files ---- */
/*
 * Reads a whole regular file. *data is malloc'ed with one NUL behind *size bytes; the caller frees.
 * Errors: WR_ENOENT, WR_EIO, WR_ENOMEM, WR_EINVAL (larger than max_bytes); *data is NULL then.
 */
int wr_file_read(const char *path, size_t max_bytes, char **data, size_t *size,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/*
 * A file that is either written whole or not at all: open makes PATH.tmp.PID beside PATH, commit
 * flushes, fsyncs and renames it, abort removes it (both free w and accept NULL). A path that is a
 * device or a pipe is written straight away. Not thread-safe.
 */
struct wr_file_writer;
int wr_file_writer_open(
	struct wr_file_writer **w, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
FILE *wr_file_writer_stream(struct wr_file_writer *w);
int wr_file_writer_commit(struct wr_file_writer *w, struct wr_errmsg *msg) WR_MUST_CHECK;
void wr_file_writer_abort(struct wr_file_writer *w);

/* ---- command lines: --name=VALUE or --name VALUE; one table row an option, help made from it.
 * ---- */
struct wr_opt {
	const char *name;   /* without dashes */
	const char *arg;    /* name of the value in the help, NULL for a switch */
	const char *help;   /* one line */
	const char **value; /* set to the value ("" for a switch that was given); keeps its default
			       else */
};
/*
 * Parses argv[1…] against opts (n). Words without dashes go to words (at most max_words), their
 * number to *n_words. "--" ends the options. WR_EINVAL with a line naming the bad word; --help
 * prints usage and the table to stdout and gives WR_EINTR: the caller exits with 0.
 */
int wr_opt_parse(int argc, char **argv, const char *usage, const struct wr_opt *opts,
	unsigned int n, const char **words, unsigned int max_words, unsigned int *n_words,
	struct wr_errmsg *msg) WR_MUST_CHECK;

/* The value of --option as a whole number from min to max. WR_EINVAL with a line naming the option.
 */
int wr_opt_u64(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *out,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* The same for at most max_n numbers separated by commas; value may be NULL (none). *n is their
 * number, on failure how many were read. WR_ENOMEM too. */
int wr_opt_u32_list(const char *option, const char *value, uint32_t min, uint32_t max,
	uint32_t *out, unsigned int max_n, unsigned int *n, struct wr_errmsg *msg) WR_MUST_CHECK;

/* ---- progress of long work on stderr: a bar on a terminal, elsewhere a line every 10 s. ---- */
struct wr_progress {
	const char *what;
	uint64_t total; /* 0 = unknown */
	uint64_t start_ns, shown_ns;
	bool tty, drawn;
};
void wr_progress_start(struct wr_progress *p, const char *what, uint64_t total);
/* note (may be NULL) is shown behind rate and time left. Cheap: draws at most 5 times a second. */
void wr_progress_update(struct wr_progress *p, uint64_t done, const char *note);
void wr_progress_end(struct wr_progress *p, uint64_t done, const char *note);

/* Set by SIGINT and SIGTERM once wr_stop_catch_signals was called, in the main thread; loops poll
 * it. A second signal ends the process. */
void wr_stop_catch_signals(void);
bool wr_stop_requested(void);
#endif

#ifdef __cplusplus
}
#endif

#endif
