"""Draws test accuracy by epoch from results of `muster train --json` and torch_train.py.

    python3 bench/peers/plot_curves.py OUT.png TITLE NAME=FILE[,FILE...]...

Of several files, as of several seeds, it draws the mean, as far as all of them
go, in a band from the lowest to the highest. Needs matplotlib.
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
    blues = iter(["#1f5fa8", "#1b8a8f", "#6b4fa0", "#2f3b52"])
    for n in named:
        name, paths = n.split("=", 1)
        epochs = list(zip(*(curve(path) for path in paths.split(","))))
        style = dict(color=next(blues), linewidth=2) if name.startswith("Muster") else dict(color="#c8641e", linewidth=1.4, linestyle="--")
        if "," not in paths and len(epochs) > 20:
            style.update(linewidth=1, alpha=0.7)
        at = range(1, len(epochs) + 1)
        axes.plot(at, [sum(e) / len(e) for e in epochs], marker="o" if len(epochs) <= 20 else None, markersize=4, label=name, **style)
        if "," in paths:
            axes.fill_between(at, [min(e) for e in epochs], [max(e) for e in epochs], color=style["color"], alpha=0.15, linewidth=0)
    axes.set(title=title, xlabel="epoch", ylabel="test accuracy, %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
