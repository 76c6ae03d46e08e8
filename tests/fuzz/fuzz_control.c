/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of every kind of telemetry command: what is taken lies in its range. The first byte
 * chooses how many workers there are. */
#include "control_reply.h"
#include "fuzz.h"
#include "wr_control.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct wr_control_command c = {"/wirerank/fuzz", "WORKER,PAGE", "fuzz"};
	unsigned int n_workers = size ? 1 + data[0] % 64u : 1;
	char *text = size ? strndup((const char *)data + 1, size - 1) : NULL;
	struct wr_errmsg msg;
	struct params p;

	for (unsigned int takes = 0; takes <= (TAKES_WORKER | TAKES_PAGE); takes++) {
		msg.text[0] = '\0';
		int err = wr_control_params(text, takes, &c, n_workers, &p, &msg);
		FUZZ_CHECK(!err || msg.text[0]);
		fuzz_accepted += !err;
		FUZZ_CHECK(err || (p.worker >= -1 && p.worker < (int)n_workers && p.page <= 9999));
		FUZZ_CHECK(err || takes & TAKES_WORKER || p.worker == -1);
	}
	free(text);
	return 0;
}
