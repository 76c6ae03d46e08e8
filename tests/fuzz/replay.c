/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Driver for fuzzers without libFuzzer: every file of the corpus as it is, then seeded mutations of
 * them. The input that broke something is written to the working directory, so that it can join the
 * corpus.
 */
#include "fuzz.h"
#include "wr_base.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILES 4096
#define MAX_BYTES 65536

struct input {
	char *data;
	size_t size;
};
static struct input corpus[MAX_FILES];
static unsigned int n_corpus;
static struct {
	const uint8_t *data;
	size_t size;
} running;

/* There only in sanitizer builds, whose reports end the process without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void save_input(void)
{
	static const char note[] = "replay: the input is in ./crash-input\n";
	int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0 && write(fd, running.data, running.size) == (ssize_t)running.size)
		(void)!write(2, note, sizeof(note) - 1);
}

static void on_crash(int sig)
{
	save_input();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void catch_crashes(void)
{
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(save_input);
		return;
	}
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
}

static void run_one(const uint8_t *data, size_t size)
{
	running.data = data;
	running.size = size;
	LLVMFuzzerTestOneInput(data, size);
}

static int load_folder(const char *folder, struct wr_errmsg *msg)
{
	struct dirent **names;
	int n = scandir(folder, &names, NULL, alphasort);
	if (n < 0)
		return wr_fail(msg, WR_ENOENT, "%s: cannot be read", folder);
	int err = WR_OK;
	for (int i = 0; i < n; i++) {
		char path[4096];
		struct input in;
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && !err && n_corpus < MAX_FILES) {
			err = wr_file_read(path, MAX_BYTES, &in.data, &in.size, msg);
			if (!err)
				corpus[n_corpus++] = in;
		}
		free(names[i]);
	}
	free(names);
	return err;
}

static size_t mutate_once(struct wr_rng *r, uint8_t *data, size_t size)
{
	static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff, 3, 4, 32, 33, 64, 65, 128, 129};
	size_t at = size ? wr_rng_below(r, (uint32_t)size) : 0, n;
	const struct input *other = &corpus[wr_rng_below(r, n_corpus)];
	switch (wr_rng_below(r, 7)) {
	case 0:
		if (size)
			data[at] ^= (uint8_t)(1u << wr_rng_below(r, 8));
		return size;
	case 1:
		if (size)
			data[at] = special[wr_rng_below(r, sizeof(special))];
		return size;
	case 2:
		if (size)
			data[at] = (uint8_t)wr_rng_u64(r);
		return size;
	case 3: /* truncate, mostly to whole words */
		return wr_rng_below(r, 4) ? at & ~(size_t)3 : at;
	case 4: /* remove a word */
		if (at + 4 > size)
			return size;
		memmove(data + at, data + at + 4, size - at - 4);
		return size - 4;
	case 5: /* repeat a chunk behind itself */
		n = WR_MIN((size_t)4 * (1 + wr_rng_below(r, 16)), size - at);
		if (size + n > MAX_BYTES)
			return size;
		memmove(data + at + n, data + at, size - at);
		return size + n;
	default: /* another input's tail */
		if (!other->size)
			return size;
		n = wr_rng_below(r, (uint32_t)other->size) & ~(size_t)3;
		at &= ~(size_t)3;
		if (at + other->size - n > MAX_BYTES)
			return size;
		memcpy(data + at, other->data + n, other->size - n);
		return at + other->size - n;
	}
}

static void run_mutations(uint64_t n, uint64_t seed)
{
	static uint8_t buffer[MAX_BYTES];
	struct wr_rng r;
	wr_rng_init(&r, seed, 0);
	for (uint64_t i = 0; i < n; i++) {
		const struct input *from = &corpus[wr_rng_below(&r, n_corpus)];
		size_t size = from->size;
		memcpy(buffer, from->data, size);
		for (uint32_t k = 1 + wr_rng_below(&r, 4); k > 0; k--)
			size = mutate_once(&r, buffer, size);
		run_one(buffer, size);
	}
}

int main(int argc, char **argv)
{
	const char *mutations_text = "10000", *seed_text = "1", *folders[8];
	const struct wr_opt opts[] = {
		{"mutations", "N", "mutated inputs to run behind the corpus", &mutations_text},
		{"seed", "N", "of the mutations", &seed_text},
	};
	struct wr_errmsg msg;
	unsigned int n_folders;
	uint64_t mutations, seed;
	int err = wr_opt_parse(argc, argv, "usage: fuzz_NAME [options] FOLDER...", opts,
		WR_ARRAY_LEN(opts), folders, WR_ARRAY_LEN(folders), &n_folders, &msg);
	if (err == WR_EINTR)
		return 0;
	for (unsigned int i = 0; i < n_folders && !err; i++)
		err = load_folder(folders[i], &msg);
	if (!err && (wr_parse_u64(mutations_text, 0, UINT64_MAX, &mutations) ||
			    wr_parse_u64(seed_text, 0, UINT64_MAX, &seed)))
		err = wr_fail(&msg, WR_EINVAL, "--mutations and --seed want numbers");
	if (!err && n_corpus == 0)
		err = wr_fail(&msg, WR_ENOENT, "no corpus: nothing would be tested");
	if (err) {
		fprintf(stderr, "replay: %s\n", msg.text);
		return 1;
	}
	catch_crashes();
	for (unsigned int i = 0; i < n_corpus; i++)
		run_one((const uint8_t *)corpus[i].data, corpus[i].size);
	uint64_t accepted = fuzz_accepted;
	run_mutations(mutations, seed);
	printf("%u files, %llu taken; %llu mutations, %llu taken\n", n_corpus,
		(unsigned long long)accepted, (unsigned long long)mutations,
		(unsigned long long)(fuzz_accepted - accepted));
	while (n_corpus)
		free(corpus[--n_corpus].data);
	if (accepted == 0)
		fprintf(stderr, "replay: nothing of the corpus is taken: it does not test much\n");
	return accepted == 0;
}
