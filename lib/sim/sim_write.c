/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dataset directory: made under a name beside it and renamed when every file is on disk. One
 * pass over the users feeds all their files.
 */
#include "sim_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RULE_WEIGHT 8 /* logits: the reference student's run from -20 to 20 */
#define RULE_ITEMS  32

enum file { ITEMS, INTERACTIONS, USERS, UTTERANCES, RULES, IMPRESSIONS, DATASET, N_FILES };
static const struct {
	const char *name, *header;
} files[N_FILES] = {
	[ITEMS] = {"items.tsv", "#id\tname\tcategory\ttitle\n"},
	[INTERACTIONS] = {"interactions.tsv", "#user\titem\tkind\ttime_ms\n"},
	[USERS] = {"users.tsv", "#user\tname\n"},
	[UTTERANCES] = {"utterances.tsv", "#utterance\trule\n"},
	[RULES] = {"rules.ini",
		"# What customers of the simulated centre ask for, and the items that answer.\n"},
	[IMPRESSIONS] = {"impressions.tsv", "#user\titem\tposition\ttime_ms\tclicked\tconverted\n"},
	[DATASET] = {"dataset.json", ""},
};

static const char *const departments[SIM_THEMES] = {
	"audio", "phone", "computer", "network", "television", "smart-home", "kitchen", "billing"};

struct writer {
	const struct wr_sim *world;
	const struct wr_sim_write_params *p;
	char *tmp;
	FILE *f[N_FILES];
	bool said[WR_SIM_CATEGORIES * SIM_SUBJECTS][WR_SIM_PHRASES];
	struct wr_sim_counts counts;
};

static int remove_dir(const char *dir)
{
	for (unsigned int i = 0; i < N_FILES; i++) {
		char *path;
		if (asprintf(&path, "%s/%s", dir, files[i].name) < 0)
			return WR_ENOMEM;
		unlink(path);
		free(path);
	}
	return rmdir(dir) ? WR_EIO : WR_OK;
}

static int open_files(struct writer *w, struct wr_errmsg *msg)
{
	if (mkdir(w->tmp, 0777))
		return wr_fail(
			msg, WR_EIO, "%s: cannot make this folder: %s", w->tmp, strerror(errno));
	for (unsigned int i = 0; i < N_FILES; i++) {
		char *path;
		if (i == IMPRESSIONS && !w->p->impressions)
			continue;
		if (asprintf(&path, "%s/%s", w->tmp, files[i].name) < 0)
			return wr_fail(msg, WR_ENOMEM, "%s: out of memory", w->tmp);
		w->f[i] = fopen(path, "wb");
		if (!w->f[i]) {
			int err =
				wr_fail(msg, WR_EIO, "%s: cannot write: %s", path, strerror(errno));
			free(path);
			return err;
		}
		free(path);
		fputs(files[i].header, w->f[i]);
	}
	return WR_OK;
}

/* Closes everything; the first error counts. */
static int close_files(struct writer *w, bool sync, struct wr_errmsg *msg)
{
	int err = WR_OK;
	for (unsigned int i = 0; i < N_FILES; i++) {
		if (!w->f[i])
			continue;
		bool bad = sync && (ferror(w->f[i]) || fflush(w->f[i]) || fsync(fileno(w->f[i])));
		bad |= fclose(w->f[i]) != 0;
		w->f[i] = NULL;
		if (bad && !err)
			err = wr_fail(msg, WR_EIO, "%s/%s: writing failed: %s; nothing was changed",
				w->tmp, files[i].name, strerror(errno));
	}
	return err;
}

static void write_items(struct writer *w)
{
	struct wr_sim_item item;
	for (uint32_t row = 0; row < w->world->n_items; row++) {
		wr_sim_item_get(w->world, row, &item);
		fprintf(w->f[ITEMS], "%u\t%s\t%s\t%s\n", row + 1, item.name, item.category,
			item.title);
	}
}

