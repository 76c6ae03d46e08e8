/* SPDX-License-Identifier: BSD-3-Clause */
/* Random numbers: uniform, normal, exponential, Zipf. */
#include "wr_base.h"

#include <math.h>

void wr_rng_init(struct wr_rng *r, uint64_t seed, uint64_t stream)
{
	uint64_t x = seed ^ wr_mix64(stream + 0x9e3779b97f4a7c15u);
	for (int i = 0; i < 4; i++) {
		x += 0x9e3779b97f4a7c15u;
		r->s[i] = wr_mix64(x);
	}
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t wr_rng_u64(struct wr_rng *r)
{
	uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint32_t wr_rng_below(struct wr_rng *r, uint32_t n)
{
	uint64_t m = (wr_rng_u64(r) >> 32) * n;
	if ((uint32_t)m < n) {
		uint32_t threshold = -n % n;
		while ((uint32_t)m < threshold)
			m = (wr_rng_u64(r) >> 32) * n;
	}
	return (uint32_t)(m >> 32);
}

double wr_rng_double(struct wr_rng *r)
{
	return (double)(wr_rng_u64(r) >> 11) * 0x1p-53;
}

double wr_rng_normal(struct wr_rng *r)
{
	double u = 1.0 - wr_rng_double(r), v = wr_rng_double(r);
	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double wr_rng_exponential(struct wr_rng *r)
{
	return -log(1.0 - wr_rng_double(r));
}

/* H(x), the integral of x^-s, and its inverse; written with expm1/log1p so that s = 1 is no special
 * case. */
static double zipf_h(double s, double x)
{
	double lx = log(x), t = (1.0 - s) * lx;
	return fabs(t) < 1e-8 ? lx * (1.0 + t * 0.5) : lx * expm1(t) / t;
}

static double zipf_h_inverse(double s, double y)
{
	double t = y * (1.0 - s);
	if (t < -1.0)
		t = -1.0;
	return exp(fabs(t) < 1e-8 ? y * (1.0 - t * 0.5) : y * log1p(t) / t);
}

void wr_zipf_init(struct wr_zipf *z, uint64_t n, double s)
{
	z->n = n;
	z->s = s;
	z->h_x1 = zipf_h(s, 1.5) - 1.0;
	z->h_n = zipf_h(s, (double)n + 0.5);
	z->cut = 2.0 - zipf_h_inverse(s, zipf_h(s, 2.5) - pow(2.0, -s));
}

uint64_t wr_zipf_draw(const struct wr_zipf *z, struct wr_rng *r)
{
	for (;;) {
		double u = z->h_n + wr_rng_double(r) * (z->h_x1 - z->h_n);
		double x = zipf_h_inverse(z->s, u);
		double k = floor(x + 0.5);
		if (k < 1.0)
			k = 1.0;
		if (k > (double)z->n)
			k = (double)z->n;
		if (k - x <= z->cut || u >= zipf_h(z->s, k + 0.5) - pow(k, -z->s))
			return (uint64_t)k - 1;
	}
}
