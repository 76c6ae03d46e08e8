/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/config: one row per type of value. */
#ifndef CONFIG_TYPES_H
#define CONFIG_TYPES_H

#include "wr_config.h"

#define WR_CONFIG_TYPES(X) \
	X(NAME)            \
	X(STRING)          \
	X(U64) X(POW2) X(BYTES) X(ENUM) X(CPUS) X(MAC) X(IPV4S) X(IPV6S) X(IPS) X(PREFIXES)
#define WR_CONFIG_TYPE_ENUM(t) CONFIG_TYPE_##t,
enum config_type { WR_CONFIG_TYPES(WR_CONFIG_TYPE_ENUM) CONFIG_TYPE_N };

struct config_type_ops {
	const char *name; /* in the documentation */
	/* Text to field; WR_EINVAL or WR_EFORMAT leave the field as it was. */
	int (*parse)(const struct wr_config_key *k, const char *s, void *field);
	/* Field to text that parse takes back. */
	void (*format)(const struct wr_config_key *k, const void *field, char *out, size_t size);
	/* What parse takes. */
	void (*expects)(const struct wr_config_key *k, char *out, size_t size);
};
extern const struct config_type_ops wr_config_type_ops[CONFIG_TYPE_N];

/* ---- addresses.c ---- */
int wr_config_parse_ipv4s(const struct wr_config_key *k, const char *s, void *field);
int wr_config_parse_ipv6s(const struct wr_config_key *k, const char *s, void *field);
int wr_config_parse_ips(const struct wr_config_key *k, const char *s, void *field);
void wr_config_format_ips(const struct wr_config_key *k, const void *field, char *out, size_t size);
void wr_config_expects_ipv4s(const struct wr_config_key *k, char *out, size_t size);
void wr_config_expects_ipv6s(const struct wr_config_key *k, char *out, size_t size);
void wr_config_expects_ips(const struct wr_config_key *k, char *out, size_t size);

/* Finds and sets one key; line: > 0 of the file, -1 for --set. where: "FILE:LINE" or "--set". */
int wr_config_assign(struct wr_config *c, const char *section, const char *key, const char *value,
	int32_t line, const char *where, struct wr_errmsg *msg);
/* WR_OK when the schema has the section; else an error that names where. */
int wr_config_section_known(const char *section, const char *where, struct wr_errmsg *msg);

#endif
