#include "muster.cuh"

// momentum makes parameters and velocities of the next step, as paramserver/optim's Rule
// does, with the same bits. rates holds the scale of the gradient and the rate, which
// change from step to step while a graph of launches does not.
KERNEL momentum(float *w2, float *v2, const float *w, const float *v, const float *g, const float *rates, float mu, float decay, u32 nesterov, u32 n) {
  float scale = rates[0], rate = rates[1];
  for (u32 i = global(); i < n; i += grid()) {
    float d = scale * g[i] + decay * w[i];
    float velocity = mu * v[i] - rate * d;
    float by = velocity;
    if (nesterov) by = mu * velocity - rate * d;
    v2[i] = velocity;
    w2[i] = w[i] + by;
  }
}

// add sums two nodes of the tree over shards.
KERNEL add(float *sum, const float *a, const float *b, u32 n) {
  for (u32 i = global(); i < n; i += grid()) sum[i] = a[i] + b[i];
}

// pack rounds to bfloat16s, to nearest, ties to even: two in a word, the first in the lower
// half. The last word of an odd number ends with a zero.
DEVICE u32 rounded(float x) {
  u32 b = word(x);
  if (x != x) return 0x7fc0u | (b >> 16 & 0x8000u);
  return (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
}

KERNEL pack(u32 *packed, const float *x, u32 n) {
  for (u32 i = global(); 2 * i < n; i += grid()) {
    u32 low = rounded(x[2 * i]), high = 0;
    if (2 * i + 1 < n) high = rounded(x[2 * i + 1]);
    packed[i] = high << 16 | low;
  }
}

// unpack is the other way.
KERNEL unpack(float *x, const u32 *packed, u32 n) {
  for (u32 i = global(); i < n; i += grid()) {
    u32 pair = packed[i >> 1];
    x[i] = number(i & 1 ? pair & 0xffff0000u : pair << 16);
  }
}
