"""Numbers that this script and the Go tests both make, so that they need not be stored."""
import numpy as np

MASK = np.uint64(0xFFFFFFFF)


def words(stream, n):
    """n 32-bit words of a stream: a mix of (stream, place), each a function of its place alone."""
    x = (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B1) + np.uint64(stream) * np.uint64(0x85EBCA77)) & MASK
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint64(shift)
        x = x * np.uint64(factor) & MASK
    return (x ^ x >> np.uint64(16)).astype(np.uint32)


def uniform(stream, shape, scale=1.0):
    """float32 in [-scale, scale): multiples of 2^-23, times scale in float32."""
    w = (words(stream, int(np.prod(shape))) >> np.uint32(8)).astype(np.int64) - (1 << 23)
    return (w.astype(np.float32) * np.float32(2.0 ** -23) * np.float32(scale)).reshape(shape)


def pixels(stream, shape):
    """float32 in [0, 1)."""
    return ((words(stream, int(np.prod(shape))) >> np.uint32(8)).astype(np.float32) * np.float32(2.0 ** -24)).reshape(shape)


def numbers(stream, n, below):
    """n whole numbers in [0, below)."""
    return [int(w) % below for w in words(stream, n)]


def philox(key, counter):
    """Philox4x32-10: counter (4, n) as uint64 under a key of two words; the result is (4, n)."""
    k0, k1 = key
    c0, c1, c2, c3 = (c.astype(np.uint64) for c in counter)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0), p1 & MASK, (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1), p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


def check_philox():
    """The known answers of the reference implementation."""
    one = np.ones(1, dtype=np.uint64)
    got = philox((0xA4093822, 0x299F31D0), [one * np.uint64(c) for c in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)])
    want = [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    if [int(w) for w in got[:, 0]] != want:
        raise AssertionError("philox: %s, want %s" % (got, want))


DROPOUT = 3 << 16


def keep(n, p, seed, layer, step, index):
    """What device.Mask keeps of the first n values of one image, as booleans."""
    blocks = (n + 7) // 8
    counter = [np.arange(blocks)] + [np.full(blocks, c) for c in (DROPOUT + layer, step, index)]
    w = philox((seed & 0xFFFFFFFF, seed >> 32), [c.astype(np.uint64) for c in counter]).T.reshape(-1)
    halves = np.stack([w & np.uint64(0xFFFF), w >> np.uint64(16)], 1).reshape(-1)[:n]
    return halves >= np.uint64(int(np.float64(np.float32(p)) * 65536 + 0.5))


def written(a):
    """Values for JSON: float32 by the fewest digits that give them back, float64 by nine."""
    a = np.asarray(a)
    if a.dtype == np.float32:
        return [float(str(v)) for v in a.reshape(-1)]
    return [float("%.9g" % v) for v in a.reshape(-1)]
