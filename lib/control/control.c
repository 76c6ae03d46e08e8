/* SPDX-License-Identifier: BSD-3-Clause */
/* The command table, registration, and the reply that always has a status. A few calls
 * a second. */
#include "control_reply.h"
#include "wr_control.h"
#include "wr_serve.h"

#include <rte_telemetry.h>

#include <pthread.h>
#include <string.h>

#define WORKER_HELP "WORKER (a number or all)"
#define PAGE_HELP   "PAGE (from 0)"

static const struct command {
	struct wr_control_command public;
	unsigned int takes;
	int (*fill)(const struct wr_serve *s, const struct params *p, struct reply *r,
		struct wr_errmsg *msg);
} commands[] = {
	{{"/wirerank/status", "", "State, workers, sessions, peers, sums of answers and drops"},
		TAKES_NOTHING, wr_control_status},
	{{"/wirerank/stats", WORKER_HELP "," PAGE_HELP, "Every counter"}, TAKES_WORKER | TAKES_PAGE,
		wr_control_stats},
	{{"/wirerank/latency", WORKER_HELP,
		 "Quantiles of the server's time and of every stage, ns"},
		TAKES_WORKER, wr_control_latency},
	{{"/wirerank/histogram", WORKER_HELP ",FROM (a bucket)",
		 "Buckets of the server's time that hold something, from FROM on"},
		TAKES_WORKER | TAKES_PAGE, wr_control_histogram},
	{{"/wirerank/bundle", "", "The bundle that is served"}, TAKES_NOTHING, wr_control_bundle},
	{{"/wirerank/shards", PAGE_HELP,
		 "The shard table: epoch, and every worker's CPU, UDP port and shards"},
		TAKES_PAGE, wr_control_shards},
	{{"/wirerank/config", PAGE_HELP, "Every configuration key, its value and origin"},
		TAKES_PAGE, wr_control_config},
	{{"/wirerank/port", "",
		 "The port: driver, queues, offloads, buffers, what the driver counted"},
		TAKES_NOTHING, wr_control_port},
	{{"/wirerank/capture", "", "The packet capture that runs, or ran last"}, TAKES_NOTHING,
		wr_control_capture},
	{{"/wirerank/capture_start",
		 "KEY=VALUE,… (name, packets, seconds, snaplen, bytes, filter, user)",
		 "Begins a packet capture in control.capture_folder"},
		TAKES_TEXT, wr_control_capture_start},
	{{"/wirerank/capture_stop", "", "Ends it and completes its file"}, TAKES_NOTHING,
		wr_control_capture_stop},
	{{"/wirerank/machine", "", "Pages, memory plan, clock, steal since the port opened"},
		TAKES_NOTHING, wr_control_machine},
	{{"/wirerank/engines", WORKER_HELP,
		 "Times of both engines for every matrix product, as measured at start"},
		TAKES_WORKER, wr_control_engines},
};

/* writer: wr_control_start/stop; readers: telemetry threads; all under the lock, which also keeps
 * the commands' static scratch to one thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wr_serve *served;
static bool registered;

const struct wr_control_command *wr_control_command(unsigned int i)
{
	return i < WR_ARRAY_LEN(commands) ? &commands[i].public : NULL;
}

/* ---- replies ---- */
/* Starts over: one status, and one line of error where there is one. */
static void answer_error(struct reply *r, const char *status, const char *error)
{
	rte_tel_data_start_dict(r->data);
	r->failed = false;
	wr_reply_text(r, "status", status);
	if (error)
		wr_reply_text(r, "error", error);
}

static int answer(const char *cmd, const char *params, struct rte_tel_data *data)
{
	struct reply r = {.data = data};
	const struct command *c = NULL;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(commands) && !c; i++)
		if (!strcmp(commands[i].public.path, cmd))
			c = &commands[i];
	if (!c)
		return -1;
	pthread_mutex_lock(&lock);
	if (!served) {
		answer_error(&r, "stopped", NULL);
	} else {
		struct params p;
		struct wr_errmsg msg;
		rte_tel_data_start_dict(data);
		wr_reply_text(&r, "status", "ok");
		int err = wr_control_params(
			params, c->takes, &c->public, wr_serve_n_workers(served), &p, &msg);
		if (!err)
			err = c->fill(served, &p, &r, &msg);
		if (err)
			answer_error(&r, "error", msg.text);
		else if (r.failed)
			answer_error(&r, "error", "the reply does not fit; please report this");
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

int wr_control_start(struct wr_serve *s, struct wr_errmsg *msg)
{
	int err = WR_OK;
	pthread_mutex_lock(&lock);
	if (served)
		err = wr_fail(msg, WR_ESTATE, "telemetry commands are registered already");
	/* DPDK cannot take a command back: they stay, and answer "stopped" while nothing is served.
	 */
	for (unsigned int i = 0; !registered && !err && i < WR_ARRAY_LEN(commands); i++) {
		char help[128];
		const struct wr_control_command *c = &commands[i].public;
		snprintf(help, sizeof(help), "%s.%s%s", c->help,
			c->params[0] ? " Parameters: " : "", c->params);
		if (rte_telemetry_register_cmd(c->path, answer, help))
			err = wr_fail(msg, WR_EIO, "EAL refuses the telemetry command %s", c->path);
	}
	if (!err) {
		registered = true;
		served = s;
		wr_control_note_start(s);
	}
	pthread_mutex_unlock(&lock);
	return err;
}

void wr_control_stop(void)
{
	pthread_mutex_lock(&lock);
	served = NULL;
	pthread_mutex_unlock(&lock);
}
