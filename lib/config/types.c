/* SPDX-License-Identifier: BSD-3-Clause */
/* Text to value, value to text, and what a value must look like, for every type of the schema. */
#include "config_types.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CPU 1023 /* CPU_SETSIZE of glibc, less one */

/* ---- names and strings ---- */
static int parse_string(const struct wr_config_key *k, const char *s, void *field)
{
	size_t n = strlen(s);
	if (n < k->min || n > k->max)
		return WR_EINVAL;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == ';')
			return WR_EFORMAT;
	if (isspace((unsigned char)s[0]) || isspace((unsigned char)s[n - 1]))
		return WR_EFORMAT;
	memcpy(field, s, n + 1);
	return WR_OK;
}

static int parse_name(const struct wr_config_key *k, const char *s, void *field)
{
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && (p == s || !strchr("-_.", *p)))
			return WR_EFORMAT;
	return parse_string(k, s, field);
}

static void format_string(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	snprintf(out, size, "%s", (const char *)field);
}

static void expects_name(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size, "%" PRIu64 " to %" PRIu64 " letters, digits, '-', '_' or '.'", k->min,
		k->max);
}

static void expects_string(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size, "%" PRIu64 " to %" PRIu64 " characters without ';'", k->min, k->max);
}

/* ---- numbers ---- */
static int parse_u64(const struct wr_config_key *k, const char *s, void *field)
{
	return wr_parse_u64(s, k->min, k->max, field);
}

static int parse_pow2(const struct wr_config_key *k, const char *s, void *field)
{
	uint64_t v;
	int err = wr_parse_u64(s, k->min, k->max, &v);
	if (err)
		return err;
	if (v & (v - 1))
		return WR_EINVAL;
	*(uint64_t *)field = v;
	return WR_OK;
}

static void format_u64(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	snprintf(out, size, "%" PRIu64, *(const uint64_t *)field);
}

/* " (frames)", or nothing for a key without a unit. */
static void add_unit(const struct wr_config_key *k, char *out, size_t size)
{
	size_t n = strlen(out);
	if (k->unit[0])
		snprintf(out + n, size - n, " (%s)", k->unit);
}

static void expects_u64(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size, "a number from %" PRIu64 " to %" PRIu64, k->min, k->max);
	add_unit(k, out, size);
}

static void expects_pow2(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size, "a power of two from %" PRIu64 " to %" PRIu64, k->min, k->max);
	add_unit(k, out, size);
}

static int parse_bytes(const struct wr_config_key *k, const char *s, void *field)
{
	return wr_parse_bytes(s, k->min, k->max, field);
}

/* With the largest suffix that loses nothing. */
static void put_bytes(uint64_t v, char *out, size_t size)
{
	static const char suffix[] = {'G', 'M', 'k'};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(suffix); i++) {
		unsigned int shift = 30 - 10 * i;
		if (v && (v & (((uint64_t)1 << shift) - 1)) == 0) {
			snprintf(out, size, "%" PRIu64 "%c", v >> shift, suffix[i]);
			return;
		}
	}
	snprintf(out, size, "%" PRIu64, v);
}

static void format_bytes(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	put_bytes(*(const uint64_t *)field, out, size);
}

static void expects_bytes(const struct wr_config_key *k, char *out, size_t size)
{
	char min[32], max[32];
	put_bytes(k->min, min, sizeof(min));
	put_bytes(k->max, max, sizeof(max));
	snprintf(out, size, "bytes from %s to %s, with k, M or G for powers of 1,024", min, max);
}

/* ---- one of several words ---- */
static int parse_enum(const struct wr_config_key *k, const char *s, void *field)
{
	size_t n = strlen(s);
	unsigned int i = 0;
	for (const char *p = k->choices; p; i++) {
		size_t len = strcspn(p, "|");
		if (len == n && !memcmp(p, s, n)) {
			*(unsigned int *)field = i;
			return WR_OK;
		}
		p = p[len] ? p + len + 1 : NULL;
	}
	return WR_EINVAL;
}

