// A stand-in for NVIDIA's driver, for tests of how it is loaded, called and of what
// becomes of its errors. It has memory, and copies and fills at once; kernels don't run.
//
//   FAKE_CUDA_DEVICES  how many there are (1)
//   FAKE_CUDA_VERSION  what the driver says it knows (12040)
//   FAKE_CUDA_MEMORY   bytes of a device (1 MiB)
//   FAKE_CUDA_FAIL     call:code, which fails with that code
//   FAKE_CUDA_LOG      a file to which every call is added, with its thread
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int result;
typedef uintptr_t handle;

static long setting(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

static result begin(const char *call) {
  const char *path = getenv("FAKE_CUDA_LOG");
  if (path) {
    FILE *log = fopen(path, "a");
    fprintf(log, "%s %ld\n", call, syscall(SYS_gettid));
    fclose(log);
  }
  const char *fail = getenv("FAKE_CUDA_FAIL");
  size_t n = strlen(call);
  if (fail && !strncmp(fail, call, n) && fail[n] == ':') return atoi(fail + n + 1);
  return 0;
}

#define BEGIN                       \
  do {                              \
    result r = begin(__func__);     \
    if (r) return r;                \
  } while (0)

static size_t used;
static handle next = 1;

result cuInit(unsigned flags) { BEGIN; return flags; }
result cuDriverGetVersion(int *v) { BEGIN; *v = setting("FAKE_CUDA_VERSION", 12040); return 0; }
result cuGetErrorName(int code, const char **name) {
  switch (code) {
  case 1: *name = "CUDA_ERROR_INVALID_VALUE"; return 0;
  case 2: *name = "CUDA_ERROR_OUT_OF_MEMORY"; return 0;
  case 100: *name = "CUDA_ERROR_NO_DEVICE"; return 0;
  case 218: *name = "CUDA_ERROR_INVALID_PTX"; return 0;
  case 700: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; return 0;
  case 803: *name = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"; return 0;
  }
  return 1;
}
result cuDeviceGetCount(int *n) { BEGIN; *n = setting("FAKE_CUDA_DEVICES", 1); return 0; }
result cuDeviceGet(int *d, int i) { BEGIN; *d = 40 + i; return 0; }
result cuDeviceGetName(char *name, int n, int d) { BEGIN; snprintf(name, n, "Imaginary GPU %d", d - 40); return 0; }
result cuDeviceGetAttribute(int *x, int a, int d) { BEGIN; (void)d; *x = a == 75 ? 9 : a == 16 ? 132 : 0; return 0; }
result cuDeviceTotalMem_v2(size_t *n, int d) { BEGIN; (void)d; *n = setting("FAKE_CUDA_MEMORY", 1 << 20); return 0; }
result cuDevicePrimaryCtxRetain(handle *c, int d) { BEGIN; *c = 1000 + d; return 0; }
result cuDevicePrimaryCtxRelease_v2(int d) { BEGIN; (void)d; return 0; }
static __thread handle current;
result cuCtxSetCurrent(handle c) { BEGIN; current = c; return 0; }
#define CONTEXT \
  do {          \
    if (!current) return 201; \
  } while (0)

result cuMemGetInfo_v2(size_t *free_, size_t *total) { BEGIN; CONTEXT; *total = setting("FAKE_CUDA_MEMORY", 1 << 20); *free_ = *total - used; return 0; }
result cuMemAlloc_v2(handle *p, size_t n) {
  BEGIN;
  CONTEXT;
  if (used + n > (size_t)setting("FAKE_CUDA_MEMORY", 1 << 20)) return 2;
  size_t *memory = malloc(n + 16);
  *memory = n;
  used += n;
  *p = (handle)(memory + 2);
  return 0;
}
result cuMemFree_v2(handle p) { BEGIN; CONTEXT; size_t *memory = (size_t *)p - 2; used -= *memory; free(memory); return 0; }
result cuMemHostAlloc(void **p, size_t n, unsigned flags) { BEGIN; CONTEXT; *p = malloc(n); return flags == 1 ? 0 : 1; }
result cuMemFreeHost(void *p) { BEGIN; CONTEXT; free(p); return 0; }
result cuMemcpyHtoDAsync_v2(handle to, const void *from, size_t n, handle s) { BEGIN; CONTEXT; memcpy((void *)to, from, n); return s ? 0 : 1; }
result cuMemcpyDtoHAsync_v2(void *to, handle from, size_t n, handle s) { BEGIN; CONTEXT; memcpy(to, (void *)from, n); return s ? 0 : 1; }
result cuMemcpyDtoDAsync_v2(handle to, handle from, size_t n, handle s) { BEGIN; CONTEXT; memcpy((void *)to, (void *)from, n); return s ? 0 : 1; }
result cuMemsetD32Async(handle to, unsigned x, size_t n, handle s) { BEGIN; CONTEXT; for (size_t i = 0; i < n; i++) ((unsigned *)to)[i] = x; return s ? 0 : 1; }
result cuStreamCreate(handle *s, unsigned flags) { BEGIN; CONTEXT; *s = 100 + next++; return flags == 1 ? 0 : 1; }
result cuStreamDestroy_v2(handle s) { BEGIN; CONTEXT; return s ? 0 : 1; }
result cuStreamSynchronize(handle s) { BEGIN; CONTEXT; return s ? 0 : 1; }
result cuStreamWaitEvent(handle s, handle e, unsigned flags) { BEGIN; CONTEXT; return s && e ? (result)flags : 1; }
static handle captured;
result cuStreamBeginCapture_v2(handle s, int mode) { BEGIN; CONTEXT; captured = s; return mode == 1 ? 0 : 1; }
result cuStreamEndCapture(handle s, handle *g) { BEGIN; CONTEXT; if (captured != s) return 1; captured = 0; *g = 300 + next++; return 0; }
result cuEventCreate(handle *e, unsigned flags) { BEGIN; CONTEXT; *e = 200 + next++; return flags == 2 ? 0 : 1; }
result cuEventDestroy_v2(handle e) { BEGIN; CONTEXT; return e ? 0 : 1; }
result cuEventRecord(handle e, handle s) { BEGIN; CONTEXT; return e && s ? 0 : 1; }
result cuEventSynchronize(handle e) { BEGIN; CONTEXT; return e ? 0 : 1; }
result cuModuleLoadDataEx(handle *m, const char *ptx, unsigned n, int *options, void **values) {
  BEGIN;
  CONTEXT;
  if (strncmp(ptx, ".version", 8) && !strstr(ptx, "\n.version")) {
    for (unsigned i = 0; i < n; i++)
      if (options[i] == 5) snprintf(values[i], 4096, "line 1: what is %.8s?", ptx);
    return 218;
  }
  *m = 400;
  return 0;
}
result cuModuleUnload(handle m) { BEGIN; CONTEXT; return m == 400 ? 0 : 1; }
result cuModuleGetFunction(handle *f, handle m, const char *name) { BEGIN; CONTEXT; *f = 500 + strlen(name); return m == 400 ? 0 : 1; }

// A launch is written to the log: the kernel, its grid, and four bytes of each argument.
result cuLaunchKernel(handle f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, handle s, void **args, void **extra) {
  BEGIN;
  CONTEXT;
  if (gy != 1 || gz != 1 || by != 1 || bz != 1 || shared || !s || extra) return 1;
  const char *path = getenv("FAKE_CUDA_LOG");
  if (path) {
    FILE *log = fopen(path, "a");
    fprintf(log, "kernel %lu grid %u block %u:", (unsigned long)f, gx, bx);
    for (int i = 0; args[i]; i++) fprintf(log, " %x", *(unsigned *)args[i]);
    fprintf(log, "\n");
    fclose(log);
  }
  return 0;
}
result cuGraphInstantiateWithFlags(handle *e, handle g, unsigned long long flags) { BEGIN; CONTEXT; *e = g + 1000; return flags ? 1 : 0; }
result cuGraphLaunch(handle e, handle s) { BEGIN; CONTEXT; return e > 1000 && s ? 0 : 1; }
result cuGraphExecDestroy(handle e) { BEGIN; CONTEXT; return e > 1000 ? 0 : 1; }
result cuGraphDestroy(handle g) { BEGIN; CONTEXT; return g ? 0 : 1; }
