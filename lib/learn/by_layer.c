/* SPDX-License-Identifier: BSD-3-Clause */
/* What int8 costs by layer: the model with one layer rounded, and with all but that one; an
 * evaluation each, some 2 · (5 blocks + 2). */
#include "fake_int.h"
#include "wr_compact.h"

static int measure(const struct wr_fake *fake, const struct wr_dataset *ds, enum wr_split split,
	uint32_t users, uint32_t threads, struct wr_layer_score *to, struct wr_errmsg *msg)
{
	struct wr_student *s;
	struct wr_metrics_at m;
	int err = wr_learn_fake_new(&s, fake, msg);
	if (!err)
		err = wr_eval_float(s, ds, split, users, threads, &m, msg);
	if (!err)
		*to = (struct wr_layer_score){.hr10 = m.hr[0][1], .ndcg10 = m.ndcg[0][1]};
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

int wr_layers_measure(const struct wr_student *s, const struct wr_dataset *ds, enum wr_split split,
	uint32_t users, uint32_t threads, struct wr_layers *out, struct wr_errmsg *msg)
{
	struct wr_fake none = {.real = s}, all;
	*out = (struct wr_layers){.n = 2 + FAKE_PARTS * s->shape.n_blocks};
	wr_learn_fake_all(&all, s);
	int err = measure(&none, ds, split, users, threads, &out->none, msg);
	if (!err)
		err = measure(&all, ds, split, users, threads, &out->all, msg);
	for (uint32_t i = 0; i < out->n && !err; i++) {
		struct wr_layer *l = &out->layer[i];
		struct wr_fake one = none, but = all;
		set_layer(&one, i, true, l->name, sizeof(l->name));
		set_layer(&but, i, false, l->name, sizeof(l->name));
		if (wr_stop_requested())
			return wr_fail(msg, WR_ESTATE, "stopped");
		err = measure(&one, ds, split, users, threads, &l->alone, msg);
		if (!err)
			err = measure(&but, ds, split, users, threads, &l->spared, msg);
	}
	return err;
}