static void write_rules(struct writer *w)
{
	FILE *f = w->f[RULES];
	char id[32], pattern[WR_SIM_TEXT_BYTES];
	uint32_t rows[RULE_ITEMS];
	struct wr_sim_item item;
	for (uint32_t rule = 0; rule < wr_sim_n_rules(w->world); rule++) {
		wr_sim_rule_get(rule, id, pattern);
		fprintf(f, "\n[%s]\npattern = %s\nitems =", id, pattern);
		uint32_t n = wr_sim_rule_items(w->world, rule, RULE_ITEMS, rows);
		for (uint32_t i = 0; i < n; i++) {
			wr_sim_item_get(w->world, rows[i], &item);
			fprintf(f, " %s", item.name);
		}
		fprintf(f, "\nweight = %d\n", RULE_WEIGHT);
	}
	for (unsigned int t = 0; t < SIM_THEMES; t++) {
		fprintf(f, "\n[department-%s]\npattern = %s department\n", departments[t],
			departments[t]);
		for (unsigned int k = 0; k < SIM_KINDS; k++)
			fprintf(f, "category = %s\n", wr_sim_category_names[t * SIM_KINDS + k]);
		fprintf(f, "weight = %d\n", RULE_WEIGHT);
	}
}

static void write_department_utterances(struct writer *w)
{
	for (unsigned int t = 0; t < SIM_THEMES; t++)
		fprintf(w->f[UTTERANCES],
			"Please put me through to the %s department\tdepartment-%s\n",
			departments[t], departments[t]);
	w->counts.utterances += SIM_THEMES;
}

static void write_utterance(struct writer *w, uint32_t rule, uint32_t phrase)
{
	char id[32], pattern[WR_SIM_TEXT_BYTES], text[WR_SIM_TEXT_BYTES];
	if (w->said[rule][phrase])
		return;
	w->said[rule][phrase] = true;
	wr_sim_rule_get(rule, id, pattern);
	wr_sim_utterance(rule, phrase, text);
	fprintf(w->f[UTTERANCES], "%s\t%s\n", text, id);
	w->counts.utterances++;
}

static void write_slate(struct writer *w, uint64_t user, const struct wr_sim_slate *slate)
{
	for (uint32_t i = 0; i < slate->n; i++) {
		bool click = slate->click_ms[i] != 0, convert = slate->convert_ms[i] != 0;
		if (click)
			fprintf(w->f[INTERACTIONS], "%llu\t%u\tclick\t%lld\n",
				(unsigned long long)user, slate->rows[i] + 1,
				(long long)slate->click_ms[i]);
		if (convert)
			fprintf(w->f[INTERACTIONS], "%llu\t%u\tconvert\t%lld\n",
				(unsigned long long)user, slate->rows[i] + 1,
				(long long)slate->convert_ms[i]);
		if (w->p->impressions)
			fprintf(w->f[IMPRESSIONS], "%llu\t%u\t%u\t%lld\t%d\t%d\n",
				(unsigned long long)user, slate->rows[i] + 1, i,
				(long long)slate->time_ms, click, convert);
		w->counts.clicks += click;
		w->counts.conversions += convert;
	}
	if (slate->rule >= 0)
		write_utterance(w, (uint32_t)slate->rule, slate->phrase);
	w->counts.slates++;
	w->counts.impressions += slate->n;
}

static int write_users(struct writer *w, struct wr_errmsg *msg)
{
	struct wr_progress progress;
	int err = WR_OK;
	wr_progress_start(&progress, "simulating users", w->p->n_users);
	uint32_t u = 0;
	for (; !err && u < w->p->n_users; u++) {
		char name[24];
		int n = snprintf(name, sizeof(name), "customer-%07u", u + 1);
		uint64_t id = w->p->user_id(name, (size_t)n);
		fprintf(w->f[USERS], "%llu\t%s\n", (unsigned long long)id, name);
		struct wr_sim_walk walk;
		struct wr_sim_slate slate;
		wr_sim_walk_start(&walk, w->world, u);
		while (wr_sim_walk_next(&walk, &slate))
			write_slate(w, id, &slate);
		w->counts.sessions += walk.state.session;
		wr_progress_update(&progress, u + 1, NULL);
		if (wr_stop_requested())
			err = wr_fail(msg, WR_EINTR, "stopped; nothing was written");
		else if (ferror(w->f[INTERACTIONS]))
			err = wr_fail(msg, WR_EIO, "%s: writing failed: %s; nothing was changed",
				w->tmp, strerror(errno));
	}
	wr_progress_end(&progress, u, NULL);
	return err;
}

