"""Trains a network on CIFAR-10 with PyTorch, by the recipe Muster uses.

    python3 torch_train.py --network alexnet --data DIR --epochs 3 --threads 1

DIR holds the binary version: data_batch_1.bin ... test_batch.bin. One JSON
line an epoch goes to stdout: mean training loss (in training form, while the
parameters move), test loss and accuracy, seconds of training and of testing.
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import networks

RECORD = 1 + 3 * 32 * 32


def read(folder, names):
    """The images (N, 3, 32, 32) as bytes and the labels (N) of some batch files."""
    records = np.concatenate([
        np.fromfile(os.path.join(folder, name), dtype=np.uint8).reshape(-1, RECORD) for name in names])
    return torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(records[:, 0].astype(np.int64))


def prepare(net, pixels, changes=()):
    """Bytes to network input: pixel/255, minus mean, over deviation, cutout, resized where the network is larger."""
    x = pixels.float() / 255
    x = (x - torch.tensor(net.mean).float().view(1, 3, 1, 1)) / torch.tensor(net.std).float().view(1, 3, 1, 1)
    if "cutout" in changes:
        x = cutout(x)
    if net.side != x.shape[2]:
        x = F.interpolate(x, size=(net.side, net.side), mode="bilinear", align_corners=False)
    return x


def augment(pixels, changes):
    """pad-crop: one of the 81 windows of an image with 4 black pixels around it; flip: mirrors every other image."""
    n = len(pixels)
    if "pad-crop" in changes:
        padded = F.pad(pixels, (4, 4, 4, 4))
        down, right = torch.randint(9, (2, n, 1)) + torch.arange(32)
        pixels = padded[torch.arange(n).view(n, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1),
                        down.view(n, 1, 32, 1), right.view(n, 1, 1, 32)]
    if "flip" in changes:
        pixels = torch.where(torch.rand(n, 1, 1, 1) < 0.5, pixels.flip(3), pixels)
    return pixels


def cutout(x):
    """Sets a square of 8 x 8 to 0 whose centre is anywhere on the image."""
    at = torch.arange(32)
    rows, columns = ((at >= c - 4) & (at < c + 4) for c in torch.randint(32, (2, len(x), 1)))
    return x.masked_fill(rows.view(-1, 1, 32, 1) & columns.view(-1, 1, 1, 32), 0)


def test(net, pixels, labels, batch):
    """Mean cross-entropy and accuracy in testing form."""
    net.eval()
    loss = right = 0
    with torch.no_grad():
        for i in range(0, len(labels), batch):
            y = net(prepare(net, pixels[i:i + batch]))
            loss += F.cross_entropy(y, labels[i:i + batch], reduction="sum").item()
            right += (y.argmax(1) == labels[i:i + batch]).sum().item()
    return loss / len(labels), right / len(labels)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", default="alexnet", choices=sorted(networks.NETWORKS))
    p.add_argument("--data", required=True, help="folder of the binary CIFAR-10 batches")
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--activation", default="relu", choices=["relu", "leaky-relu", "softplus"])
    p.add_argument("--dropout", default="", choices=["2012", "inverted"], help="default: the network's form")
    p.add_argument("--batch", type=int, help="default: the recipe's, as for the next six")
    p.add_argument("--lr", type=float)
    p.add_argument("--momentum", type=float)
    p.add_argument("--decay", type=float)
    p.add_argument("--nesterov", type=int, choices=[0, 1])
    p.add_argument("--schedule", help="constant, discexp:a,b, cosine or onecycle")
    p.add_argument("--augment", help="none, or a list of pad-crop, flip, cutout")
    p.add_argument("--limit-batches", type=int, default=0, help="batches an epoch at most; 0: all")
    o = p.parse_args()

    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    shape = dict(classes=10) if o.network == "alexnet-2012" else {}
    net = networks.NETWORKS[o.network](act=o.activation, **shape)
    for d in net.dropouts():
        d.inverted = {"2012": False, "inverted": True}.get(o.dropout, d.inverted)
    net.initialise()
    recipe = dict(net.recipe)
    recipe.update({k: getattr(o, k) for k in recipe if getattr(o, k) is not None})

    changes = [] if recipe["augment"] == "none" else recipe["augment"].split(",")
    unknown = set(changes) - {"pad-crop", "flip", "cutout"}
    if unknown:
        sys.exit("augment %s: pad-crop, flip and cutout are known; choose with --augment" % ",".join(sorted(unknown)))

    pixels, labels = read(o.data, ["data_batch_%d.bin" % i for i in range(1, 6)])
    test_pixels, test_labels = read(o.data, ["test_batch.bin"])
    parameters = list(net.parameters())
    velocities = [torch.zeros_like(w) for w in parameters]
    batch = recipe["batch"]
    print(json.dumps(dict(
        network=o.network, torch=torch.__version__, threads=o.threads, seed=o.seed, activation=o.activation,
        parameters=sum(w.numel() for w in parameters),
        dropout=(["inverted" if d.inverted else "2012" for d in net.dropouts()] or ["none"])[0],
        images=len(labels), **recipe)), flush=True)

    steps = min(-(-len(labels) // batch), o.limit_batches or len(labels))
    job = o.epochs * min(steps * batch, len(labels))  # samples of all epochs
    samples = 0
    for epoch in range(1, o.epochs + 1):
        net.train()
        start, total, seen = time.time(), 0.0, 0
        order = torch.randperm(len(labels))
        if o.limit_batches:
            order = order[:steps * batch]
        for i in range(0, len(order), batch):
            take = order[i:i + batch]
            for w in parameters:
                w.grad = None
            loss = F.cross_entropy(net(prepare(net, augment(pixels[take], changes), changes)), labels[take])
            loss.backward()
            lr = networks.rate(recipe["schedule"], recipe["lr"], samples, job)
            networks.momentum_step(parameters, velocities, lr, recipe["momentum"], recipe["decay"], recipe["nesterov"])
            samples += len(take)
            seen += len(take)
            total += loss.item() * len(take)
        trained = time.time()
        test_loss, accuracy = test(net, test_pixels, test_labels, batch)
        print(json.dumps(dict(
            epoch=epoch, train_loss=round(total / seen, 5), test_loss=round(test_loss, 5), test_accuracy=accuracy,
            train_seconds=round(trained - start, 2), test_seconds=round(time.time() - trained, 2))), flush=True)
        if not np.isfinite(total):
            sys.exit("epoch %d: the loss is not finite" % epoch)


if __name__ == "__main__":
    main()
