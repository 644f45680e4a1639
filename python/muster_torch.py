"""Muster's networks in PyTorch: one file to copy, which needs torch alone.

    import muster_torch
    network = muster_torch.load("alexnet.safetensors")  # as muster export writes it
    logits = network(network.preprocess(images))  # images: uint8 (N, 3, 32, 32), RGB

The network is built from the topology within the file and computes what Muster
computes, in testing and in training. As a program it classifies pictures, for
which it needs Pillow:

    python3 muster_torch.py alexnet.safetensors cat.png dog.jpg

Shapes are outermost first: N batch, C channels, H height, W width, K outputs.
Works with Python 3.8 and PyTorch 1.13 and later.
"""
from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TOPOLOGY_VERSION = 1


class FormatError(ValueError):
    """A file, or the topology within it, is not what muster export writes."""


def pad(x: Tensor, around: Sequence[int], value: float = 0.0) -> Tensor:
    """Pads left, right, top and bottom by around; what is less than 0 crops."""
    return F.pad(x, around, value=value) if any(around) else x


class Conv(nn.Conv2d):
    """A convolution with padding around as pad takes it: (N, C, H, W) -> (N, K, OH, OW)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int,
                 around: Sequence[int]):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.around = list(around)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad(x, self.around))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, around={self.around}"


class Dense(nn.Linear):
    """Fully connected, over channels, rows and columns in that order: (N, ...) -> (N, K)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class Pool(nn.Module):
    """The largest value or the mean of each window: (N, C, H, W) -> (N, C, OH, OW).

    Windows are clipped to the image; what is around it does not count.
    """

    def __init__(self, kind: str, kernel: int, stride: int, around: Sequence[int]):
        super().__init__()
        if kind not in ("max", "average"):
            raise FormatError(f"pooling {kind} is unknown, max and average are known")
        self.kind, self.kernel, self.stride, self.around = kind, kernel, stride, list(around)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "max":
            return F.max_pool2d(pad(x, self.around, -math.inf), self.kernel, self.stride)
        return self.sums(x) / self.sums(torch.ones_like(x[:1, :1]))

    def sums(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(pad(x, self.around), self.kernel, self.stride, divisor_override=1)

    def extra_repr(self) -> str:
        return f"{self.kind}, kernel={self.kernel}, stride={self.stride}, around={self.around}"


class LRN(nn.Module):
    """y = x * (k + alpha * sum of x^2 over size channels)^-beta, x and y (N, C, H, W).

    Unlike torch.nn.LocalResponseNorm it does not divide alpha by size, and where
    size is even, the odd channel comes after the middle.
    """

    def __init__(self, size: int, k: float, alpha: float, beta: float):
        super().__init__()
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        squares = F.pad(x * x, [0, 0, 0, 0, (self.size - 1) // 2, self.size // 2])
        total = sum(squares[:, i:i + x.shape[1]] for i in range(self.size))
        return x * (self.k + self.alpha * total) ** -self.beta

    def extra_repr(self) -> str:
        return f"size={self.size}, k={self.k:g}, alpha={self.alpha:g}, beta={self.beta:g}"


class Dropout(nn.Module):
    """Zeroes values with probability p in training; x and y of any shape.

    In the form of 2012, what is kept stays as it is, and testing multiplies by 1 - p.
    Inverted, as in torch.nn.Dropout, what is kept is multiplied by 1 / (1 - p), and
    testing changes nothing.
    """

    def __init__(self, p: float, inverted: bool):
        super().__init__()
        self.p, self.inverted = p, inverted

    def forward(self, x: Tensor) -> Tensor:
        if self.inverted:
            return F.dropout(x, self.p, self.training)
        return x * (torch.rand_like(x) >= self.p) if self.training else x * (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p:g}, inverted={self.inverted}"


def make_layer(layer: dict[str, Any], before: list[int], after: list[int]) -> nn.Module:
    """The module of a topology's layer, between shapes before and after, both (C, H, W)."""
    # The topology is protobuf's JSON, which leaves out what is 0 or false.

    def around(window: dict[str, Any]) -> list[int]:
        top, left = window.get("pad_top", 0), window.get("pad_left", 0)
        height, width = ((n - 1) * window["stride"] + window["kernel"] for n in after[1:])
        return [left, width - left - before[2], top, height - top - before[1]]

    if "conv" in layer:
        c = layer["conv"]
        return Conv(before[0], after[0], c["kernel"], c["stride"], c["groups"], around(c))
    if "dense" in layer:
        return Dense(math.prod(before), after[0])
    if "pool" in layer:
        p = layer["pool"]
        return Pool(p["kind"], p["kernel"], p["stride"], around(p))
    if "lrn" in layer:
        n = layer["lrn"]
        return LRN(n["size"], n.get("k", 0), n.get("alpha", 0), n.get("beta", 0))
    if "dropout" in layer:
        return Dropout(layer["dropout"].get("p", 0), layer["dropout"].get("inverted", False))
    kind, slope = layer["activation"]["kind"], layer["activation"].get("slope", 0)
    return {"relu": nn.ReLU(), "leaky-relu": nn.LeakyReLU(slope), "softplus": nn.Softplus()}[kind]


def shape_of(shape: dict[str, int]) -> list[int]:
    """A topology's shape as (C, H, W)."""
    return [shape["channels"], shape["height"], shape["width"]]


class Network(nn.Module):
    """The network of a topology: its layers as modules, by their names, in forward order.

    A new one has random parameters of PyTorch's choice; load gives trained ones.

    topology: what the network is; metadata: what its file says of it; classes: names of
    its outputs; side: height and width of the images that preprocess takes, in pixels;
    input: shape (C, H, W) of what forward takes of each.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, topology: dict[str, Any], metadata: dict[str, str] | None = None):
        super().__init__()
        self.topology, self.metadata = topology, metadata or {}
        try:
            if topology["version"] != TOPOLOGY_VERSION:
                raise FormatError(f"topology version {topology['version']} is not known")
            self.classes, self.input = topology["classes"], shape_of(topology["input"])
            self.side = topology["preprocessing"]["image_side"]
            for name in ("mean", "deviation"):
                value = torch.tensor(topology["preprocessing"][name], dtype=torch.float32)
                self.register_buffer(name, value.view(3, 1, 1), persistent=False)
            shape = self.input
            for layer in topology["layers"]:
                before, shape = shape, shape_of(layer["output"])
                self.add_module(layer["name"], make_layer(layer, before, shape))
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise FormatError(f"its topology is not understood: {error!r}") from error

    def preprocess(self, images: Tensor) -> Tensor:
        """What forward takes. images: uint8 (N, 3, side, side), RGB -> float (N, *input)."""
        want = [3, self.side, self.side]
        if images.dtype != torch.uint8 or list(images.shape[1:]) != want:
            raise ValueError(f"images are {images.dtype} {list(images.shape)}, "
                             f"want torch.uint8 (N, *{want})")
        x = (images.to(self.mean) / 255 - self.mean) / self.deviation
        if want == self.input:
            return x
        return F.interpolate(x, self.input[1:], mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits; softmax makes probabilities of them. x (N, *input) -> (N, classes)."""
        if list(x.shape[1:]) != self.input:
            raise ValueError(f"the input is {list(x.shape)}, want (N, *{self.input})")
        for layer in self.children():
            x = layer(x)
        return x.flatten(1)


def load(path: str) -> Network:
    """The network in a file of muster export --format safetensors, in evaluation mode."""
    try:
        metadata, tensors = read_safetensors(path)
        if "topology" not in metadata:
            raise FormatError("it holds no topology; muster export writes one into its files")
        network = Network(json.loads(metadata["topology"]), metadata)
        wanted = network.state_dict()
        for name, want in wanted.items():
            if name not in tensors:
                raise FormatError(f"tensor {name} is missing")
            if tensors[name].shape != want.shape:
                raise FormatError(f"tensor {name} has shape {list(tensors[name].shape)}, "
                                  f"its layer needs {list(want.shape)}")
        if extra := tensors.keys() - wanted.keys():
            raise FormatError(f"tensor {min(extra)} belongs to no layer")
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    network.load_state_dict(tensors, strict=True)
    return network.eval()


def read_safetensors(path: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and float32 tensors of a safetensors file, little-endian throughout:
    8 bytes, the header's length; the header, JSON; values, at offsets from its end."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    start, tensors = 8 + int.from_bytes(data[:8], "little"), {}
    try:
        if (size := len(data) - start) < 0:
            raise FormatError(f"a header of {start - 8} bytes in a file of {len(data)}")
        header = json.loads(data[8:start])
        metadata = header.pop("__metadata__", None) or {}
        for name, entry in header.items():
            (begin, end), shape = entry["data_offsets"], entry["shape"]
            n = math.prod(shape)
            if entry["dtype"] != "F32" or end - begin != 4 * n or not 0 <= begin <= end <= size:
                raise FormatError(f"tensor {name} is not float32 or not whole: {entry}")
            values = torch.frombuffer(data, dtype=torch.float32, count=n, offset=start + begin)
            tensors[name] = values.view(shape)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise FormatError(f"not a whole safetensors file: {error}") from error
    return metadata, tensors


def read_picture(path: str, side: int) -> Tensor:
    """A picture's central square, scaled, on white: uint8 (3, side, side). Needs Pillow."""
    from PIL import Image, ImageOps
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
    except Image.DecompressionBombError as error:
        raise OSError(f"{path}: {error}") from error
    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8
        picture = picture.point(lambda v: v / 256).convert("L")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("RGB")
    square = ImageOps.fit(picture, (side, side))  # bicubic; what has that size stays as it is
    values = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return values.view(side, side, 3).permute(2, 0, 1)


def classify(network: Network, path: str) -> list[dict[str, Any]]:
    """The five likeliest classes of a picture, the likeliest first."""
    with torch.no_grad():
        logits = network(network.preprocess(read_picture(path, network.side)[None]))[0]
    chances = logits.softmax(0)
    return [{"class": network.classes[i], "index": i, "probability": float(chances[i]),
             "logit": float(logits[i])} for i in logits.argsort(descending=True)[:5].tolist()]


def main() -> None:
    """Runs the command line; exit status 1 follows an error."""
    parser = argparse.ArgumentParser(description="Classify pictures by a network of Muster's.")
    parser.add_argument("file", help="what muster export wrote: a .safetensors file")
    parser.add_argument("pictures", nargs="*", help="pictures (without any: show the network)")
    parser.add_argument("--json", action="store_true", help="print lines of JSON")
    args = parser.parse_intermixed_args()
    try:
        network = load(args.file)
        if not args.pictures:
            about: dict[str, Any] = {**network.metadata, "topology": network.topology}
            print(json.dumps(about) if args.json else network)
        for path in args.pictures:
            predictions = classify(network, path)
            lines = [f"  {p['class']:<12} {100 * p['probability']:5.1f} %" for p in predictions]
            about = {"file": path, "predictions": predictions}
            print(json.dumps(about) if args.json else "\n".join([path, *lines]))
    except ImportError as error:
        sys.exit(f"muster_torch: Pillow, which reads pictures, is not installed: {error}")
    except (FormatError, OSError) as error:
        sys.exit(f"muster_torch: {error}")


if __name__ == "__main__":
    main()