/* The keys that an imported log has too, then the centre's own. */
static void write_dataset(struct writer *w)
{
	const struct wr_sim_counts *c = &w->counts;
	fprintf(w->f[DATASET],
		"{\n  \"format\": \"simulate\",\n  \"sources\": [],\n  \"users\": %u,\n  "
		"\"items\": %u,\n"
		"  \"interactions\": %llu,\n  \"timed\": true,\n  \"seed\": %llu,\n  \"sessions\": "
		"%llu,\n"
		"  \"slates\": %llu,\n  \"impressions\": %llu,\n  \"clicks\": %llu,\n"
		"  \"conversions\": %llu,\n  \"utterances\": %llu\n}\n",
		w->p->n_users, w->world->n_items, (unsigned long long)(c->clicks + c->conversions),
		(unsigned long long)w->world->seed, (unsigned long long)c->sessions,
		(unsigned long long)c->slates, (unsigned long long)c->impressions,
		(unsigned long long)c->clicks, (unsigned long long)c->conversions,
		(unsigned long long)c->utterances);
}

/* The finished folder takes the place of dir. */
static int move_in(struct writer *w, struct wr_errmsg *msg)
{
	const char *dir = w->p->dir;
	if (rename(w->tmp, dir) == 0)
		return WR_OK;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return wr_fail(msg, WR_EIO, "%s: cannot be put in place: %s; nothing was changed",
			dir, strerror(errno));
	if (!w->p->replace)
		return wr_fail(msg, WR_EINVAL,
			"%s exists and is not empty; remove it, name another folder, or replace it",
			dir);
	if (renameat2(AT_FDCWD, w->tmp, AT_FDCWD, dir, RENAME_EXCHANGE))
		return wr_fail(msg, WR_EIO, "%s: cannot be exchanged: %s; nothing was changed", dir,
			strerror(errno));
	/* tmp is now the old folder. What is not a data set's file stays, under that name. */
	if (remove_dir(w->tmp))
		wr_log(WR_LOG_WARN, "sim", "%s holds other files of the old %s; kept", w->tmp, dir);
	return WR_OK;
}

static bool is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;
	while (d && n < 3 && readdir(d))
		n++; /* "." and ".." are two */
	if (d)
		closedir(d);
	return d && n < 3;
}

/* Says early what would fail after minutes of work. */
static int check_target(const struct wr_sim_write_params *p, struct wr_errmsg *msg)
{
	if (p->n_users == 0 || p->n_users > WR_SIM_MAX_USERS)
		return wr_fail(msg, WR_EINVAL, "a simulated centre has 1 to %u users, not %u",
			WR_SIM_MAX_USERS, p->n_users);
	struct stat st;
	if (stat(p->dir, &st))
		return WR_OK;
	if (!S_ISDIR(st.st_mode))
		return wr_fail(
			msg, WR_EINVAL, "%s exists and is not a folder; name another one", p->dir);
	if (!p->replace && !is_empty(p->dir))
		return wr_fail(msg, WR_EINVAL,
			"%s exists and is not empty; remove it, name another folder, or replace it",
			p->dir);
	return WR_OK;
}

int wr_sim_write(const struct wr_sim *world, const struct wr_sim_write_params *p,
	struct wr_sim_counts *counts, struct wr_errmsg *msg)
{
	struct writer *w = NULL;
	int err = check_target(p, msg);
	if (err)
		return err;
	w = calloc(1, sizeof(*w));
	if (!w)
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", p->dir);
	w->world = world;
	w->p = p;
	size_t n = strlen(p->dir);
	while (n > 1 && p->dir[n - 1] == '/')
		n--;
	if (asprintf(&w->tmp, "%.*s.tmp.%d", (int)n, p->dir, (int)getpid()) < 0) {
		free(w);
		return wr_fail(msg, WR_ENOMEM, "%s: out of memory", p->dir);
	}
	err = open_files(w, msg);
	if (!err) {
		write_items(w);
		write_rules(w);
		err = write_users(w, msg);
	}
	if (!err) {
		write_department_utterances(w);
		write_dataset(w);
	}
	int closed = close_files(w, err == WR_OK, err ? NULL : msg);
	err = err ? err : closed;
	if (!err)
		err = move_in(w, msg);
	if (err)
		remove_dir(w->tmp);
	else
		*counts = w->counts;
	free(w->tmp);
	free(w);
	return err;
}
