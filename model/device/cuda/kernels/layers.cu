#include "muster.cuh"

// Layers without products. Activations lie as (channels, images, rows, columns), so that a
// pixel's neighbours across channels are a plane's length apart, and those of one channel,
// of all images, one after the other.

#define LANES 128

enum { RELU, LEAKY, SOFTPLUS };

// activate applies a function to n values; y may be x.
KERNEL activate(float *y, const float *x, u32 kind, float slope, u32 n) {
  for (u32 i = global(); i < n; i += grid()) {
    float v = x[i];
    if (kind == SOFTPLUS) {
      // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
      float tail = exponential(v > 0.0f ? -v : v);
      float base = v > 0.0f ? v : 0.0f;
      y[i] = v != v ? v : base + logarithm(1.0f + tail);
    } else {
      float below = kind == LEAKY ? slope * v : 0.0f;
      y[i] = v > 0.0f || v != v ? v : below;
    }
  }
}

// activate_back makes the gradient of x from that of y; of ReLU at 0 it is 0. dx may be dy.
KERNEL activate_back(float *dx, const float *dy, const float *x, u32 kind, float slope, u32 n) {
  for (u32 i = global(); i < n; i += grid()) {
    float v = x[i], by = 1.0f;
    if (kind == SOFTPLUS) {
      // 1 / (1 + e^-x), of which the exponential is that of a number below zero
      float tail = exponential(v > 0.0f ? -v : v);
      by = (v > 0.0f ? 1.0f : tail) / (1.0f + tail);
    } else if (!(v > 0.0f)) {
      by = kind == LEAKY ? slope : 0.0f;
    }
    dx[i] = dy[i] * by;
  }
}

// Windows are kernel x kernel at every stride, beginning at -top, -left, clipped to the image.

DEVICE int most(int a, int b) { return a > b ? a : b; }
DEVICE int least(int a, int b) { return a < b ? a : b; }

// max_pool takes the largest value of each window of planes, and notes in from which pixel
// it was: the first of equals, in row-major order. A NaN is larger than any number.
KERNEL max_pool(float *y, u32 *from, const float *x, int height, int width, int out_height, int out_width, int kernel, int stride, int top, int left, u32 planes) {
  u32 outputs = out_height * out_width;
  for (u32 i = global(); i < outputs * planes; i += grid()) {
    int o = i % outputs, oy = o / out_width, ox = o % out_width;
    const float *plane = x + (u64)(i / outputs) * height * width;
    int y0 = oy * stride - top, x0 = ox * stride - left;
    int y1 = least(y0 + kernel, height), x1 = least(x0 + kernel, width);
    y0 = most(y0, 0);
    x0 = most(x0, 0);
    u32 at = y0 * width + x0;
    float largest = plane[at];
    for (int r = y0; r < y1; r++)
      for (int c = x0; c < x1; c++) {
        float v = plane[r * width + c];
        if (v > largest || (v != v && largest == largest)) {
          largest = v;
          at = r * width + c;
        }
      }
    y[i] = largest;
    from[i] = at;
  }
}

// max_pool_back gathers: a pixel's gradient is the sum of those of the outputs that came
// from it, in row-major order.
KERNEL max_pool_back(float *dx, const float *dy, const u32 *from, int height, int width, int out_height, int out_width, int kernel, int stride, int top, int left, u32 planes) {
  u32 pixels = height * width;
  for (u32 i = global(); i < pixels * planes; i += grid()) {
    u32 pixel = i % pixels, plane = i / pixels;
    int iy = (int)(pixel / width) + top, ix = (int)(pixel % width) + left;
    // Of outputs o with o * stride <= i < o * stride + kernel.
    int y0 = iy < kernel ? 0 : (iy - kernel) / stride + 1, x0 = ix < kernel ? 0 : (ix - kernel) / stride + 1;
    int y1 = least(out_height, iy / stride + 1), x1 = least(out_width, ix / stride + 1);
    const float *d = dy + (u64)plane * out_height * out_width;
    const u32 *f = from + (u64)plane * out_height * out_width;
    float sum = 0.0f;
    for (int r = y0; r < y1; r++)
      for (int c = x0; c < x1; c++)
        if (f[r * out_width + c] == pixel) sum += d[r * out_width + c];
    dx[i] = sum;
  }
}

// lrn is y = x d^-beta with d = k + alpha * the sum of x_j^2 over channels c-before to
// c+after, in ascending order; d is kept for the way back. x is (channels, pixels).
KERNEL lrn(float *y, float *d, const float *x, int before, int after, float k, float alpha, float beta, int channels, u32 pixels) {
  for (u32 i = global(); i < pixels * channels; i += grid()) {
    int c = i / pixels;
    u32 pixel = i % pixels;
    float sum = 0.0f;
    for (int j = most(0, c - before); j <= least(channels - 1, c + after); j++) {
      float v = x[(u64)j * pixels + pixel];
      sum = __builtin_fmaf(v, v, sum);
    }
    float base = k + alpha * sum;
    d[i] = base;
    y[i] = x[i] * __nvvm_ex2_approx_f(-beta * __nvvm_lg2_approx_f(base));
  }
}

// lrn_back is dx_c = dy_c d_c^-beta - 2 alpha beta x_c * the sum of dy_j y_j / d_j over all j
// in whose window c is, in ascending order.
KERNEL lrn_back(float *dx, const float *dy, const float *x, const float *y, const float *d, int before, int after, float alpha, float beta, int channels, u32 pixels) {
  for (u32 i = global(); i < pixels * channels; i += grid()) {
    int c = i / pixels;
    u32 pixel = i % pixels;
    float sum = 0.0f;
    for (int j = most(0, c - after); j <= least(channels - 1, c + before); j++) {
      u64 at = (u64)j * pixels + pixel;
      sum += dy[at] * y[at] / d[at];
    }
    float factor = __nvvm_ex2_approx_f(-beta * __nvvm_lg2_approx_f(d[i]));
    dx[i] = dy[i] * factor - 2.0f * alpha * beta * x[i] * sum;
  }
}

// bias_gradient sums the gradients of a channel over some of its pixels, first to first +
// count of pixels: those of a shard's images. A block for each channel; each lane adds every
// 128th, and lanes are added in halves.
KERNEL bias_gradient(float *g, const float *dy, u32 pixels, u32 first, u32 count) {
  static SHARED float of[LANES];
  u32 t = thread();
  const float *from = dy + (u64)block() * pixels + first;
  float sum = 0.0f;
  for (u32 i = t; i < count; i += LANES) sum += from[i];
  of[t] = sum;
  __syncthreads();
  for (u32 half = LANES / 2; half > 0; half >>= 1) {
    if (t < half) of[t] += of[t + half];
    __syncthreads();
  }
  if (t == 0) g[block()] = of[0];
}
