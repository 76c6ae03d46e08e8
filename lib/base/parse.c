/* SPDX-License-Identifier: BSD-3-Clause */
/* Strict number parsing and command lines. */
#include "wr_base.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int wr_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	if (!isdigit((unsigned char)s[0]))
		return WR_EFORMAT;
	char *end;
	errno = 0;
	unsigned long long v = strtoull(s, &end, 0);
	if (*end)
		return WR_EFORMAT;
	if (errno == ERANGE || v < min || v > max)
		return WR_EINVAL;
	*out = v;
	return WR_OK;
}

int wr_parse_i64(const char *s, int64_t min, int64_t max, int64_t *out)
{
	if (!isdigit((unsigned char)s[s[0] == '-']))
		return WR_EFORMAT;
	char *end;
	errno = 0;
	long long v = strtoll(s, &end, 0);
	if (*end)
		return WR_EFORMAT;
	if (errno == ERANGE || v < min || v > max)
		return WR_EINVAL;
	*out = v;
	return WR_OK;
}

int wr_parse_double(const char *s, double min, double max, double *out)
{
	if (!s[0] || isspace((unsigned char)s[0]))
		return WR_EFORMAT;
	char *end;
	errno = 0;
	double v = strtod(s, &end);
	if (*end || isnan(v))
		return WR_EFORMAT;
	if (errno == ERANGE || v < min || v > max)
		return WR_EINVAL;
	*out = v;
	return WR_OK;
}

int wr_parse_bool(const char *s, bool *out)
{
	static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no",
									     "off", "0"};
	for (size_t i = 0; i < WR_ARRAY_LEN(yes); i++) {
		if (!strcasecmp(s, yes[i]))
			return *out = true, WR_OK;
		if (!strcasecmp(s, no[i]))
			return *out = false, WR_OK;
	}
	return WR_EFORMAT;
}

int wr_parse_bytes(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
	char digits[32];
	size_t n = strlen(s);
	unsigned int shift = 0;
	if (n == 0 || n >= sizeof(digits))
		return WR_EFORMAT;
	memcpy(digits, s, n + 1);
	switch (digits[n - 1]) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	default:
		break;
	}
	if (shift)
		digits[n - 1] = '\0';
	uint64_t v;
	int err = wr_parse_u64(digits, 0, UINT64_MAX >> shift, &v);
	if (err)
		return err;
	v <<= shift;
	if (v < min || v > max)
		return WR_EINVAL;
	*out = v;
	return WR_OK;
}

int wr_parse_host_port(const char *s, char *host, size_t size, uint16_t *port)
{
	const char *end, *colon, *digits = NULL;
	uint64_t v = 0;
	if (*s == '[') {
		end = strchr(++s, ']');
		if (!end || (end[1] != '\0' && end[1] != ':'))
			return WR_EFORMAT;
		digits = end[1] ? end + 2 : NULL;
	} else {
		colon = strchr(s, ':');
		/* More than one: an IPv6 address without a port. */
		bool one = colon && !strchr(colon + 1, ':');
		end = one ? colon : s + strlen(s);
		digits = one ? colon + 1 : NULL;
	}
	size_t n = (size_t)(end - s);
	if (n == 0 || n >= size)
		return WR_EFORMAT;
	if (digits && wr_parse_u64(digits, 1, UINT16_MAX, &v))
		return WR_EFORMAT;
	memcpy(host, s, n);
	host[n] = '\0';
	*port = (uint16_t)v;
	return WR_OK;
}

static void print_help(const char *usage, const struct wr_opt *opts, unsigned int n)
{
	printf("%s\n", usage);
	for (unsigned int i = 0; i < n; i++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", opts[i].name, opts[i].arg ? "=" : "",
			opts[i].arg ? opts[i].arg : "");
		printf("  %-28s %s", left, opts[i].help);
		if (opts[i].arg && *opts[i].value && **opts[i].value)
			printf(" [%s]", *opts[i].value);
		printf("\n");
	}
	printf("  %-28s %s\n", "--help", "this text");
}

static const struct wr_opt *find_opt(
	const struct wr_opt *opts, unsigned int n, const char *name, size_t len)
{
	for (unsigned int i = 0; i < n; i++)
		if (strlen(opts[i].name) == len && !memcmp(opts[i].name, name, len))
			return &opts[i];
	return NULL;
}

int wr_opt_parse(int argc, char **argv, const char *usage, const struct wr_opt *opts,
	unsigned int n, const char **words, unsigned int max_words, unsigned int *n_words,
	struct wr_errmsg *msg)
{
	bool only_words = false;
	*n_words = 0;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (only_words || a[0] != '-' || !a[1]) {
			if (*n_words == max_words)
				return wr_fail(
					msg, WR_EINVAL, "'%s': one word too many (see --help)", a);
			words[(*n_words)++] = a;
			continue;
		}
		if (!strcmp(a, "--")) {
			only_words = true;
			continue;
		}
		if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
			print_help(usage, opts, n);
			return WR_EINTR;
		}
		const char *name = a + 2, *eq = strchr(a, '=');
		size_t len = a[1] != '-' ? 0 : eq ? (size_t)(eq - name) : strlen(name);
		const struct wr_opt *o = find_opt(opts, n, name, len);
		if (!o)
			return wr_fail(msg, WR_EINVAL, "'%s': no such option (see --help)", a);
		if (!o->arg && eq)
			return wr_fail(msg, WR_EINVAL, "--%s takes no value", o->name);
		if (o->arg && !eq && i + 1 >= argc)
			return wr_fail(msg, WR_EINVAL, "--%s needs a value (%s)", o->name, o->arg);
		*o->value = !o->arg ? "" : eq ? eq + 1 : argv[++i];
	}
	return WR_OK;
}

int wr_opt_u64(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *out,
	struct wr_errmsg *msg)
{
	if (wr_parse_u64(value, min, max, out) != 0)
		return wr_fail(msg, WR_EINVAL, "--%s=%s: must be a whole number, %lu … %lu", option,
			value, (unsigned long)min, (unsigned long)max);
	return WR_OK;
}

int wr_opt_u32_list(const char *option, const char *value, uint32_t min, uint32_t max,
	uint32_t *out, unsigned int max_n, unsigned int *n, struct wr_errmsg *msg)
{
	char *copy = strdup(value ? value : ""), *save = NULL;
	uint64_t v;
	int err = copy ? WR_OK : wr_fail(msg, WR_ENOMEM, "out of memory");

	*n = 0;
	for (char *w = err ? NULL : strtok_r(copy, ", ", &save); w && !err;
		w = strtok_r(NULL, ", ", &save)) {
		if (*n == max_n)
			err = wr_fail(msg, WR_EINVAL, "--%s: at most %u of them", option, max_n);
		else if (!(err = wr_opt_u64(option, w, min, max, &v, msg)))
			out[(*n)++] = (uint32_t)v;
	}
	free(copy);
	return err;
}
