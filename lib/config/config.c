/* SPDX-License-Identifier: BSD-3-Clause */
/* The schema table, assignments by name, defaults, rules over several keys, dump and documentation.
 */
#include "config_types.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY(section_, key_, type_, unit_, def_, min_, max_, reload_, choices_, help_) \
	{.section = #section_,                                                        \
		.key = #key_,                                                         \
		.type = #type_,                                                       \
		.unit = unit_,                                                        \
		.def = def_,                                                          \
		.min = min_,                                                          \
		.max = max_,                                                          \
		.reloadable = reload_,                                                \
		.choices = choices_,                                                  \
		.help = help_},
const struct wr_config_key wr_config_keys[WR_CONFIG_N] = {WR_CONFIG_KEYS(KEY)};

/* What the public row need not show: type and place of the field. */
#define PLACE(section, key, type, ...) \
	{CONFIG_TYPE_##type, offsetof(struct wr_config, section##_##key)},
static const struct {
	enum config_type type;
	size_t offset;
} places[WR_CONFIG_N] = {WR_CONFIG_KEYS(PLACE)};

static const struct config_type_ops *ops_of(enum wr_config_id id)
{
	return &wr_config_type_ops[places[id].type];
}

void wr_config_init(struct wr_config *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned int i = 0; i < WR_CONFIG_N; i++) {
		if (!wr_config_keys[i].def[0])
			continue;
		int err = ops_of(i)->parse(
			&wr_config_keys[i], wr_config_keys[i].def, (char *)c + places[i].offset);
		assert(!err && "a default must satisfy its own row");
		(void)err;
	}
}

/* ---- names ---- */
/* Levenshtein's distance, for "did you mean"; names of the schema are short, longer ones are far
 * from all. */
