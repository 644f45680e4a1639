"""Answers one line of JSON with another, by muster_torch: the other side of TestTorch."""
import json
import sys

import torch
import torch.nn.functional as F

import muster_torch

torch.set_num_threads(1)


def load_images(path):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).view(-1, 3, 32, 32)


def different(x):
    return sorted(set(x.flatten().tolist()))


def examine(file, pixels):
    images = load_images(pixels)
    network = muster_torch.load(file)
    answer = {"training": network.training, "keys": list(network.state_dict()), "dropouts": []}
    with torch.no_grad():
        answer["logits"] = network(network.preprocess(images)).tolist()
    threes = torch.full((100000,), 3.0)
    for name, module in network.named_modules():
        if isinstance(module, muster_torch.Dropout):
            network.train()
            trained = module(threes)
            network.eval()
            answer["dropouts"].append({
                "name": name, "training": different(trained), "kept": (trained != 0).float().mean().item(),
                "testing": different(module(threes))})
    network.train()
    F.cross_entropy(network(network.preprocess(images)), torch.arange(len(images)) % len(network.classes)).backward()
    answer["withoutGrads"] = [
        name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    return answer


def step(file, after, pixels, labels, lr, decay):
    network, want, before = muster_torch.load(file), muster_torch.load(after).state_dict(), muster_torch.load(file).state_dict()
    network.train()
    F.cross_entropy(network(network.preprocess(load_images(pixels))), torch.tensor(labels)).backward()
    torch.optim.SGD(network.parameters(), lr=lr, weight_decay=decay).step()
    got = network.state_dict()
    return {
        "worst": max((got[k] - want[k]).abs().max().item() for k in want),
        "smallest": min((want[k] - before[k]).abs().max().item() for k in want)}


def version():
    return {"torch": torch.__version__}


for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = {"examine": examine, "step": step, "version": version}[question.pop("do")](**question)
    except Exception as error:
        answer = {"error": type(error).__name__ + ": " + str(error)}
    print(json.dumps(answer, allow_nan=False), flush=True)
