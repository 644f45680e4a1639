#pragma once

#include "muster.cuh"

// Products C = A B of (m, k) and (k, n). An output is one chain over k, ascending,
// which begins with zero, or with C: so it has the same bits whatever the grid. Of F32 it
// is a chain of fused multiply-adds, as on the CPU; of TF32 and BF16 tensor cores take the
// rounded factors of 8 and 16 steps of k at a time.
//
// A block of 128 threads makes 64x64 outputs, in steps of 16 of k: tiles come by copies in
// the background, two ahead of the one at work. What is beyond the edges counts as zero.

#define M_TILE 64
#define N_TILE 64
#define K_TILE 16
#define STAGES 3
#define THREADS 128
#define BLOCK __attribute__((launch_bounds(THREADS)))

// Rows of tiles are longer than their values, so that the lanes of a warp meet different banks.
#define K_ROW (K_TILE + 4)
#define W_ROW (64 + 8)
#define TILE_VALUES (64 * K_ROW > K_TILE * W_ROW ? 64 * K_ROW : K_TILE * W_ROW)

enum Mode { F32, TF32, BF16 };

// Flags of a launch.
#define WIDE_A 1u      // rows of A begin at multiples of 16 bytes
#define WIDE_B 2u      // those of B
#define ADD 4u         // chains begin with C
#define RELU 8u        // of what comes out: 0 below zero, whatever slope says

#define BIAS_ROWS 16u  // biases are those of rows

// slope multiplies what comes out below zero: 1 where there is no activation.

DEVICE u32 shared(const void *p) { return (u32)(u64)(__attribute__((address_space(3))) const void *)p; }

// copy brings 16 or 4 bytes to shared memory, of which those beyond taken are zero.
DEVICE void copy16(float *to, const float *from, u32 taken) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared(to)), "l"(from), "r"(taken) : "memory");
}
DEVICE void copy4(float *to, const float *from, u32 taken) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared(to)), "l"(from), "r"(taken) : "memory");
}

// load begins to bring a tile of rows x cols values, at (row, col) of a matrix of height x
// width, to shared memory.
template <int ROWS, int COLS, int ROW>
DEVICE void load(float *tile, const float *matrix, u32 row, u32 col, u32 height, u32 width, u32 stride, bool wide) {
  if (wide) {
#pragma unroll
    for (u32 j = 0; j < ROWS * COLS / 4 / THREADS; j++) {
      u32 i = thread() + j * THREADS;
      u32 r = i / (COLS / 4), c = i % (COLS / 4) * 4;
      bool inside = row + r < height && col + c < width;
      u32 taken = inside ? 4 * (width - col - c < 4 ? width - col - c : 4) : 0;
      copy16(tile + r * ROW + c, inside ? matrix + (u64)(row + r) * stride + col + c : matrix, taken);
    }
    return;
  }
#pragma unroll 1
  for (u32 i = thread(); i < ROWS * COLS; i += THREADS) {
    u32 r = i / COLS, c = i % COLS;
    bool inside = row + r < height && col + c < width;
    copy4(tile + r * ROW + c, inside ? matrix + (u64)(row + r) * stride + col + c : matrix, inside ? 4 : 0);
  }
}

DEVICE u32 tf32(float x) {
  u32 y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}

// pair is two bfloat16s, the first in the lower half.
DEVICE u32 pair(float low, float high) {
  u32 y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}

template <bool TA> DEVICE float of_a(const float *tile, u32 m, u32 k) { return TA ? tile[k * W_ROW + m] : tile[m * K_ROW + k]; }
template <bool TB> DEVICE float of_b(const float *tile, u32 k, u32 n) { return TB ? tile[n * K_ROW + k] : tile[k * W_ROW + n]; }

DEVICE u32 tile_row(u32 n) { return block() / ((n + N_TILE - 1) / N_TILE) * M_TILE; }
DEVICE u32 tile_col(u32 n) { return block() % ((n + N_TILE - 1) / N_TILE) * N_TILE; }

// Output is where a product goes, and what is done on the way.
struct Output {
  float *c;
  const float *bias; // of columns, or of rows with BIAS_ROWS; null: none
  u32 m, n, stride, flags;
  float slope;
};

