/* SPDX-License-Identifier: BSD-3-Clause */
/* What int8 costs by layer: the model with one layer rounded, and with all but that one; an
 * evaluation each, some 2 · (5 blocks + 2). */
#include "fake_int.h"
#include "wr_compact.h"

#include <string.h>

/* What is measured, and the float model's answers. */
struct measuring {
	const struct wr_dataset *ds;
	enum wr_split split;
	uint32_t users, threads;
	struct wr_judge *real;
};

static int judge(const struct measuring *m, const struct wr_student *s, struct wr_judge **j,
	struct wr_errmsg *msg)
{
	int err = wr_judge_new(j, m->ds, m->split, m->users, msg);
	return err ? err : wr_judge_float(*j, s, m->threads, msg);
}

static int measure(const struct measuring *m, const struct wr_fake *fake, struct wr_layer_score *to,
	struct wr_errmsg *msg)
{
	struct wr_student *s;
	struct wr_judge *j = NULL;
	struct wr_metrics_at at;
	int err = wr_learn_fake_new(&s, fake, msg);
	if (!err)
		err = judge(m, s, &j, msg);
	if (!err)
		err = wr_judge_metrics(j, &at, msg);
	if (!err)
		*to = (struct wr_layer_score){.hr10 = at.hr[0][1],
			.ndcg10 = at.ndcg[0][1],
			.same10 = wr_judge_overlap(m->real, j, 10)};
	wr_judge_free(j);
	wr_student_free(s);
	return err;
}

/* Layer i of fake on or off; its name. */
static void set_layer(struct wr_fake *fake, uint32_t i, bool on, char *name, size_t room)
{
	static const char *const part[FAKE_PARTS] = {"qkv", "attention", "out", "up", "down"};
	if (i < 2) {
		*(i ? &fake->user : &fake->items) = on;
		snprintf(name, room, "%s", i ? "user" : "items");
		return;
	}
	uint32_t b = (i - 2) / FAKE_PARTS, k = (i - 2) % FAKE_PARTS;
	uint8_t bit = (uint8_t)(1u << k);
	fake->block[b] = (uint8_t)(on ? fake->block[b] | bit : fake->block[b] & ~bit);
	snprintf(name, room, "b%u.%s", b, part[k]);
}

/* Each layer of out alone, and all but it. */
static int measure_each(const struct measuring *m, const struct wr_fake *none,
	const struct wr_fake *all, struct wr_layers *out, struct wr_errmsg *msg)
{
	int err = WR_OK;
	for (uint32_t i = 0; i < out->n && !err; i++) {
		struct wr_layer *l = &out->layer[i];
		struct wr_fake one = *none, but = *all;
		set_layer(&one, i, true, l->name, sizeof(l->name));
		set_layer(&but, i, false, l->name, sizeof(l->name));
		if (wr_stop_requested())
			return wr_fail(msg, WR_ESTATE, "stopped");
		err = measure(m, &one, &l->alone, msg);
		if (!err)
			err = measure(m, &but, &l->spared, msg);
	}
	return err;
}

int wr_layers_measure(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t users, uint32_t threads, const char *keep, struct wr_layers *out,
	struct wr_errmsg *msg)
{
	struct measuring m = {.ds = ds, .split = split, .users = users, .threads = threads};
	struct wr_fake none = {.real = s}, all;
	*out = (struct wr_layers){.n = 2 + FAKE_PARTS * s->shape.n_blocks};
	wr_learn_fake_all(&all, s);
	int err = wr_keep_parse(keep, s->shape.n_blocks, all.kept, msg);
	memcpy(none.kept, all.kept, sizeof(none.kept));
	if (!err)
		err = judge(&m, s, &m.real, msg);
	if (!err)
		err = measure(&m, &none, &out->none, msg);
	if (!err)
		err = measure(&m, &all, &out->all, msg);
	if (!err)
		err = measure_each(&m, &none, &all, out, msg);
	wr_judge_free(m.real);
	return err;
}
