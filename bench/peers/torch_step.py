"""Measures one whole training step in PyTorch: forward, backward, update.

    python3 torch_step.py --network alexnet --threads 1 --batch 128 --steps 10

The step is the one that `muster bench step` measures: cross entropy over a batch
of made-up images in training form (dropout on), gradients of all parameters, and
momentum with weight decay by the network's recipe; gradients are set to None, not
to zero. One JSON line goes to stdout. Its time is the median over the steps.

What can be tuned is an option, so that the best of the variants can be looked
for: --compile, --format, --optimizer, --no-mkldnn, --mkl-avx512, --malloc,
--preload. Numbers of threads are fixed for OpenMP, MKL, OpenBLAS and PyTorch
alike. Environment variables have to be there before the program begins, so it
begins twice.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

# glibc gives every block beyond 32 MB, such as the gradients of fc6 and fc7, back
# to the kernel and asks for it anew at each step, page by page, unless it is told
# to keep everything; huge pages make what is left of that cheap.
KEEP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "268435456",
}
HUGE = dict(KEEP, GLIBC_TUNABLES="glibc.malloc.hugetlb=1", THP_MEM_ALLOC_ENABLE="1")
MALLOC = {"default": {}, "keep": KEEP, "huge": HUGE}

# MKL asks whether the processor is Intel's before it uses AVX-512. This answers yes.
INTEL = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", default="alexnet")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--input-size", type=int, help="side of the input of alexnet-tf, alexnet-2012 and alexnet-cifar (default: the network's own)")
    p.add_argument("--steps", type=int, default=10, help="steps measured at least (default 10)")
    p.add_argument("--seconds", type=float, default=0, help="go on with steps for so long (default 0)")
    p.add_argument("--warmup", type=int, default=3, help="steps before them (default 3)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"], help="bf16: autocast, parameters stay float32")
    p.add_argument("--compile", action="store_true", help="torch.compile; PyTorch 2, and a C++ compiler")
    p.add_argument("--format", default="contiguous", choices=["contiguous", "channels_last"], help="how activations and weights lie")
    p.add_argument("--optimizer", default="foreach", choices=["foreach", "fused", "loop"], help="form of torch.optim.SGD (fused: PyTorch 2.4 and later)")
    p.add_argument("--no-mkldnn", action="store_true", help="PyTorch's own convolutions in place of oneDNN's")
    p.add_argument("--mkl-avx512", action="store_true", help="MKL's AVX-512 on any processor that has it; needs a C compiler")
    p.add_argument("--malloc", default="huge", choices=sorted(MALLOC), help="glibc's malloc: as it comes, keeping all memory, and that with huge pages (default huge)")
    p.add_argument("--preload", default="", help="library for LD_PRELOAD, such as jemalloc's: --malloc is without effect on it")
    return p.parse_args()


def begin_again(o):
    """Starts the program anew with its environment, once."""
    folder = os.environ.pop("TORCH_STEP", None)
    if folder is not None:
        os.environ.pop("LD_PRELOAD", None)  # it has done its work, and is not the compiler's matter
        if folder:
            shutil.rmtree(folder)
        return
    env, preload = dict(os.environ, TORCH_STEP=""), [o.preload] if o.preload else []
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(o.threads)
    env.update(MALLOC[o.malloc])
    if o.mkl_avx512:
        env["TORCH_STEP"] = folder = tempfile.mkdtemp()
        library = os.path.join(folder, "intel.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=INTEL.encode(), check=True)
        preload.append(library)
    if preload:
        env["LD_PRELOAD"] = " ".join(preload)
    os.execve(sys.executable, [sys.executable] + sys.argv, env)


def blas(torch):
    """What multiplies matrices, as far as PyTorch knows it."""
    for word in torch.__config__.show().replace(",", " ").split():
        if word.startswith("BLAS_INFO="):
            return word[len("BLAS_INFO="):]
    return "unknown"


def main():
    o = options()
    begin_again(o)
    import warnings
    warnings.filterwarnings("ignore")
    import torch
    import torch.nn.functional as F
    import networks

    if o.network not in networks.NETWORKS:
        sys.exit("no network %r: there are %s" % (o.network, ", ".join(sorted(networks.NETWORKS))))
    if o.compile and not hasattr(torch, "compile"):
        sys.exit("torch.compile needs PyTorch 2, this is %s" % torch.__version__)
    torch.set_num_threads(o.threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(o.seed)
    torch.backends.mkldnn.enabled = not o.no_mkldnn

    size = {} if o.input_size is None else {"side": o.input_size}
    net = networks.NETWORKS[o.network](**size)
    net.initialise()
    net.train()
    classes = list(net.parameters())[-1].numel()
    x = torch.rand(o.batch, 3, net.side, net.side)
    labels = torch.randint(classes, (o.batch,))
    if o.format == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)

    form = {"foreach": {"foreach": True}, "fused": {"fused": True}, "loop": {"foreach": False}}[o.optimizer]
    recipe = net.recipe
    # Of a rate at which made-up images can't diverge: infinities and
    # denormal numbers have other speeds than what one trains with.
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=recipe["momentum"],
                                weight_decay=recipe["decay"], nesterov=recipe["nesterov"], **form)
    run = torch.compile(net) if o.compile else net

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=o.precision == "bf16"):
            loss = F.cross_entropy(run(x).float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(o.warmup):
        step()
    seconds, end = [], time.perf_counter() + o.seconds
    while len(seconds) < o.steps or time.perf_counter() < end:
        start = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - start)
    if not torch.isfinite(loss):
        sys.exit("%s: the loss is not finite" % o.network)
    middle = statistics.median(seconds)
    print(json.dumps(dict(
        network=o.network, threads=o.threads, batch=o.batch, images_per_second=round(o.batch / middle, 2),
        milliseconds=round(middle * 1e3, 3), fastest_milliseconds=round(min(seconds) * 1e3, 3), steps=len(seconds),
        input_size=net.side, precision=o.precision, compile=o.compile, format=o.format, optimizer=o.optimizer,
        mkldnn=not o.no_mkldnn, mkl_avx512=o.mkl_avx512, malloc=o.malloc, preload=os.path.basename(o.preload),
        torch=torch.__version__, blas=blas(torch), loss=round(loss.item(), 4))))


if __name__ == "__main__":
    main()
