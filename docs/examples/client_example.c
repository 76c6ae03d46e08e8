/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An edge proxy in small: reads clicks ("USER ITEM" a line) from standard input, asks for
 * recommendations after each, prints them. One epoll loop; remembers what its users clicked, so
 * that it can tell a server that does not know them. docs/client.md explains it.
 *
 *   cc client_example.c $(pkg-config --cflags --libs libwirerank) -o client_example
 *   printf 'anna 31\nanna 58\nbob 7\n' | ./client_example 10.47.0.1 10.47.0.2:4700
 */
#include <wirerank.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_USERS  1024
#define MAX_CLICKS WR_WIRE_MAX_HISTORY

struct user {
	char name[64];
	uint64_t id;
	uint32_t item[MAX_CLICKS]; /* the newest clicks, oldest first */
	int64_t time_ms[MAX_CLICKS];
	unsigned int n;
	uint64_t dropped, told; /* of all clicks ever: so many are not in item any more; so many a
				   server has acknowledged */
};

/* What a request carried, for its callback. */
struct asked {
	struct proxy *proxy;
	struct user *user;
	uint64_t up_to; /* clicks ever */
};

struct proxy {
	struct wr_client *client;
	struct user user[MAX_USERS];
	unsigned int n_users;
	char input[4096];
	size_t n_input;
	bool ended; /* standard input */
	int n_failed;
};

/* How many of the clicks that are kept here a server knows. */
static unsigned int known(const struct user *u)
{
	return u->told > u->dropped ? (unsigned int)(u->told - u->dropped) : 0;
}

static struct user *find(struct proxy *p, uint64_t id)
{
	for (unsigned int i = 0; i < p->n_users; i++)
		if (p->user[i].id == id)
			return &p->user[i];
	return NULL;
}

/* A server wants to know what this user did before. */
static bool history(void *arg, uint64_t user_id, uint8_t domain, unsigned int n_wanted,
	struct wr_client_history *h)
{
	struct user *u = find(arg, user_id);
	(void)domain;
	(void)n_wanted;
	if (!u)
		return false;
	h->items = u->item;
	h->times = u->time_ms;
	h->n = known(u); /* the clicks behind these go with the request as its events */
	h->complete = u->dropped == 0;
	return true;
}

static void answered(void *arg, const struct wr_client_answer *a)
{
	struct asked *asked = arg;
	struct user *u = asked->user;
	if (a->result == WR_OK) {
		if (u->told < asked->up_to)
			u->told = asked->up_to;
		printf("%s:", u->name);
		for (unsigned int i = 0; i < a->message->n_items; i++)
			printf(" %u", a->message->items[i].item);
		printf(" (%.0f us, server %u)\n", (double)a->latency_ns / 1e3, a->server);
	} else {
		/* The page shows a default; the clicks go again with the user's next request. */
		printf("%s: nothing (%s%s%s)\n", u->name, wr_strerror(a->result),
			a->result == WR_EPERM ? ": " : "",
			a->result == WR_EPERM ? wr_wire_status_name(a->status) : "");
		asked->proxy->n_failed++;
	}
	free(asked);
}

static void remember(struct user *u, uint32_t item)
{
	if (u->n == MAX_CLICKS) {
		memmove(u->item, u->item + 1, sizeof(u->item) - sizeof(u->item[0]));
		memmove(u->time_ms, u->time_ms + 1, sizeof(u->time_ms) - sizeof(u->time_ms[0]));
		u->n--;
		u->dropped++;
	}
	u->item[u->n] = item;
	u->time_ms[u->n] = wr_clock_unix_ms();
	u->n++;
}

/* Asks for a user, and reports the clicks that no server has acknowledged. */
static int ask(struct proxy *p, struct user *u)
{
	struct wr_wire_event event[WR_WIRE_MAX_EVENTS];
	struct asked *asked = malloc(sizeof(*asked));
	if (!asked)
		return WR_ENOMEM;
	*asked = (struct asked){p, u, u->dropped + u->n};
	/* Older ones reach the server as history. */
	if (u->n - known(u) > WR_WIRE_MAX_EVENTS)
		u->told = asked->up_to - WR_WIRE_MAX_EVENTS;
	struct wr_client_request r = {.user_id = u->id,
		.k = 10,
		.events = event,
		.n_events = u->n - known(u),
		.done = answered,
		.arg = asked};
	for (unsigned int i = 0; i < r.n_events; i++)
		event[i] = (struct wr_wire_event){.item = u->item[known(u) + i],
			.kind = WR_KIND_CLICK,
			.time_ms = u->time_ms[known(u) + i]};
	int err = wr_client_recommend(p->client, &r);
	if (err)
		free(asked);
	return err;
}

/* False: no room for a request now; the click stays in the input. */
static bool clicked(struct proxy *p, const char *name, uint32_t item)
{
	uint64_t id = wr_wire_user_id(name, strlen(name));
	struct user *u = find(p, id);
	if (!u && p->n_users == MAX_USERS)
		return true; /* a real proxy forgets the oldest */
	if (!u) {
		u = &p->user[p->n_users++];
		snprintf(u->name, sizeof(u->name), "%s", name);
		u->id = id;
	}
	remember(u, item);
	int err = ask(p, u);
	if (err == WR_EFULL)
		u->n--; /* it comes again */
	else if (err)
		fprintf(stderr, "%s: %s\n", name, wr_strerror(err));
	return err != WR_EFULL;
}

