/* SPDX-License-Identifier: BSD-3-Clause */
/* A file of expected lists: what is taken can be walked from the first user to the last item. */
#include "fuzz_file.h"
#include "load_lists.h"

#include <string.h>

static void walk(const struct wr_lists *l)
{
	uint32_t sum = 0;

	FUZZ_CHECK(l->k >= 1 && l->k <= WR_WIRE_MAX_K && strlen(l->bundle) <= 32);
	for (size_t u = 0; u < l->n_users; u++) {
		const struct wr_lists_user *user = &l->users[u];
		FUZZ_CHECK(user->n_steps > 0 &&
			   (size_t)user->first_step + user->n_steps <= l->n_steps);
		for (uint32_t i = 0; i < user->n_steps; i++) {
			const struct wr_lists_step *s = &l->steps[user->first_step + i];
			FUZZ_CHECK((size_t)s->first_event + s->n_events <= l->n_events &&
				   (size_t)s->first_item + s->n_items <= l->n_items);
			FUZZ_CHECK((i == 0 || s->n_events == 1) && s->n_items <= l->k);
			for (uint32_t j = 0; j < s->n_events; j++)
				sum += l->events[s->first_event + j];
			for (uint32_t j = 0; j < s->n_items; j++)
				sum += l->items[s->first_item + j];
		}
	}
	static volatile uint32_t sink;
	sink = sum;
	(void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wr_errmsg msg = {""};
	struct wr_lists *l = NULL;
	int err = wr_lists_read(&l, fuzz_file(data, size), &msg);

	FUZZ_CHECK(!err == (l != NULL) && (!err || msg.text[0]));
	if (l) {
		fuzz_accepted++;
		walk(l);
	}
	wr_lists_free(l);
	return 0;
}
