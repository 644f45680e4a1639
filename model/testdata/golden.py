"""Writes the golden data of the Go tests in package model: layers.json, networks.json.

    python3 golden.py [layers] [networks]

Everything is computed by PyTorch in float64 from parameters and images that
are float32 numbers, so that a test compares Muster's rounding with the truth
and not with another program's rounding. Initial parameters, images and labels
come from golden_values.py and from the same few lines in golden_test.go;
dropout's masks are those of device.Mask. The networks are those of
bench/peers/networks.py. Needs PyTorch 1.13 or later and numpy; takes
about two minutes and 4 GB on one core.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench", "peers"))
sys.dont_write_bytecode = True

import numpy as np  # noqa: E402
import torch  # noqa: E402

import golden_layers  # noqa: E402
import golden_networks  # noqa: E402
import golden_values  # noqa: E402

SEED = 0x5EED00000001


def write(name, cases):
    header = dict(torch=torch.__version__, numpy=np.__version__, seed=SEED)
    lines = [json.dumps(c, separators=(",", ":")) for c in cases]
    with open(os.path.join(HERE, name), "w") as f:
        f.write('{"header": %s,\n"cases": [\n' % json.dumps(header))
        f.write(",\n".join(lines))
        f.write("\n]}\n")


def main():
    torch.set_num_threads(1)
    golden_values.check_philox()
    wanted = sys.argv[1:] or ["layers", "networks"]
    if "layers" in wanted:
        write("layers.json", golden_layers.cases(SEED))
    if "networks" in wanted:
        write("networks.json", golden_networks.cases(SEED))


if __name__ == "__main__":
    main()
