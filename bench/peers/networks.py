"""The networks of docs/networks.md, stated a second time in PyTorch.

What this file computes is what Muster must compute: the golden data
(model/testdata/golden.py) and the peer training run (torch_train.py) both
build their networks here. A network is a list of layers, in forward order;
parameters carry the names Muster gives them (conv1.weight, fc6.bias).

Works with PyTorch 1.13 and later.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def rounded_up(size, kernel, stride, pad):
    """PaddlePaddle's pooling output: rounds up, truncates toward zero, at least 1."""
    return max(1, int((size - kernel + 2 * pad + stride - 1) / stride) + 1)


def same(size, kernel, stride):
    """TensorFlow's SAME: the padding before and after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def fan_in(gain):
    """Weights N(0, gain/fan_in)."""
    return lambda w: w.normal_(0, math.sqrt(gain / w[0].numel()))


def normal(sigma):
    """Weights N(0, sigma^2)."""
    return lambda w: w.normal_(0, sigma)


def truncated(sigma):
    """Weights N(0, sigma^2), drawn again beyond two sigma."""
    return lambda w: nn.init.trunc_normal_(w, 0, sigma, -2 * sigma, 2 * sigma)


class Conv(nn.Module):
    """A convolution with bias; pad is a number or "same". init and begin: its first weights and biases."""

    def __init__(self, inputs, outputs, kernel, stride=1, pad=0, groups=1, init=fan_in(2), begin=0.0):
        super().__init__()
        self.kernel, self.stride, self.pad, self.groups = kernel, stride, pad, groups
        self.init, self.begin = init, begin
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        if self.pad == "same":
            top, bottom = same(x.shape[2], self.kernel, self.stride)
            left, right = same(x.shape[3], self.kernel, self.stride)
            x = F.pad(x, (left, right, top, bottom))
            return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.pad, 1, self.groups)


class Dense(nn.Module):
    """A fully connected layer over all values of an image. init and begin as Conv's."""

    def __init__(self, inputs, outputs, init=fan_in(1), begin=0.0):
        super().__init__()
        self.init, self.begin = init, begin
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return F.linear(x.flatten(1), self.weight, self.bias)


class Pool(nn.Module):
    """Pooling whose windows are clipped to the image; up: the output rounds up."""

    def __init__(self, kernel, stride, kind="max", up=False, pad=0):
        super().__init__()
        self.kernel, self.stride, self.kind, self.up, self.pad = kernel, stride, kind, up, pad

    def forward(self, x):
        after = []
        for size in (x.shape[2], x.shape[3]):
            if self.up:
                out = rounded_up(size, self.kernel, self.stride, self.pad)
            else:
                out = (size - self.kernel + 2 * self.pad) // self.stride + 1
            after.append(max(0, (out - 1) * self.stride + self.kernel - size - self.pad))
        around = (self.pad, after[1], self.pad, after[0])
        if self.kind == "max":
            return F.max_pool2d(F.pad(x, around, value=-math.inf), self.kernel, self.stride)
        area = self.kernel * self.kernel
        inside = F.avg_pool2d(F.pad(torch.ones_like(x), around), self.kernel, self.stride) * area
        return F.avg_pool2d(F.pad(x, around), self.kernel, self.stride) * area / inside.round()


class LRN(nn.Module):
    """Across channels; divided: alpha is divided by size, as PaddlePaddle and PyTorch do."""

    def __init__(self, size, alpha, beta, k, divided):
        super().__init__()
        self.size, self.beta, self.k = size, beta, k
        self.alpha = alpha if divided else alpha * size

    def forward(self, x):
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)


class Dropout(nn.Module):
    """Dropout in the 2012 form (testing multiplies by 1-p) or inverted.

    mask(x) gives what is kept in training, of x's shape, 0 or 1.
    """

    def __init__(self, p=0.5, inverted=False):
        super().__init__()
        self.p, self.inverted = p, inverted
        self.mask = lambda x: (torch.rand_like(x) >= self.p).to(x.dtype)

    def forward(self, x):
        if self.training:
            x = x * self.mask(x)
            return x / (1 - self.p) if self.inverted else x
        return x if self.inverted else x * (1 - self.p)


class Activation(nn.Module):
    """relu, leaky-relu (slope 0.1) or softplus."""

    def __init__(self, kind):
        super().__init__()
        self.function = {
            "relu": F.relu,
            "leaky-relu": lambda x: F.leaky_relu(x, 0.1),
            "softplus": F.softplus,
        }[kind]

    def forward(self, x):
        return self.function(x)