static void format_enum(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	const char *p = k->choices;
	for (unsigned int i = 0; i < *(const unsigned int *)field; i++)
		p += strcspn(p, "|") + 1;
	snprintf(out, size, "%.*s", (int)strcspn(p, "|"), p);
}

static void expects_enum(const struct wr_config_key *k, char *out, size_t size)
{
	size_t used = 0;
	for (const char *p = k->choices; p && used < size;) {
		size_t len = strcspn(p, "|");
		const char *next = p[len] ? p + len + 1 : NULL;
		bool last = next && !strchr(next, '|');
		used += (size_t)snprintf(out + used, size - used, "%.*s%s", (int)len, p,
			!next  ? ""
			: last ? " or "
			       : ", ");
		p = next;
	}
}

/* ---- CPU lists ---- */
/* One decimal number at *s, which moves behind it. */
static int take_cpu(const char **s, unsigned long *cpu)
{
	if (!isdigit((unsigned char)**s))
		return WR_EFORMAT;
	char *end;
	*cpu = strtoul(*s, &end, 10);
	*s = end;
	return *cpu > MAX_CPU ? WR_EINVAL : WR_OK;
}

static int add_cpus(struct wr_config_cpus *list, unsigned long first, unsigned long last)
{
	if (last < first)
		return WR_EINVAL;
	for (unsigned long cpu = first; cpu <= last; cpu++) {
		if (list->n == WR_CONFIG_MAX_LCORES)
			return WR_EINVAL;
		for (uint32_t i = 0; i < list->n; i++)
			if (list->cpu[i] == cpu)
				return WR_EINVAL;
		list->cpu[list->n++] = (uint16_t)cpu;
	}
	return WR_OK;
}

static const char *skip_spaces(const char *s)
{
	return s + strspn(s, " \t");
}

static int parse_cpus(const struct wr_config_key *k, const char *s, void *field)
{
	struct wr_config_cpus list = {0};
	for (;;) {
		unsigned long first, last;
		s = skip_spaces(s);
		int err = take_cpu(&s, &first);
		last = first;
		if (!err && *s == '-') {
			s++;
			err = take_cpu(&s, &last);
		}
		if (!err)
			err = add_cpus(&list, first, last);
		if (err)
			return err;
		s = skip_spaces(s);
		if (!*s)
			break;
		if (*s++ != ',')
			return WR_EFORMAT;
	}
	if (list.n < k->min || list.n > k->max)
		return WR_EINVAL;
	*(struct wr_config_cpus *)field = list;
	return WR_OK;
}

static void format_cpus(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	const struct wr_config_cpus *list = field;
	size_t used = 0;
	out[0] = '\0';
	for (uint32_t i = 0; i < list->n && used < size;) {
		uint32_t j = i;
		while (j + 1 < list->n && list->cpu[j + 1] == list->cpu[j] + 1)
			j++;
		used += (size_t)snprintf(out + used, size - used, i == j ? "%s%u" : "%s%u-%u",
			i ? "," : "", list->cpu[i], list->cpu[j]);
		i = j + 1;
	}
}

static void expects_cpus(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size,
		"a list of %" PRIu64 " to %" PRIu64
		" distinct CPUs (each up to %d), such as 1 or 0,1 or 2-5",
		k->min, k->max, MAX_CPU);
}

/* ---- addresses ---- */
static int parse_mac(const struct wr_config_key *k, const char *s, void *field)
{
	struct wr_config_mac m;
	for (unsigned int i = 0; i < 6; i++, s += 3) {
		if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]) ||
			s[2] != (i < 5 ? ':' : '\0'))
			return WR_EFORMAT;
		char byte[3] = {s[0], s[1], '\0'};
		m.addr[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	static const uint8_t zero[6];
	if ((m.addr[0] & 1) || !memcmp(m.addr, zero, 6))
		return WR_EINVAL;
	*(struct wr_config_mac *)field = m;
	return WR_OK;
}