static unsigned int edit_distance(const char *a, const char *b)
{
	enum { LONGEST = 32 };
	size_t n = strlen(a), m = strlen(b);
	if (n > LONGEST || m > LONGEST)
		return LONGEST;
	unsigned int row[LONGEST + 1];
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned int diagonal = row[0];
		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned int above = row[j];
			unsigned int replaced = diagonal + (a[i - 1] != b[j - 1]);
			row[j] = WR_MIN(replaced, WR_MIN(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[m];
}

/* The nearest name that a slip of the fingers explains, or NULL. section: NULL = look among the
 * sections. */
static const char *nearest(const char *name, const char *section)
{
	const char *best = NULL;
	unsigned int best_distance = strlen(name) > 4 ? 3 : 2;
	for (unsigned int i = 0; i < WR_CONFIG_N; i++) {
		const struct wr_config_key *k = &wr_config_keys[i];
		if (section && strcmp(k->section, section))
			continue;
		const char *candidate = section ? k->key : k->section;
		unsigned int d = edit_distance(name, candidate);
		if (d < best_distance) {
			best = candidate;
			best_distance = d;
		}
	}
	return best;
}

/* Names from outside, made harmless for one line of a terminal. */
static void printable(const char *s, char *out, size_t size)
{
	size_t n = 0;
	for (; *s && n + 1 < size; s++)
		out[n++] = (unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f ? '?' : *s;
	out[n] = '\0';
}

int wr_config_section_known(const char *section, const char *where, struct wr_errmsg *msg)
{
	for (unsigned int i = 0; i < WR_CONFIG_N; i++)
		if (!strcmp(wr_config_keys[i].section, section))
			return WR_OK;
	char shown[64];
	printable(section, shown, sizeof(shown));
	const char *near = nearest(section, NULL);
	if (near)
		return wr_fail(msg, WR_EFORMAT, "%s: unknown section [%s]; did you mean [%s]?",
			where, shown, near);
	return wr_fail(msg, WR_EFORMAT,
		"%s: unknown section [%s]; docs/operations.md lists all sections and keys", where,
		shown);
}

static int unknown_key(
	const char *section, const char *key, const char *where, struct wr_errmsg *msg)
{
	char shown[64];
	printable(key, shown, sizeof(shown));
	for (unsigned int i = 0; i < WR_CONFIG_N; i++)
		if (!strcmp(wr_config_keys[i].key, key))
			return wr_fail(msg, WR_EFORMAT,
				"%s: unknown key '%s' in [%s]; it belongs to [%s]", where, shown,
				section, wr_config_keys[i].section);
	const char *near = nearest(key, section);
	if (near)
		return wr_fail(msg, WR_EFORMAT, "%s: unknown key '%s' in [%s]; did you mean '%s'?",
			where, shown, section, near);
	return wr_fail(msg, WR_EFORMAT,
		"%s: unknown key '%s' in [%s]; docs/operations.md lists all keys", where, shown,
		section);
}

static int find_key(const char *section, const char *key)
{
	for (int i = 0; i < WR_CONFIG_N; i++)
		if (!strcmp(wr_config_keys[i].section, section) &&
			!strcmp(wr_config_keys[i].key, key))
			return i;
	return WR_ENOENT;
}

/* ---- assignments ---- */
int wr_config_assign(struct wr_config *c, const char *section, const char *key, const char *value,
	int32_t line, const char *where, struct wr_errmsg *msg)
{
	int err = wr_config_section_known(section, where, msg);
	if (err)
		return err;
	int id = find_key(section, key);
	if (id < 0)
		return unknown_key(section, key, where, msg);
	if (line > 0 && c->origin[id] > 0)
		return wr_fail(msg, WR_EFORMAT,
			"%s: '%s' of [%s] was given in line %d already; keep one of them", where,
			key, section, (int)c->origin[id]);
	err = ops_of(id)->parse(&wr_config_keys[id], value, (char *)c + places[id].offset);
	if (err) {
		char shown[80], expects[256];
		printable(value, shown, sizeof(shown));
		wr_config_expects(id, expects, sizeof(expects));
		return wr_fail(msg, WR_EINVAL, "%s: [%s] %s = '%s': must be %s", where, section,
			key, shown, expects);
	}
	c->origin[id] = line;
	return WR_OK;
}

int wr_config_set(struct wr_config *c, const char *assignment, struct wr_errmsg *msg)
{
	const char *dot = strchr(assignment, '.'), *eq = strchr(assignment, '=');
	char section[64], key[64], shown[80];
	if (!dot || !eq || dot > eq || (size_t)(dot - assignment) >= sizeof(section) ||
		(size_t)(eq - dot) > sizeof(key)) {
		printable(assignment, shown, sizeof(shown));
		return wr_fail(msg, WR_EFORMAT,
			"--set '%s': must be section.key=value, such as server.isa=ref", shown);
	}
	snprintf(section, sizeof(section), "%.*s", (int)(dot - assignment), assignment);
	snprintf(key, sizeof(key), "%.*s", (int)(eq - dot - 1), dot + 1);
	return wr_config_assign(c, section, key, eq + 1, -1, "--set", msg);
}

int wr_config_take_sets(int *argc, char **argv, const char **sets, unsigned int max,
	unsigned int *n, struct wr_errmsg *msg)
{
	int kept = 1;
	*n = 0;
	for (int i = 1; i < *argc; i++) {
		bool apart = !strcmp(argv[i], "--set"), joined = !strncmp(argv[i], "--set=", 6);
		if (!apart && !joined) {
			argv[kept++] = argv[i];
			continue;
		}
		if (apart && i + 1 == *argc)
			return wr_fail(msg, WR_EINVAL, "--set needs a value (section.key=value)");
		if (*n == max)
			return wr_fail(msg, WR_EINVAL, "--set may be given %u times at most", max);
		sets[(*n)++] = joined ? argv[i] + 6 : argv[++i];
	}
	argv[kept] = NULL;
	*argc = kept;
	return WR_OK;
}

/* What each kind of port must be given. */
static int check_port(const struct wr_config *c, struct wr_errmsg *msg)
{
	unsigned int kind = c->port_kind;
	if ((kind == WR_CONFIG_KIND_AF_XDP || kind == WR_CONFIG_KIND_TAP) && !c->port_interface[0])
		return wr_fail(msg, WR_EINVAL, "[port] kind = %s needs interface: %s",
			kind == WR_CONFIG_KIND_TAP ? "tap" : "af_xdp",
			kind == WR_CONFIG_KIND_TAP ? "the name of the interface to make"
						   : "the kernel interface to share (ip link)");
	if ((kind == WR_CONFIG_KIND_NIC || kind == WR_CONFIG_KIND_VDEV) && !c->port_device[0])
		return wr_fail(msg, WR_EINVAL, "[port] kind = %s needs device: %s",
			kind == WR_CONFIG_KIND_NIC ? "nic" : "vdev",
			kind == WR_CONFIG_KIND_NIC ? "the NIC's PCI address (dpdk-devbind.py -s)"
						   : "DPDK's name for it, such as net_ring0");
	return WR_OK;
}

/* Whether an address stands in both lists. */
static bool shared(const struct wr_config_addresses *x, const struct wr_config_addresses *y)
{
	for (uint32_t i = 0; i < x->n; i++)
		for (uint32_t j = 0; j < y->n; j++)
			if (memcmp(&x->a[i], &y->a[j], sizeof(x->a[i])) == 0)
				return true;
	return false;
}

int wr_config_check(const struct wr_config *c, struct wr_errmsg *msg)
{
	if (!c->bundle_path[0])
		return wr_fail(msg, WR_EINVAL,
			"no bundle: write 'path = FILE' under [bundle], or give --set "
			"bundle.path=FILE");
	int err = check_port(c, msg);
	if (err)
		return err;
	if (!c->port_ipv4.n && !c->port_ipv6.n)
		return wr_fail(
			msg, WR_EINVAL, "[port] ipv4 and ipv6 are both none: set one of them");
	if (c->port_kernel_tap[0] && c->port_kind == WR_CONFIG_KIND_AF_XDP)
		return wr_fail(msg, WR_EINVAL,
			"[port] kernel_tap: with kind = af_xdp the kernel has the interface "
			"itself; "
			"leave kernel_tap out");
	if (c->port_kernel_tap[0] && strcmp(c->port_kernel_tap, c->port_interface) == 0)
		return wr_fail(msg, WR_EINVAL,
			"[port] kernel_tap and interface are both %s: give two names",
			c->port_interface);
	if (shared(&c->port_service, &c->port_ipv4) || shared(&c->port_service, &c->port_ipv6))
		return wr_fail(msg, WR_EINVAL,
			"[port] service names an address of ipv4 or ipv6: keep one of them (ARP "
			"and "
			"neighbour discovery find it there, not among the service addresses)");
	if (c->port_udp_port + c->server_lcores.n - 1 > 65535)
		return wr_fail(msg, WR_EINVAL,
			"[port] udp_port = %" PRIu64 " leaves no room for %u workers: at most %u",
			c->port_udp_port, c->server_lcores.n, 65536 - c->server_lcores.n);
	return WR_OK;
}

/* ---- text ---- */
void wr_config_value(const struct wr_config *c, enum wr_config_id id, char *out, size_t size)
{
	ops_of(id)->format(&wr_config_keys[id], (const char *)c + places[id].offset, out, size);
}

void wr_config_origin(const struct wr_config *c, enum wr_config_id id, char *out, size_t size)
{
	if (c->origin[id] == 0)
		snprintf(out, size, "default");
	else if (c->origin[id] < 0)
		snprintf(out, size, "--set");
	else
		snprintf(out, size, "%s:%d", c->file, (int)c->origin[id]);
}

void wr_config_expects(enum wr_config_id id, char *out, size_t size)
{
	ops_of(id)->expects(&wr_config_keys[id], out, size);
}

void wr_config_dump(const struct wr_config *c, FILE *out)
{
	const char *section = "";
	for (unsigned int i = 0; i < WR_CONFIG_N; i++) {
		const struct wr_config_key *k = &wr_config_keys[i];
		char value[WR_CONFIG_MAX_VALUE], origin[WR_CONFIG_MAX_STRING + 16];
		wr_config_value(c, i, value, sizeof(value));
		wr_config_origin(c, i, origin, sizeof(origin));
		if (strcmp(section, k->section))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", k->section);
		section = k->section;
		fprintf(out, "%s%s = %-*s ; %s\n", value[0] ? "" : "# ", k->key,
			32 - (int)strlen(k->key), value, origin);
	}
}

/* '|' ends a cell of a Markdown table. */
static void put_cell(FILE *out, const char *s)
{
	fputs("| ", out);
	for (; *s; s++)
		fprintf(out, *s == '|' ? "\\%c" : "%c", *s);
	fputc(' ', out);
}

void wr_config_document(FILE *out)
{
	fputs("| section | key | type | default | must be | reload | meaning "
	      "|\n|---|---|---|---|---|---|---|\n",
		out);
	for (unsigned int i = 0; i < WR_CONFIG_N; i++) {
		const struct wr_config_key *k = &wr_config_keys[i];
		char expects[256];
		wr_config_expects(i, expects, sizeof(expects));
		const char *const cells[] = {k->section, k->key, ops_of(i)->name,
			k->def[0] ? k->def : "–", expects, k->reloadable ? "yes" : "no", k->help};
		for (unsigned int j = 0; j < WR_ARRAY_LEN(cells); j++)
			put_cell(out, cells[j]);
		fputs("|\n", out);
	}
}
