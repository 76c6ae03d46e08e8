/* SPDX-License-Identifier: BSD-3-Clause */
/* The port's packet buffers. Made once, at start. */
#include "port_int.h"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

/*
 * net_af_xdp (22.11) registers (number of buffers) × (size of one) bytes with the kernel, from the
 * first piece of the pool's memory. A usual pool has gaps, so that no buffer lies in two pages: at
 * every second one on ordinary pages. What lies behind the registered bytes is refused by the
 * kernel when it is filled in or sent, and lost to the pool. So: no gaps, one piece.
 */
static struct rte_mempool *dense_pool(const char *name, unsigned int n, int socket_id)
{
	struct rte_pktmbuf_pool_private priv = {
		.mbuf_data_room_size = PORT_DATA_ROOM, .mbuf_priv_size = WR_PORT_PRIV_BYTES};
	unsigned int bytes = sizeof(struct rte_mbuf) + WR_PORT_PRIV_BYTES + PORT_DATA_ROOM;
	struct rte_mempool *pool = rte_mempool_create_empty(name, n, bytes, PORT_POOL_CACHE,
		sizeof(priv), socket_id, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (!pool)
		return NULL;
	int ret = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (ret == 0) {
		rte_pktmbuf_pool_init(pool, &priv);
		ret = rte_mempool_populate_default(pool);
	}
	if (ret < 0) {
		rte_mempool_free(pool);
		rte_errno = -ret;
		return NULL;
	}
	(void)rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

static void see_end(struct rte_mempool *pool, void *arg, void *obj, unsigned int i)
{
	uintptr_t *last = arg, end = (uintptr_t)obj + pool->elt_size + pool->trailer_size;
	(void)i;
	*last = WR_MAX(*last, end);
}

/* Whether every buffer lies in what net_af_xdp registers. */
static bool is_dense(struct rte_mempool *pool)
{
	const struct rte_mempool_memhdr *first = STAILQ_FIRST(&pool->mem_list);
	uintptr_t last = 0;
	(void)rte_mempool_obj_iter(pool, see_end, &last);
	uint32_t bytes = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, NULL);
	return pool->nb_mem_chunks == 1 &&
	       last <= (uintptr_t)first->addr + (uintptr_t)pool->populated_size * bytes;
}

int wr_pool_make(
	struct rte_mempool **pool, unsigned int n, int socket_id, bool dense, struct wr_errmsg *msg)
{
	static unsigned int n_made;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "wr_pool%u", n_made++);
	*pool = dense ? dense_pool(name, n, socket_id)
		      : rte_pktmbuf_pool_create(name, n, PORT_POOL_CACHE, WR_PORT_PRIV_BYTES,
				PORT_DATA_ROOM, socket_id);
	if (!*pool)
		return wr_fail(msg, WR_ENOMEM,
			"mbuf pool of %u: %s; give EAL more memory (memory.limit, hugepages)", n,
			rte_strerror(rte_errno));
	if (dense && !is_dense(*pool))
		return wr_fail(msg, WR_ENOMEM,
			"mbuf pool of %u: no piece of memory is large enough, AF_XDP wants one; "
			"give "
			"EAL more memory (memory.limit, hugepages)",
			n);
	return 0;
}
