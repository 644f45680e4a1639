"""Golden data of single layers.

Each case is images x -> the layer -> a fully connected head -> softmax and
cross-entropy, the gradients those of the sum over images. The head lets a
device be tested through its one door, Plan.Gradient.
"""
import numpy as np
import torch
import torch.nn.functional as F

import golden_values as values
import networks

STEP = 5
INDEX = [3, 70001]  # numbers of the two images: keys of dropout
CLASSES = 4


def conv(maps, kernel, stride=1, pad=0, groups=1, rounding="down"):
    """A convolution; rounding "same" is TensorFlow's SAME."""
    spec = dict(kind="conv", maps=maps, kernel=kernel, stride=stride, pad=pad, groups=groups, rounding=rounding)
    return spec, lambda c: networks.Conv(c, maps, kernel, stride, "same" if rounding == "same" else pad, groups)


def pool(kind, kernel, stride, rounding, pad=0):
    spec = dict(kind=kind + "-pool", kernel=kernel, stride=stride, pad=pad, rounding=rounding)
    return spec, lambda c: networks.Pool(kernel, stride, kind, rounding == "up", pad)


def lrn(size, alpha, beta, k, divided):
    spec = dict(kind="lrn", size=size, alpha=alpha, beta=beta, k=k, divided=divided)
    return spec, lambda c: networks.LRN(size, alpha, beta, k, divided)


def dense(outputs, inputs):
    return dict(kind="dense", maps=outputs), lambda c: networks.Dense(inputs, outputs)


def dropout(p, inverted, layer):
    return dict(kind="dropout", p=p, inverted=inverted, layer=layer), lambda c: networks.Dropout(p, inverted)


def activation(function):
    return dict(kind="activation", function=function), lambda c: networks.Activation(function)


# name, input (C, H, W), scale of x, spacing of x (0: none; else x is a multiple of it, so that values tie), layer
LAYERS = [
    ("convolution 3x3 pad 1", (3, 5, 5), 1, 0, conv(4, 3, pad=1)),
    ("convolution 3x3 on one pixel", (6, 1, 1), 1, 0, conv(5, 3, pad=1)),
    ("convolution 5x5 pad 2 on 3x3", (4, 3, 3), 1, 0, conv(5, 5, pad=2)),
    ("convolution 5x5 without padding", (2, 7, 7), 1, 0, conv(3, 5)),
    ("convolution stride 4 pad 1", (3, 13, 13), 1, 0, conv(4, 5, 4, 1)),
    ("convolution stride beyond kernel", (2, 8, 8), 1, 0, conv(3, 2, 3)),
    ("convolution groups 2", (4, 5, 5), 1, 0, conv(6, 3, pad=1, groups=2)),
    ("convolution groups 4 stride 2", (8, 6, 6), 1, 0, conv(4, 3, 2, 1, 4)),
    ("convolution SAME even", (3, 6, 6), 1, 0, conv(4, 3, 2, rounding="same")),
    ("convolution SAME asymmetrical", (2, 8, 8), 1, 0, conv(3, 11, 4, rounding="same")),
    ("convolution of 35 maps", (33, 3, 3), 1, 0, conv(35, 3, pad=1)),
    ("convolution not square", (3, 4, 6), 1, 0, conv(4, 3, 1, 1)),
    ("fully connected", (4, 3, 3), 1, 0, dense(7, 36)),
    ("fully connected on one pixel", (37, 1, 1), 1, 0, dense(19, 37)),
    ("max 3/2 up", (3, 6, 6), 1, 0, pool("max", 3, 2, "up")),
    ("max 3/2 down", (3, 6, 6), 1, 0, pool("max", 3, 2, "down")),
    ("max 3/2 up on one pixel", (5, 1, 1), 1, 0, pool("max", 3, 2, "up")),
    ("max 3/2 up on 2x2", (5, 2, 2), 1, 0, pool("max", 3, 2, "up")),
    ("max 2/2 down on 7x7", (2, 7, 7), 1, 0, pool("max", 2, 2, "down")),
    ("max 3/2 pad 1", (2, 6, 6), 1, 0, pool("max", 3, 2, "down", 1)),
    ("max 3/2 of equal values", (3, 7, 7), 1, 0.5, pool("max", 3, 2, "up")),
    ("max 3/1", (2, 5, 5), 1, 0, pool("max", 3, 1, "down")),
    ("average 2/2", (3, 6, 6), 1, 0, pool("average", 2, 2, "down")),
    ("average 3/2 up", (3, 6, 6), 1, 0, pool("average", 3, 2, "up")),
    ("average 3/2 up on one pixel", (4, 1, 1), 1, 0, pool("average", 3, 2, "up")),
    ("average 3/2 pad 1", (2, 7, 7), 1, 0, pool("average", 3, 2, "down", 1)),
    ("LRN PaddlePaddle", (9, 3, 3), 300, 0, lrn(5, 1e-4, 0.75, 1, True)),
    ("LRN 2012 and TensorFlow", (9, 3, 3), 100, 0, lrn(5, 1e-4, 0.75, 2, False)),
    ("LRN of small values", (6, 2, 2), 1, 0, lrn(5, 1e-4, 0.75, 1, True)),
    ("LRN window beyond the channels", (2, 3, 3), 100, 0, lrn(5, 1e-4, 0.75, 2, False)),
    ("LRN size 3 other power", (5, 2, 2), 2, 0, lrn(3, 0.5, 0.6, 1.5, False)),
    ("dropout 2012", (45, 1, 1), 1, 0, dropout(0.5, False, 0)),
    ("dropout inverted", (45, 1, 1), 1, 0, dropout(0.5, True, 1)),
    ("dropout 0.3 of maps", (3, 5, 5), 1, 0, dropout(0.3, True, 2)),
    ("ReLU", (5, 3, 3), 1, 0, activation("relu")),
    ("ReLU at zero", (5, 3, 3), 1, 0.5, activation("relu")),
    ("leaky ReLU", (5, 3, 3), 1, 0, activation("leaky-relu")),
    ("leaky ReLU at zero", (5, 3, 3), 1, 0.5, activation("leaky-relu")),
    ("softplus", (5, 3, 3), 3, 0, activation("softplus")),
    ("softplus of large values", (5, 3, 3), 60, 0, activation("softplus")),
]