class Network(nn.Sequential):
    """Layers in forward order, what goes in, and how it is trained.

    side: height and width of the input. mean, std: of pixel/255, by channel.
    recipe: what differs from the PaddlePaddle program's.
    """

    def __init__(self, layers, side=32, mean=(0, 0, 0), std=(1, 1, 1), **recipe):
        super().__init__()
        self.side, self.mean, self.std = side, mean, std
        self.recipe = dict(batch=128, lr=0.1, momentum=0.9, decay=2e-4, nesterov=False,
                           schedule="discexp:0.1,5000000", augment="none")
        self.recipe.update(recipe)
        for name, layer in layers:
            self.add_module(name, layer)

    def dropouts(self):
        """The dropout layers in order: Muster's dropout layers 0, 1, ..."""
        return [m for m in self if isinstance(m, Dropout)]

    def initialise(self):
        """Draws the first parameters."""
        with torch.no_grad():
            for m in self:
                if isinstance(m, (Conv, Dense)):
                    m.init(m.weight)
                    m.bias.fill_(m.begin)


def convolutions(act, rows):
    """conv1, act1, ..., from pairs of a Conv and what follows its activation."""
    layers = []
    for i, (conv, after) in enumerate(rows, 1):
        layers += [("conv%d" % i, conv), ("act%d" % i, Activation(act))]
        layers += [(name + str(i), layer) for name, layer in after]
    return layers


def head(layers, side, act, inverted, classes, width=4096, init=fan_in(1), begin=0.0):
    """The layers given, two hidden fully connected layers with dropout, and the output."""
    with torch.no_grad():
        values = Network(layers)(torch.zeros(1, 3, side, side)).numel()
    for name, inputs in (("6", values), ("7", width)):
        layers = layers + [
            ("fc" + name, Dense(inputs, width, init, begin)),
            ("act" + name, Activation(act)),
            ("drop" + name, Dropout(0.5, inverted)),
        ]
    return layers + [("fc8", Dense(width, classes, init))]


def alexnet(act="relu", inverted=False, classes=10, lrn=False):
    """The PaddlePaddle program's network on 32x32."""
    pool = [("pool", Pool(3, 2, up=True))]
    both = ([("lrn", LRN(5, 1e-4, 0.75, 1.0, True))] if lrn else []) + pool
    return Network(head(convolutions(act, [
        (Conv(3, 96, 11, 4, 1), both),
        (Conv(96, 256, 5, 1, 2), both),
        (Conv(256, 384, 3, 1, 1), []),
        (Conv(384, 384, 3, 1, 1), []),
        (Conv(384, 256, 3, 1, 1), pool),
    ]), 32, act, inverted, classes))


def alexnet_tf(act="relu", inverted=True, classes=10, side=224):
    """The TensorFlow program's network: SAME convolutions, LRN after the activation."""
    pool = [("pool", Pool(3, 2))]
    both = [("lrn", LRN(5, 1e-4, 0.75, 2.0, False))] + pool
    conv = lambda inputs, maps, kernel, stride=1: Conv(inputs, maps, kernel, stride, "same", init=truncated(0.1))
    return Network(head(convolutions(act, [
        (conv(3, 64, 11, 4), both),
        (conv(64, 192, 5), both),
        (conv(192, 384, 3), []),
        (conv(384, 256, 3), []),
        (conv(256, 256, 3), pool),
    ]), side, act, inverted, classes, init=truncated(0.005)), side, lr=0.01)


def alexnet_2012(act="relu", inverted=False, classes=1000, side=227, order="article"):
    """The two-GPU network; order: article (LRN after pooling) or paper (before)."""
    pool = [("pool", Pool(3, 2))]
    lrn = [("lrn", LRN(5, 1e-4, 0.75, 2.0, False))]
    both = lrn + pool if order == "paper" else pool + lrn
    conv = lambda *shape, begin: Conv(*shape, init=normal(0.01), begin=begin)
    return Network(head(convolutions(act, [
        (conv(3, 96, 11, 4, begin=0.0), both),
        (conv(96, 256, 5, 1, 2, 2, begin=1.0), both),
        (conv(256, 384, 3, 1, 1, begin=0.0), []),
        (conv(384, 384, 3, 1, 1, 2, begin=1.0), []),
        (conv(384, 256, 3, 1, 1, 2, begin=1.0), pool),
    ]), side, act, inverted, classes, init=normal(0.01), begin=1.0), side,
        mean=(0.4914, 0.4822, 0.4465), std=(1 / 255, 1 / 255, 1 / 255),
        lr=0.01, decay=5e-4, schedule="constant", augment="pad-crop,flip,colour-pca")