/* Takes whole lines as long as there is room for requests. */
static void take_lines(struct proxy *p)
{
	char *line = p->input, *end;
	while ((end = memchr(line, '\n', (size_t)(p->input + p->n_input - line)))) {
		char name[64];
		unsigned int item;
		*end = '\0';
		if (sscanf(line, "%63s %u", name, &item) == 2 && item >= 1 &&
			item <= WR_WIRE_MAX_ITEM) {
			if (!clicked(p, name, item)) {
				*end = '\n';
				break;
			}
		} else {
			fprintf(stderr, "not \"USER ITEM\": %s\n", line);
		}
		line = end + 1;
	}
	p->n_input -= (size_t)(line - p->input);
	memmove(p->input, line, p->n_input);
	/* All requests of this turn leave together. */
	wr_client_flush(p->client);
}

static void read_input(struct proxy *p)
{
	ssize_t n = read(STDIN_FILENO, p->input + p->n_input, sizeof(p->input) - p->n_input);
	if (n > 0)
		p->n_input += (size_t)n;
	else if (n == 0 || errno != EINTR)
		p->ended = true;
}

static int loop(struct proxy *p)
{
	struct epoll_event e = {.events = EPOLLIN}, ready[2];
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return -1;
	e.data.fd = wr_client_fd(p->client);
	if (epoll_ctl(fd, EPOLL_CTL_ADD, e.data.fd, &e) != 0)
		return -1;
	e.data.fd = STDIN_FILENO;
	/* A file is always ready, and epoll says so by refusing it. */
	bool is_file = epoll_ctl(fd, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0;
	while (!p->ended || p->n_input || wr_client_outstanding(p->client)) {
		bool room = p->n_input < sizeof(p->input) && !p->ended;
		int n = epoll_wait(fd, ready, 2, is_file && room ? 0 : 1000);
		if (n < 0 && errno != EINTR)
			return -1;
		for (int i = 0; i < n; i++)
			if (ready[i].data.fd == STDIN_FILENO && room)
				read_input(p);
		if (is_file && room)
			read_input(p);
		if (p->ended && p->n_input && p->input[p->n_input - 1] != '\n') {
			if (p->n_input == sizeof(p->input))
				p->n_input--;
			p->input[p->n_input++] = '\n'; /* the last line may lack it */
		}
		if (p->ended)
			epoll_ctl(fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
		wr_client_process(p->client);
		take_lines(p);
		if (p->n_input == sizeof(p->input) && !memchr(p->input, '\n', p->n_input))
			p->n_input = 0; /* no line is that long */
	}
	close(fd);
	return 0;
}

/* "HOST" or "HOST:PORT"; IPv6 as "[HOST]:PORT". */
static int add_server(struct wr_client *c, const char *text, struct wr_errmsg *msg)
{
	char host[256];
	const char *colon = strrchr(text, ':'), *bracket = strchr(text, ']');
	if (colon && (bracket ? colon < bracket : strchr(text, ':') != colon))
		colon = NULL; /* part of an IPv6 address */
	size_t n = colon ? (size_t)(colon - text) : strlen(text);
	if (n > 1 && text[0] == '[' && text[n - 1] == ']')
		text++, n -= 2;
	if (n >= sizeof(host))
		n = sizeof(host) - 1;
	memcpy(host, text, n);
	host[n] = '\0';
	/* Tier 0: users are spread over all of them. */
	return wr_client_add_server(c, host, colon ? (uint16_t)atoi(colon + 1) : 0, 0, msg);
}

int main(int argc, char **argv)
{
	static struct proxy p;
	struct wr_errmsg msg;
	struct wr_client_options options = {.history = history, .history_arg = &p};
	if (argc < 2) {
		fprintf(stderr, "usage: client_example HOST[:PORT]… <clicks\n");
		return 2;
	}
	options.max_servers = (unsigned int)(argc - 1);
	p.client = wr_client_new(&options, &msg);
	for (int i = 1; p.client && i < argc; i++)
		if (add_server(p.client, argv[i], &msg) < 0) {
			wr_client_free(p.client);
			p.client = NULL;
		}
	if (!p.client) {
		fprintf(stderr, "client_example: %s\n", msg.text);
		return 1;
	}
	int err = loop(&p);
	const struct wr_client_stats *s = wr_client_stats(p.client);
	fprintf(stderr, "%lu requests, %lu answered, p99 %.0f us, %lu sent again, %lu histories\n",
		(unsigned long)s->n_submitted, (unsigned long)s->n_ok,
		(double)wr_hist_quantile(&s->latency_ns, 0.99) / 1e3, (unsigned long)s->n_resent,
		(unsigned long)s->n_histories);
	wr_client_free(p.client);
	return err || p.n_failed ? 1 : 0;
}
