"""Draws test accuracy by epoch from results of `muster train --json` and torch_train.py.

    python3 bench/peers/plot_curves.py OUT.png TITLE NAME=FILE...

Needs matplotlib.
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def curve(path):
    """Test accuracies in percent, epoch by epoch."""
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    if "epochs" in lines[0]:  # muster's: one line for the run
        return [100 * e["top1"] for e in lines[0]["epochs"]]
    return [100 * e["test_accuracy"] for e in lines if "test_accuracy" in e]


def main():
    out, title, *named = sys.argv[1:]
    figure, axes = plt.subplots(figsize=(7, 4))
    for n in named:
        name, path = n.split("=", 1)
        accuracies = curve(path)
        style = dict(color="#1f5fa8", linewidth=2.5) if name.startswith("Muster") else dict(linewidth=1.2, linestyle="--")
        axes.plot(range(1, len(accuracies) + 1), accuracies, marker="o", label=name, **style)
    axes.set(title=title, xlabel="epoch", ylabel="test accuracy, %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
