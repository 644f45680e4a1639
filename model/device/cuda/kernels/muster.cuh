// What kernels need of CUDA, without its toolkit, and what several of them share.
//
// Kernels keep the bits of the operations that are written: nothing is contracted
// (-ffp-contract=off), and sums have one order, whatever the grid.
#pragma once

#define KERNEL extern "C" __attribute__((global)) void
#define DEVICE static inline __attribute__((device, always_inline))
#define SHARED __attribute__((shared))

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

extern "C" __attribute__((device)) void __syncthreads(void);

DEVICE u32 thread() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE u32 threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
DEVICE u32 block() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE u32 blocks() { return __nvvm_read_ptx_sreg_nctaid_x(); }

// global is this thread's number in the grid, of which each takes what lies a grid apart.
DEVICE u32 global() { return block() * threads() + thread(); }
DEVICE u32 grid() { return blocks() * threads(); }

DEVICE u32 word(float x) { return __builtin_bit_cast(u32, x); }
DEVICE float number(u32 x) { return __builtin_bit_cast(float, x); }

// exponential is e^x, to about 2 ulp where it is not denormal.
DEVICE float exponential(float x) {
  // x log2(e) in two parts, so that large x keep their digits.
  float hi = x * 1.44269502f;
  float lo = __builtin_fmaf(x, 1.44269502f, -hi);
  lo = __builtin_fmaf(x, 1.92596303e-8f, lo);
  float whole = __nvvm_ex2_approx_f(hi);
  return __builtin_fmaf(whole * lo, 0.693147182f, whole);
}

// logarithm is log(x) of a positive x.
DEVICE float logarithm(float x) { return __nvvm_lg2_approx_f(x) * 0.693147182f; }

// Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3), the words of
// a counter under a key, as internal/philox draws them.
struct Words {
  u32 w[4];
};

DEVICE Words philox(u32 k0, u32 k1, u32 c0, u32 c1, u32 c2, u32 c3) {
#pragma unroll
  for (int i = 0; i < 10; i++) {
    u64 p0 = (u64)0xD2511F53u * c0, p1 = (u64)0xCD9E8D57u * c2;
    u32 d0 = (u32)(p1 >> 32) ^ c1 ^ k0, d2 = (u32)(p0 >> 32) ^ c3 ^ k1;
    c1 = (u32)p1;
    c3 = (u32)p0;
    c0 = d0;
    c2 = d2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}
