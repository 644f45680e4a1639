"""Golden data of whole networks: one step's loss and gradients, and the parameters after ten.

The step is PaddlePaddle's momentum on the mean gradient of one fixed batch:
v = mu*v - lr*(g + decay*w), w = w + v; only dropout's masks change from step
to step. Of each tensor the file holds L2 norm, sum and some sampled values.
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

import golden_values as values
import networks

STEPS = 10
SHARDS = 4  # at most
SAMPLES = 100  # values of a tensor at most

# What a value may be off after ten steps, as a part of its tensor's mean way.
# Any two programs round differently, so now and then a value next to 0, or two
# next to each other in a pooling window, change sides between them. Then one
# unit's gradient is lost or gained, and all layers below are off by about a
# thousandth of theirs. Networks of few units do ten steps without that. In those
# of many it happens; their rate is so low that what one step leaves behind does
# not turn over more units in the next. The same layers on a smaller image, with
# fewer units, are held to the narrow bound, or to one between where a single
# unit changes sides. No first step has such a unit.
FEW, SOME, MANY = 1e-3, 1e-2, 5e-2

# name, options as model.Options has them, images, learning rate, weight decay, part of the way
NETWORKS = [
    ("lenet5", {}, 8, 0.01, 5e-4, FEW),
    ("lenet5", {"activation": "softplus"}, 8, 0.01, 5e-4, FEW),
    ("lenet5", {"activation": "leaky-relu"}, 8, 0.01, 5e-4, FEW),
    ("simple-cnn", {}, 8, 0.01, 5e-4, FEW),
    ("alexnet", {}, 8, 0.01, 2e-4, FEW),
    ("alexnet-lrn", {}, 8, 0.01, 2e-4, FEW),
    ("alexnet-tf", {"inputSize": 64}, 8, 0.01, 2e-4, FEW),
    ("alexnet-2012", {}, 2, 3e-5, 5e-4, MANY),
    ("alexnet-2012", {"lrnOrder": "paper", "inputSize": 67, "classes": 10}, 8, 0.01, 5e-4, FEW),
    ("alexnet-cifar", {}, 8, 3e-5, 5e-4, MANY),
    ("alexnet-cifar", {"inputSize": 8}, 8, 0.005, 5e-4, FEW),
]


def build(name, options):
    """The PyTorch network of a name and model.Options."""
    words = {"activation": "act", "inputSize": "side", "lrnOrder": "order", "classes": "classes"}
    return networks.NETWORKS[name](**{words[k]: v for k, v in options.items()})


def calibrate(net, x, stream):
    """Fills the parameters so that each layer's outputs vary by about 1; returns each tensor's scale."""
    scales = []
    for module in net:
        if isinstance(module, (networks.Conv, networks.Dense)):
            u = values.uniform(stream + len(scales), tuple(module.weight.shape))
            module.weight.data = torch.from_numpy(u).to(x.dtype)
            scale = np.float32("%.3g" % (1 / module(x).std().item()))
            scales += [scale, np.float32(0.1)]
            module.weight.data = torch.from_numpy(u * scale).to(x.dtype)
            b = values.uniform(stream + len(scales) - 1, tuple(module.bias.shape), scales[-1])
            module.bias.data = torch.from_numpy(b).to(x.dtype)
        x = module(x)
    return scales


def places(gradient, stream):
    """Which values of a tensor are written: two thirds of all places, a third where the gradient isn't 0."""
    n = len(gradient)
    if n <= SAMPLES:
        return list(range(n))
    chosen = values.numbers(stream, SAMPLES * 2 // 3, n)
    moving = np.flatnonzero(gradient)
    chosen += [int(moving[i]) for i in values.numbers(stream + 500, SAMPLES - len(chosen), len(moving))]
    return sorted(set(chosen))


def summary(tensor, where):
    flat = tensor.detach().double().numpy().reshape(-1)
    norm, total = values.written(np.array([np.sqrt(np.dot(flat, flat)), flat.sum()]))
    return dict(norm=norm, sum=total, values=values.written(flat[where]))


def train(net, x, labels, rate, decay, before=None):
    """Ten steps; returns their mean losses. before(step, net) is called between the gradient and its update."""
    rate, mu, decay = (float(np.float32(v)) for v in (rate, 0.9, decay))
    parameters = list(net.parameters())
    velocities = [torch.zeros_like(w) for w in parameters]
    losses = []
    for step in range(STEPS):
        net.step = step
        for w in parameters:
            w.grad = None
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        losses.append(loss.item())
        if before:
            before(step, net)
        networks.momentum_step(parameters, velocities, rate, mu, decay)
    return losses


def case(number, seed, name, options, images, rate, decay, part):
    """One row of NETWORKS as a dictionary for JSON."""
    stream = 1000 * (number + 1)
    net = build(name, options).double()
    classes = list(net.parameters())[-1].numel()
    shape = (3, net.side, net.side)
    x = torch.from_numpy(values.pixels(stream + 900, (images,) + shape)).double()
    labels = values.numbers(stream + 901, images, classes)
    index = [7 + 6007 * i for i in range(images)]
    net.step = 0
    for layer, drop in enumerate(net.dropouts()):
        drop.mask = lambda x, layer=layer, drop=drop: torch.from_numpy(np.stack(
            [values.keep(x[0].numel(), drop.p, seed, layer, net.step, i) for i in index])).to(x.dtype).view(x.shape)
    with torch.no_grad():
        scales = calibrate(net, x, stream)
    first = {k: w.detach().clone() for k, w in net.named_parameters()}
    target = torch.tensor(labels)
    net.eval()
    with torch.no_grad():
        test = F.cross_entropy(net(x), target).item()
    net.train()

    tensors = []

    def note(step, net):
        if step:
            return
        for i, (key, w) in enumerate(net.named_parameters()):
            where = places(w.grad.numpy().reshape(-1), stream + 100 + i)
            tensors.append(dict(name=key, shape=list(w.shape), scale=values.written(scales[i])[0], places=where,
                                gradient=summary(w.grad * images, where)))

    losses = train(net, x, target, rate, decay, note)
    for tensor, (key, w) in zip(tensors, net.named_parameters()):
        tensor["after"] = summary(w, tensor["places"])
        tensor["moved"] = values.written((w.detach() - first[key]).norm().numpy())[0]
    report(name, net, first, x, target, rate, decay, losses)
    return dict(name=name, options=options, input=list(shape), classes=classes, images=images, shards=min(SHARDS, images),
                labels=labels, index=index, stream=stream, rate=rate, momentum=0.9, decay=decay, ofWay=part,
                testLoss=values.written(np.array(test))[0], losses=values.written(np.array(losses)), tensors=tensors)


def report(name, net, first, x, target, rate, decay, losses):
    """Prints how far PyTorch's own float32 comes from its float64 in ten steps.

    Of each tensor the distance counts as a part of the way gone plus a
    thousandth of the values, whose rounding takes its share of short ways.
    """
    exact = {k: w.detach().clone() for k, w in net.named_parameters()}
    net.float()
    for k, w in net.named_parameters():
        w.data = first[k].float()
    train(net, x.float(), target, rate, decay)
    off = {k: ((w.detach().double() - exact[k]).norm() / ((exact[k] - first[k]).norm() + 1e-3 * exact[k].norm())).item()
           for k, w in net.named_parameters()}
    worst = max(off, key=off.get)
    print("%-13s losses %s; float32 is off by %.1e, most in %s" % (name, " ".join("%.3f" % v for v in losses), off[worst], worst),
          file=sys.stderr, flush=True)


def cases(seed):
    """All cases of networks.json, one at a time."""
    for i, row in enumerate(NETWORKS):
        yield case(i, seed, *row)