static void format_mac(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	const uint8_t *a = ((const struct wr_config_mac *)field)->addr;
	snprintf(out, size, "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void expects_mac(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size, "an Ethernet address of one station, such as 02:00:00:00:47:00");
}

/* ---- prefix lists ---- */
static int parse_prefix(const char *s, size_t n, struct wr_config_prefix *p)
{
	char text[INET6_ADDRSTRLEN + 5];
	if (n >= sizeof(text))
		return WR_EFORMAT;
	memcpy(text, s, n);
	text[n] = '\0';
	char *slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	*p = (struct wr_config_prefix){.v6 = strchr(text, ':') != NULL};
	if (inet_pton(p->v6 ? AF_INET6 : AF_INET, text, p->addr) != 1)
		return WR_EFORMAT;
	uint64_t longest = p->v6 ? 128 : 32, bits = longest;
	int err = slash ? wr_parse_u64(slash + 1, 0, longest, &bits) : WR_OK;
	if (err)
		return err;
	p->bits = (uint8_t)bits;
	/* 10.1.2.3/8 is more often a slip than a wish: refused instead of masked. */
	for (unsigned int i = p->bits; i < sizeof(p->addr) * 8; i++)
		if (p->addr[i / 8] & (0x80 >> (i % 8)))
			return WR_EINVAL;
	return WR_OK;
}

static int parse_prefixes(const struct wr_config_key *k, const char *s, void *field)
{
	struct wr_config_prefixes list = {0};
	for (;;) {
		s = skip_spaces(s);
		size_t n = strcspn(s, ", \t");
		if (list.n == k->max)
			return WR_EINVAL;
		int err = parse_prefix(s, n, &list.prefix[list.n]);
		if (err)
			return err;
		list.n++;
		s = skip_spaces(s + n);
		if (!*s)
			break;
		if (*s++ != ',')
			return WR_EFORMAT;
	}
	*(struct wr_config_prefixes *)field = list;
	return WR_OK;
}

static void format_prefixes(
	const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	const struct wr_config_prefixes *list = field;
	size_t used = 0;
	out[0] = '\0';
	for (uint32_t i = 0; i < list->n && used < size; i++) {
		const struct wr_config_prefix *p = &list->prefix[i];
		char text[INET6_ADDRSTRLEN];
		inet_ntop(p->v6 ? AF_INET6 : AF_INET, p->addr, text, sizeof(text));
		used += (size_t)snprintf(
			out + used, size - used, "%s%s/%u", i ? ", " : "", text, p->bits);
	}
}

static void expects_prefixes(const struct wr_config_key *k, char *out, size_t size)
{
	snprintf(out, size,
		"%" PRIu64 " to %" PRIu64 " prefixes, separated by commas, such as 10.0.0.0/8 or "
		"fd00::/8, zero behind the prefix",
		k->min, k->max);
}

const struct config_type_ops wr_config_type_ops[CONFIG_TYPE_N] = {
	[CONFIG_TYPE_NAME] = {"name", parse_name, format_string, expects_name},
	[CONFIG_TYPE_STRING] = {"text", parse_string, format_string, expects_string},
	[CONFIG_TYPE_U64] = {"number", parse_u64, format_u64, expects_u64},
	[CONFIG_TYPE_POW2] = {"number", parse_pow2, format_u64, expects_pow2},
	[CONFIG_TYPE_BYTES] = {"bytes", parse_bytes, format_bytes, expects_bytes},
	[CONFIG_TYPE_ENUM] = {"word", parse_enum, format_enum, expects_enum},
	[CONFIG_TYPE_CPUS] = {"CPU list", parse_cpus, format_cpus, expects_cpus},
	[CONFIG_TYPE_MAC] = {"MAC", parse_mac, format_mac, expects_mac},
	[CONFIG_TYPE_IPV4S] = {"IPv4 list", wr_config_parse_ipv4s, wr_config_format_ips,
		wr_config_expects_ipv4s},
	[CONFIG_TYPE_IPV6S] = {"IPv6 list", wr_config_parse_ipv6s, wr_config_format_ips,
		wr_config_expects_ipv6s},
	[CONFIG_TYPE_IPS] = {"IP list", wr_config_parse_ips, wr_config_format_ips,
		wr_config_expects_ips},
	[CONFIG_TYPE_PREFIXES] = {"prefixes", parse_prefixes, format_prefixes, expects_prefixes},
};