// product makes a block's outputs, of tiles that load_a and load_b begin to bring: those
// from step k0 of k steps on.
template <bool TA, bool TB, Mode MODE, class A, class B> DEVICE void product(const Output &out, u32 k, A load_a, B load_b) {
  static SHARED __attribute__((aligned(16))) float tiles_a[STAGES][TILE_VALUES];
  static SHARED __attribute__((aligned(16))) float tiles_b[STAGES][TILE_VALUES];
  float *c = out.c;
  u32 m = out.m, n = out.n, stride_c = out.stride, flags = out.flags;
  u32 t = thread(), lane = t & 31, warp = t >> 5;
  u32 row0 = tile_row(n), col0 = tile_col(n);

  // 4 x 8 outputs: of F32 a thread has rows 4 t.. and columns 8 t..; else four lanes in a
  // row of a warp share rows, as tensor cores have them.
  float acc[32];
  u32 row[4], col[8];
  if (MODE == F32) {
#pragma unroll
    for (int i = 0; i < 4; i++) row[i] = (t >> 3) * 4 + i;
#pragma unroll
    for (int j = 0; j < 8; j++) col[j] = (t & 7) * 8 + j;
  } else {
    u32 g = lane >> 2, q = lane & 3;
#pragma unroll
    for (int i = 0; i < 4; i++) row[i] = (warp >> 1) * 32 + (i >> 1) * 16 + (i & 1) * 8 + g;
#pragma unroll
    for (int j = 0; j < 8; j++) col[j] = (warp & 1) * 32 + (j >> 1) * 8 + 2 * q + (j & 1);
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 8; j++) {
      bool inside = row0 + row[i] < m && col0 + col[j] < n;
      acc[i * 8 + j] = (flags & ADD) && inside ? c[(u64)(row0 + row[i]) * stride_c + col0 + col[j]] : 0.0f;
    }

  auto fetch = [&](u32 step) {
    u32 k0 = step * K_TILE;
    if (k0 < k) {
      load_a(tiles_a[step % STAGES], k0);
      load_b(tiles_b[step % STAGES], k0);
    }
    asm volatile("cp.async.commit_group;" ::: "memory"); // an empty one, too: they are counted
  };
#pragma unroll 1
  for (u32 s = 0; s < STAGES - 1; s++) fetch(s);

  u32 steps = (k + K_TILE - 1) / K_TILE;
#pragma unroll 1
  for (u32 s = 0; s < steps; s++) {
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
    __syncthreads(); // all have waited for their copies, and have left the tile that is fetched next
    fetch(s + STAGES - 1);
    const float *ta = tiles_a[s % STAGES], *tb = tiles_b[s % STAGES];
    if (MODE == F32) {
#pragma unroll 2
      for (u32 i = 0; i < K_TILE; i++) {
        float x[4], y[8];
#pragma unroll
        for (int r = 0; r < 4; r++) x[r] = of_a<TA>(ta, row[r], i);
#pragma unroll
        for (int j = 0; j < 8; j++) y[j] = of_b<TB>(tb, i, col[j]);
        // What is beyond k is not a part of the chain: adding a product of zeros would turn -0 into 0.
        if (s * K_TILE + i < k)
#pragma unroll
          for (int r = 0; r < 4; r++)
#pragma unroll
            for (int j = 0; j < 8; j++) acc[r * 8 + j] = __builtin_fmaf(x[r], y[j], acc[r * 8 + j]);
      }
      continue;
    }
    u32 g = lane >> 2, q = lane & 3, rows = (warp >> 1) * 32, cols = (warp & 1) * 32;
    constexpr u32 depth = MODE == TF32 ? 8 : 16;
#pragma unroll
    for (u32 k0 = 0; k0 < K_TILE; k0 += depth) {
      u32 fa[2][4], fb[4][2];
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int f = 0; f < 4; f++) {
          u32 r = rows + 16 * i + 8 * (f & 1) + g;
          if (MODE == TF32)
            fa[i][f] = tf32(of_a<TA>(ta, r, k0 + q + 4 * (f >> 1)));
          else
            fa[i][f] = pair(of_a<TA>(ta, r, k0 + 2 * q + 8 * (f >> 1)), of_a<TA>(ta, r, k0 + 2 * q + 1 + 8 * (f >> 1)));
        }
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int f = 0; f < 2; f++) {
          u32 x = cols + 8 * j + g;
          if (MODE == TF32)
            fb[j][f] = tf32(of_b<TB>(tb, k0 + q + 4 * f, x));
          else
            fb[j][f] = pair(of_b<TB>(tb, k0 + 2 * q + 8 * f, x), of_b<TB>(tb, k0 + 2 * q + 1 + 8 * f, x));
        }
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
          float *d0 = acc + (2 * i) * 8 + 2 * j, *d1 = acc + (2 * i + 1) * 8 + 2 * j;
          if (MODE == TF32)
            asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                : "+f"(d0[0]), "+f"(d0[1]), "+f"(d1[0]), "+f"(d1[1])
                : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]), "r"(fb[j][0]), "r"(fb[j][1]));
          else
            asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                : "+f"(d0[0]), "+f"(d0[1]), "+f"(d1[0]), "+f"(d1[1])
                : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]), "r"(fb[j][0]), "r"(fb[j][1]));
        }
    }
  }

#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 8; j++) {
      u32 r = row0 + row[i], x = col0 + col[j];
      if (r >= m || x >= n) continue;
      float y = acc[i * 8 + j];
      if (out.bias) y += out.bias[flags & BIAS_ROWS ? r : x];
      float below = flags & RELU ? 0.0f : out.slope * y;
      c[(u64)r * stride_c + x] = y > 0.0f || y != y ? y : below;
    }
}
