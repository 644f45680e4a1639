"""Writes golden.json and python/*: what PyTorch and numpy make of known images.

golden.json: samples of torch.nn.functional.interpolate(mode="bilinear",
align_corners=False) of a 3x32x32 image whose value i is (i * 7919 % 251) / 255.
python/protocolN: a batch of two images, pixel i of image n being
(i * 31 + n * 101) % 256, pickled with protocol N by Python 3 and numpy.

Run in this folder: python3 golden.py
"""
import json
import pickle

import numpy
import torch

image = (torch.arange(3072) * 7919 % 251).float().div(255).reshape(1, 3, 32, 32)
resize = []
for side in (33, 48, 64, 97, 224):
    out = torch.nn.functional.interpolate(image, size=(side, side), mode="bilinear", align_corners=False).flatten()
    at = sorted({0, side - 1, side * side - 1, 3 * side * side - 1, *((k * 104729) % len(out) for k in range(60))})
    resize.append({"side": side, "at": at, "value": [float(out[i]) for i in at]})
with open("golden.json", "w") as f:
    json.dump({"torch": torch.__version__, "numpy": numpy.__version__, "resize": resize}, f)
    f.write("\n")

data = numpy.array([[(i * 31 + n * 101) % 256 for i in range(3072)] for n in range(2)], dtype=numpy.uint8)
batch = {"batch_label": "training batch 1 of 5", "labels": [6, 9], "data": data, "filenames": ["a.png", "b.png"]}
for protocol in (2, 3, 4, 5):
    with open(f"python/protocol{protocol}", "wb") as f:
        pickle.dump(batch, f, protocol)
# As a program that read Python 2's strings as bytes writes it back.
with open("python/byteskeys", "wb") as f:
    pickle.dump({k.encode(): v.encode() if isinstance(v, str) else v for k, v in batch.items()}, f, 2)
