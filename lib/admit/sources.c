/* SPDX-License-Identifier: BSD-3-Clause */
/* The allow-list: CIDR text to sorted disjoint ranges, and the search in them. */
#include "admit_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static unsigned __int128 number(const uint8_t *bytes, unsigned int n)
{
	unsigned __int128 v = 0;
	for (unsigned int i = 0; i < n; i++)
		v = v << 8 | bytes[i];
	return v;
}

/* The bits behind a prefix of `length` of `bits`. */
static unsigned __int128 host_mask(unsigned int bits, unsigned int length)
{
	unsigned int host = bits - length;
	return host == 128 ? ~(unsigned __int128)0 : ((unsigned __int128)1 << host) - 1;
}

static int parse_length(const char *word, const char *text, unsigned int bits, unsigned int *out,
	struct wr_errmsg *msg)
{
	char *end;
	unsigned long v = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : bits + 1;
	if (v > bits || *end)
		return wr_fail(msg, WR_EINVAL, "allow: '%s': the length behind / must be 0 … %u",
			word, bits);
	*out = (unsigned int)v;
	return WR_OK;
}

static int parse_word(struct sources *s, const char *word, struct wr_errmsg *msg)
{
	char address[INET6_ADDRSTRLEN];
	uint8_t bytes[16];
	const char *slash = strchr(word, '/');
	size_t n = slash ? (size_t)(slash - word) : strlen(word);
	bool v6 = strchr(word, ':') != NULL;
	snprintf(address, sizeof(address), "%.*s", (int)WR_MIN(n, sizeof(address) - 1), word);
	if (n >= sizeof(address) || inet_pton(v6 ? AF_INET6 : AF_INET, address, bytes) != 1)
		return wr_fail(msg, WR_EINVAL,
			"allow: '%s' is no IPv4 or IPv6 prefix; write 10.0.0.0/8 or 2001:db8::/32",
			word);
	unsigned int bits = v6 ? 128 : 32, length = bits;
	int err = slash ? parse_length(word, slash + 1, bits, &length, msg) : WR_OK;
	if (err)
		return err;
	struct source_list *list = v6 ? &s->v6 : &s->v4;
	struct source_range r;
	unsigned __int128 host = host_mask(bits, length);
	r.first = number(bytes, bits / 8);
	r.last = r.first | host;
	if (r.first & host)
		return wr_fail(msg, WR_EINVAL,
			"allow: '%s' has bits set behind its /%u; clear them or give a longer "
			"length",
			word, length);
	if (v6 && length >= 96 && !memcmp(bytes, v4_prefix, sizeof(v4_prefix)))
		return wr_fail(
			msg, WR_EINVAL, "allow: '%s': write IPv4 prefixes as a.b.c.d/n", word);
	if (list->n == WR_ADMIT_MAX_PREFIXES)
		return wr_fail(msg, WR_EINVAL,
			"allow: '%s' is one prefix too many; %u of a family are the most", word,
			WR_ADMIT_MAX_PREFIXES);
	list->range[list->n++] = r;
	return WR_OK;
}

static int by_first(const void *a, const void *b)
{
	const struct source_range *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

/* Sorts, and joins what overlaps. */
static void make_disjoint(struct source_list *l)
{
	unsigned int n = 0;
	qsort(l->range, l->n, sizeof(l->range[0]), by_first);
	for (unsigned int i = 0; i < l->n; i++) {
		if (n && l->range[i].first <= l->range[n - 1].last)
			l->range[n - 1].last = WR_MAX(l->range[n - 1].last, l->range[i].last);
		else
			l->range[n++] = l->range[i];
	}
	l->n = n;
}

int wr_admit_sources_parse(struct sources *s, const char *text, struct wr_errmsg *msg)
{
	static const char separators[] = ", \t\r\n";
	s->v4.n = s->v6.n = 0;
	for (;;) {
		char word[80];
		text += strspn(text, separators);
		size_t n = strcspn(text, separators);
		if (n == 0)
			break;
		snprintf(word, sizeof(word), "%.*s", (int)WR_MIN(n, sizeof(word) - 1), text);
		int err = parse_word(s, word, msg);
		if (err)
			return err;
		text += n;
	}
	if (s->v4.n + s->v6.n == 0)
		return wr_fail(msg, WR_EINVAL,
			"allow: the list is empty; '0.0.0.0/0, ::/0' allows everybody");
	make_disjoint(&s->v4);
	make_disjoint(&s->v6);
	return WR_OK;
}

static bool list_match(const struct source_list *l, unsigned __int128 a)
{
	unsigned int low = 0, high = l->n; /* ranges below low begin at or before a */
	while (low < high) {
		unsigned int mid = (low + high) / 2;
		if (l->range[mid].first <= a)
			low = mid + 1;
		else
			high = mid;
	}
	return low && a <= l->range[low - 1].last;
}

bool wr_admit_sources_match(const struct sources *s, const uint8_t address[16])
{
	uint64_t high, low;
	memcpy(&high, address, 8);
	memcpy(&low, address + 8, 8);
	high = __builtin_bswap64(high);
	low = __builtin_bswap64(low);
	if (high == 0 && low >> 32 == 0xffff)
		return list_match(&s->v4, low & 0xffffffffu);
	return list_match(&s->v6, (unsigned __int128)high << 64 | low);
}
