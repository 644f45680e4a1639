#include "muster.cuh"

// As many threads share the classes of an image, a block for each image.
#define LANES 128

// softmax makes of an image's logits z (classes, images) its loss, the rank of its label
// (classes that come before it: of larger logits, of equal ones and lower number, and what
// can't be compared), its probabilities p and the gradient of the loss, d; any of them but
// p may be null. Sums have one order: each lane adds every 128th class, and lanes are
// added in halves.
KERNEL softmax(float *p, float *d, float *loss, u32 *rank, const float *z, const u32 *labels, u32 classes, u32 images) {
  static SHARED float of[LANES];
  static SHARED u32 before[LANES];
  u32 t = thread(), image = block();
  z += image;
  p += image;
  if (d) d += image;

  float largest = z[0];
  for (u32 c = t; c < classes; c += LANES) {
    float v = z[(u64)c * images];
    largest = v > largest || v != v ? v : largest;
  }
  of[t] = largest;
  __syncthreads();
  for (u32 half = LANES / 2; half > 0; half >>= 1) {
    if (t < half) of[t] = of[t + half] > of[t] || of[t + half] != of[t + half] ? of[t + half] : of[t];
    __syncthreads();
  }
  largest = of[0];
  __syncthreads();

  float sum = 0.0f;
  for (u32 c = t; c < classes; c += LANES) {
    float e = exponential(z[(u64)c * images] - largest);
    p[(u64)c * images] = e;
    sum += e;
  }
  of[t] = sum;
  __syncthreads();
  for (u32 half = LANES / 2; half > 0; half >>= 1) {
    if (t < half) of[t] += of[t + half];
    __syncthreads();
  }
  sum = of[0];

  u32 label = labels ? labels[image] : 0;
  float own = z[(u64)label * images];
  u32 count = 0;
  for (u32 c = t; c < classes; c += LANES) {
    u64 at = (u64)c * images;
    float q = p[at] / sum, v = z[at];
    p[at] = q;
    if (d) d[at] = c == label ? q - 1.0f : q;
    if (c != label && !(v < own || (v == own && c > label))) count++;
  }
  before[t] = count;
  __syncthreads();
  for (u32 half = LANES / 2; half > 0; half >>= 1) {
    if (t < half) before[t] += before[t + half];
    __syncthreads();
  }
  if (t == 0) {
    if (loss) loss[image] = logarithm(sum) - (own - largest);
    if (rank) rank[image] = before[0];
  }
}
