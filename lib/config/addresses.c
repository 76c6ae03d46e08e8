/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of IP addresses that a station can have: text to value, value to text. */
#include "config_types.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

/* Addresses that no station can have: this network, loopback, multicast, reserved, broadcast. */
static bool for_a_station(const struct wr_config_address *a)
{
	static const uint8_t zero[8];
	if (!a->v6)
		return a->addr[0] != 0 && a->addr[0] != 127 && a->addr[0] < 224;
	/* 64 zero bits begin the unspecified, the loopback and the IPv4-mapped addresses */
	return a->addr[0] != 0xff && memcmp(a->addr, zero, sizeof(zero)) != 0;
}

static int parse_address(const char *s, size_t n, struct wr_config_address *a)
{
	char text[INET6_ADDRSTRLEN];
	if (n >= sizeof(text))
		return WR_EFORMAT;
	memcpy(text, s, n);
	text[n] = '\0';
	*a = (struct wr_config_address){.v6 = strchr(text, ':') != NULL};
	if (inet_pton(a->v6 ? AF_INET6 : AF_INET, text, a->addr) != 1)
		return WR_EFORMAT;
	return for_a_station(a) ? WR_OK : WR_EINVAL;
}

static int add_address(struct wr_config_addresses *list, const struct wr_config_address *a,
	const struct wr_config_key *k, bool v4, bool v6)
{
	if (list->n == k->max || (a->v6 ? !v6 : !v4))
		return WR_EINVAL;
	for (uint32_t i = 0; i < list->n; i++)
		if (memcmp(&list->a[i], a, sizeof(*a)) == 0)
			return WR_EINVAL;
	list->a[list->n++] = *a;
	return WR_OK;
}

static int parse_list(const struct wr_config_key *k, const char *s, void *field, bool v4, bool v6)
{
	struct wr_config_addresses list;
	memset(&list, 0, sizeof(list));
	while (strcmp(s, "none") != 0) {
		struct wr_config_address a;
		s += strspn(s, " \t");
		size_t n = strcspn(s, ", \t");
		int err = parse_address(s, n, &a);
		if (!err)
			err = add_address(&list, &a, k, v4, v6);
		if (err)
			return err;
		s += n;
		s += strspn(s, " \t");
		if (!*s)
			break;
		if (*s++ != ',')
			return WR_EFORMAT;
		if (strcmp(s, "none") == 0)
			return WR_EFORMAT;
	}
	*(struct wr_config_addresses *)field = list;
	return WR_OK;
}

int wr_config_parse_ipv4s(const struct wr_config_key *k, const char *s, void *field)
{
	return parse_list(k, s, field, true, false);
}

int wr_config_parse_ipv6s(const struct wr_config_key *k, const char *s, void *field)
{
	return parse_list(k, s, field, false, true);
}

int wr_config_parse_ips(const struct wr_config_key *k, const char *s, void *field)
{
	return parse_list(k, s, field, true, true);
}

void wr_config_format_ips(const struct wr_config_key *k, const void *field, char *out, size_t size)
{
	const struct wr_config_addresses *list = field;
	size_t used = 0;
	(void)k;
	snprintf(out, size, "none");
	for (uint32_t i = 0; i < list->n && used < size; i++) {
		char text[INET6_ADDRSTRLEN];
		inet_ntop(list->a[i].v6 ? AF_INET6 : AF_INET, list->a[i].addr, text, sizeof(text));
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", text);
	}
}

static void expects(const struct wr_config_key *k, const char *what, const char *example, char *out,
	size_t size)
{
	snprintf(out, size,
		"1 to %" PRIu64 " distinct %s addresses, separated by commas, such as %s, or none",
		k->max, what, example);
}

void wr_config_expects_ipv4s(const struct wr_config_key *k, char *out, size_t size)
{
	expects(k, "IPv4", "10.47.0.1 or 10.47.0.1, 10.47.0.3", out, size);
}

void wr_config_expects_ipv6s(const struct wr_config_key *k, char *out, size_t size)
{
	expects(k, "IPv6", "fd47::1 or fd47::1, fd47::3", out, size);
}

void wr_config_expects_ips(const struct wr_config_key *k, char *out, size_t size)
{
	expects(k, "IPv4 and IPv6", "192.0.2.47, 2001:db8::47", out, size);
}
