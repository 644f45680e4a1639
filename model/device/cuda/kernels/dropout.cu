#include "muster.cuh"

// dropout keeps values of an image where its random 16 bits are at least threshold, and
// multiplies them by scale; others are zero. It is its own gradient. y and x are (channels,
// images, pixels), of which an image's values are channels * pixels, in that order; index
// holds the number of each image in its set. place is the purpose, with the
// layer, and step the step's number in device memory, as a graph of launches stays the same.
// What is kept is what device.Mask keeps.
KERNEL dropout(float *y, const float *x, const u32 *index, const u32 *step, u32 seed0, u32 seed1, u32 place, u32 threshold, float scale, u32 channels, u32 images, u32 pixels) {
  u32 values = channels * pixels;
  // Eight values have the words of one counter.
  u32 groups = (values + 7) / 8;
  for (u32 i = global(); i < groups * images; i += grid()) {
    u32 image = i / groups, group = i % groups;
    Words words = philox(seed0, seed1, group, place, step[0], index[image]);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      u32 bits = words.w[j >> 1] >> (16 * (j & 1)) & 0xffffu;
      u32 value = 8 * group + j;
      if (value >= values) continue;
      u64 at = ((u64)(value / pixels) * images + image) * pixels + value % pixels;
      y[at] = bits >= threshold ? x[at] * scale : 0.0f;
    }
  }
}