def alexnet_cifar(act="relu", inverted=True, classes=10, side=32):
    """AlexNet's topology fitted to 32x32."""
    pool = [("pool", Pool(3, 2, up=True))]
    return Network(head(convolutions(act, [
        (Conv(3, 64, 3, 1, 1), pool),
        (Conv(64, 192, 3, 1, 1), pool),
        (Conv(192, 384, 3, 1, 1), []),
        (Conv(384, 256, 3, 1, 1), []),
        (Conv(256, 256, 3, 1, 1), pool),
    ]), side, act, inverted, classes, width=1024), side,
        mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616),
        lr=0.05, decay=1e-3, nesterov=True, schedule="onecycle", augment="pad-crop,flip,cutout")


def lenet5(act="relu", classes=10):
    """LeNet-5 on colour images."""
    return Network([
        ("conv1", Conv(3, 6, 5)), ("act1", Activation(act)), ("pool1", Pool(2, 2)),
        ("conv2", Conv(6, 16, 5)), ("act2", Activation(act)), ("pool2", Pool(2, 2)),
        ("fc3", Dense(400, 120)), ("act3", Activation(act)),
        ("fc4", Dense(120, 84)), ("act4", Activation(act)),
        ("fc5", Dense(84, classes))], lr=0.01, decay=5e-4, schedule="constant")


def simple_cnn(act="relu", classes=10):
    """Two blocks of convolution and pooling, one fully connected layer."""
    return Network([
        ("conv1", Conv(3, 20, 5)), ("act1", Activation(act)), ("pool1", Pool(2, 2, up=True)),
        ("conv2", Conv(20, 50, 5)), ("act2", Activation(act)), ("pool2", Pool(2, 2, up=True)),
        ("fc3", Dense(1250, classes))], lr=0.01, decay=5e-4, schedule="constant")


NETWORKS = {
    "alexnet": alexnet,
    "alexnet-lrn": lambda **o: alexnet(lrn=True, **o),
    "alexnet-tf": alexnet_tf,
    "alexnet-2012": alexnet_2012,
    "alexnet-cifar": alexnet_cifar,
    "lenet5": lenet5,
    "simple-cnn": simple_cnn,
}


def rate(schedule, base, samples, total):
    """The learning rate after that many samples; total: samples of the whole job.

    constant, discexp:a,b, cosine[:total] or onecycle[:total[,peak[,divisor[,final]]]].
    """
    name, _, text = schedule.partition(":")
    arguments = [float(x) for x in text.split(",")] if text else []
    anneal = lambda start, end, x: end + (start - end) * (1 + math.cos(math.pi * x)) / 2
    if name == "constant" and not arguments:
        return base
    if name == "discexp" and len(arguments) == 2:
        return base * arguments[0] ** math.floor(samples / arguments[1])
    if name == "cosine" and len(arguments) <= 1:
        return anneal(base, 0, min(1, samples / (arguments or [total])[0]))
    if name == "onecycle" and len(arguments) <= 4:
        total, peak, divisor, final = arguments + [total, 0.3, 25, 1e4][len(arguments):]
        if samples < peak * total:
            return anneal(base / divisor, base, samples / (peak * total))
        return anneal(base, base / divisor / final, min(1, (samples - peak * total) / (total - peak * total)))
    raise ValueError("schedule %r: allowed are constant, discexp:a,b, cosine and onecycle" % schedule)


def momentum_step(parameters, velocities, lr, mu, decay, nesterov=False):
    """One step for every parameter w, whose gradient g is the mean over the batch.

    v = mu*v - lr*(g + decay*w); then w = w + v, or nesterov: w = w + mu*v - lr*(g + decay*w).
    """
    with torch.no_grad():
        for w, v in zip(parameters, velocities):
            d = w.grad.add(w, alpha=decay)
            v.mul_(mu).sub_(d, alpha=lr)
            if nesterov:
                w.add_(v, alpha=mu).sub_(d, alpha=lr)
            else:
                w.add_(v)
