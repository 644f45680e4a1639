#include "product.cuh"

// Products of matrices by rows, where A is given as it is (m, k) or transposed (k, m), B as it
// is (k, n) or transposed (n, k).

// matrices is a product of two matrices.
template <bool TA, bool TB, Mode MODE>
DEVICE void matrices(const Output &out, const float *a, const float *b, u32 k, u32 stride_a, u32 stride_b) {
  u32 row0 = tile_row(out.n), col0 = tile_col(out.n);
  product<TA, TB, MODE>(
      out, k,
      [=](float *tile, u32 k0) {
        if (TA)
          load<K_TILE, M_TILE, W_ROW>(tile, a, k0, row0, k, out.m, stride_a, out.flags & WIDE_A);
        else
          load<M_TILE, K_TILE, K_ROW>(tile, a, row0, k0, out.m, k, stride_a, out.flags & WIDE_A);
      },
      [=](float *tile, u32 k0) {
        if (TB)
          load<N_TILE, K_TILE, K_ROW>(tile, b, col0, k0, out.n, k, stride_b, out.flags & WIDE_B);
        else
          load<K_TILE, N_TILE, W_ROW>(tile, b, k0, col0, k, out.n, stride_b, out.flags & WIDE_B);
      });
}

#define PRODUCT(name, ta, tb, mode)                                                                                                                          \
  KERNEL BLOCK name(float *c, const float *a, const float *b, const float *bias, u32 m, u32 n, u32 k, u32 stride_a, u32 stride_b, u32 stride_c, u32 flags, float slope) { \
    matrices<ta, tb, mode>({c, bias, m, n, stride_c, flags, slope}, a, b, k, stride_a, stride_b);                                                            \
  }

PRODUCT(product_f32_nn, false, false, F32)
PRODUCT(product_f32_nt, false, true, F32)
PRODUCT(product_f32_tn, true, false, F32)
PRODUCT(product_tf32_nn, false, false, TF32)
PRODUCT(product_tf32_nt, false, true, TF32)
PRODUCT(product_tf32_tn, true, false, TF32)
PRODUCT(product_bf16_nn, false, false, BF16)
PRODUCT(product_bf16_nt, false, true, BF16)
PRODUCT(product_bf16_tn, true, false, BF16)
