/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration file, and each of its lines as a --set. What is taken can be dumped, and the dump
 * reads back as the same configuration. */
#include "fuzz.h"
#include "wr_config.h"

#include <string.h>

static struct wr_config first, second;

static char *dump(const struct wr_config *c, size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	FUZZ_CHECK(f);
	wr_config_dump(c, f);
	fclose(f);
	return text;
}

/* "key = value ; where it came from": without the last, which must differ. */
static void strip_origins(char *text)
{
	char *to = text;

	for (char *from = text; *from;) {
		size_t n = strcspn(from, "\n");
		char *end = from + n;
		while (end > from && strncmp(end, " ;", 2) != 0)
			end--;
		size_t keep = end > from ? (size_t)(end - from) : n;
		memmove(to, from, keep);
		to += keep;
		from += n;
		if (*from)
			*to++ = *from++;
	}
	*to = '\0';
}

static void round_trip(const struct wr_config *c)
{
	struct wr_errmsg msg = {""};
	size_t size, again;
	char *text = dump(c, &size);

	wr_config_init(&second);
	FUZZ_CHECK(wr_config_parse(&second, text, size, "dump", &msg) == 0);
	char *other = dump(&second, &again);
	strip_origins(text);
	strip_origins(other);
	FUZZ_CHECK(strcmp(text, other) == 0);
	free(text);
	free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wr_errmsg msg = {""};
	char *text = malloc(size + 1), *save = NULL;

	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	wr_config_init(&first);
	int err = wr_config_parse(&first, text, size, "fuzz", &msg);
	FUZZ_CHECK(!err || msg.text[0]);
	if (!err) {
		fuzz_accepted += size > 0;
		round_trip(&first);
		err = wr_config_check(&first, &msg);
		FUZZ_CHECK(!err || msg.text[0]);
	}
	wr_config_init(&first);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		err = wr_config_set(&first, line, &msg);
		FUZZ_CHECK(!err || msg.text[0]);
	}
	round_trip(&first);
	free(text);
	return 0;
}