def short(value):
    """A float32 of three significant digits."""
    return np.float32("%.3g" % value)


def case(number, seed, name, shape, scale, spacing, layer):
    """One row of LAYERS as a dictionary for JSON."""
    spec, build = layer
    n, stream = len(INDEX), 16 * number
    x = values.uniform(stream, (n,) + shape, scale)
    if spacing:
        x = (np.round(x / spacing) * spacing + 0.0).astype(np.float32)
    module = build(shape[0]).double()
    for place, (_, w) in enumerate(sorted(module.named_parameters(), reverse=True)):  # weight, bias
        bound = 1.0 if w.dim() == 1 else short((3 / w[0].numel()) ** 0.5)
        w.data = torch.from_numpy(values.uniform(stream + 1 + place, tuple(w.shape), bound)).double()
    if isinstance(module, networks.Dropout):
        each = [values.keep(int(np.prod(shape)), module.p, seed, spec["layer"], STEP, i) for i in INDEX]
        module.mask = lambda x: torch.from_numpy(np.stack(each)).double().view(x.shape)

    tx = torch.from_numpy(x).double().requires_grad_()
    y = module(tx)
    outputs = y[0].numel()
    head = networks.Dense(outputs, CLASSES).double()
    spread = y.detach().abs().max().item() * outputs ** 0.5
    for place, (w, bound) in enumerate([(head.weight, short(3 / spread)), (head.bias, 0.5)]):
        w.data = torch.from_numpy(values.uniform(stream + 3 + place, tuple(w.shape), bound)).double()
    labels = values.numbers(stream + 5, n, CLASSES)
    target = torch.tensor(labels)
    loss = F.cross_entropy(head(y), target, reduction="none")
    loss.sum().backward()
    module.eval()
    test = F.softmax(head(module(tx)), 1)

    float32 = lambda t: values.written(t.detach().numpy().astype(np.float32))
    out = dict(
        name=name, layer=spec, input=list(shape), output=(list(y.shape[1:]) + [1, 1])[:3], classes=CLASSES,
        step=STEP, index=INDEX, labels=labels, x=values.written(x),
        headWeight=float32(head.weight), headBias=float32(head.bias),
        y=values.written(y.detach().numpy()), loss=values.written(loss.detach().numpy()),
        testProbabilities=values.written(test.detach().numpy()), dx=values.written(tx.grad.numpy()))
    if spec["kind"] in ("conv", "dense"):
        out.update(weight=float32(module.weight), bias=float32(module.bias),
                   dweight=values.written(module.weight.grad.numpy()), dbias=values.written(module.bias.grad.numpy()))
    return out


def softmax(number, name, scale):
    """Logits -> softmax and cross-entropy: here x and dx are those of the logits, one row an image."""
    n, classes = 5, 10
    x = values.uniform(16 * number, (n, classes), scale)
    labels = values.numbers(16 * number + 5, n, classes)
    tx = torch.from_numpy(x).double().requires_grad_()
    loss = F.cross_entropy(tx, torch.tensor(labels), reduction="none")
    loss.sum().backward()
    rank = [int((row > row[label]).sum()) for row, label in zip(x, labels)]
    return dict(
        name=name, layer=dict(kind="softmax"), input=[classes, 1, 1], output=[classes, 1, 1], classes=classes,
        step=STEP, index=list(range(n)), labels=labels, x=values.written(x), loss=values.written(loss.detach().numpy()),
        testProbabilities=values.written(F.softmax(tx, 1).detach().numpy()), dx=values.written(tx.grad.numpy()),
        top1=sum(r < 1 for r in rank), top5=sum(r < 5 for r in rank))


def cases(seed):
    """All cases of layers.json."""
    found = [case(i, seed, *row) for i, row in enumerate(LAYERS)]
    return found + [softmax(900, "softmax", 2), softmax(901, "softmax of large logits", 60)]
