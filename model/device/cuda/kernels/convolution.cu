#include "product.cuh"

// Convolutions are products: of weights (maps, taps), a tap being a channel, row and column
// of the kernel, with a matrix (taps, places) of the values that a tap meets at a place, an
// output of an image. That matrix is not made: its values are found where they lie, by what
// taps and places add to row, column and address. With the tables of taps and places
// turned round it is the way back to the input; with each other's parts, and gradients of
// outputs for weights, it is the gradient of weights over places, those of a shard's images.
struct Spot {
  int y, x;    // row and column
  u32 base;    // address but for these
  u32 nothing; // so that it is read at once
};

// Map is what taps meet: of height x width, whose rows and columns count only every
// dilation-th (on the way back, the stride of the convolution).
struct Map {
  const float *values;
  int height, width, dilation;
};

// meet brings the value at two spots together, 0 outside of the map.
DEVICE void meet(float *to, const Map &map, const Spot &a, const Spot &b, bool counts) {
  int y = a.y + b.y, x = a.x + b.x;
  if (map.dilation > 1) {
    counts = counts && y >= 0 && x >= 0 && y % map.dilation == 0 && x % map.dilation == 0;
    y /= map.dilation;
    x /= map.dilation;
  }
  bool inside = counts && y >= 0 && y < map.height && x >= 0 && x < map.width;
  copy4(to, inside ? map.values + a.base + b.base + y * map.width + x : map.values, inside ? 4 : 0);
}

// convolve is the product of a (m, k) with what rows (k) and columns (n) of spots meet.
template <Mode MODE> DEVICE void convolve(const Output &out, const float *a, const Map &map, const Spot *rows, const Spot *columns, u32 k, u32 stride_a) {
  u32 row0 = tile_row(out.n), col0 = tile_col(out.n);
  // A thread has one column of the tile, and every second row.
  u32 own = thread() & 63, first = thread() >> 6;
  bool there = col0 + own < out.n;
  Spot column = columns[there ? col0 + own : 0];
  product<false, false, MODE>(
      out, k, [=](float *tile, u32 k0) { load<M_TILE, K_TILE, K_ROW>(tile, a, row0, k0, out.m, k, stride_a, out.flags & WIDE_A); },
      [=](float *tile, u32 k0) {
#pragma unroll 1
        for (u32 r = first; r < K_TILE; r += 2) {
          bool counts = there && k0 + r < k;
          meet(tile + r * W_ROW + own, map, rows[counts ? k0 + r : 0], column, counts);
        }
      });
}

#define CONVOLUTION(name, mode)                                                                                                                     \
  KERNEL BLOCK name(float *c, const float *a, const float *values, const float *bias, const Spot *rows, const Spot *columns, u32 m, u32 n, u32 k, \
                    u32 stride_a, u32 stride_c, u32 height, u32 width, u32 dilation, u32 flags, float slope) {                                       \
    convolve<mode>({c, bias, m, n, stride_c, flags, slope}, a, {values, (int)height, (int)width, (int)dilation}, rows, columns, k, stride_a);        \
  }

CONVOLUTION(convolve_f32, F32)
CONVOLUTION(convolve_tf32, TF32)
CONVOLUTION(convolve_bf16, BF16)
