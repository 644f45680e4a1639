"""Compares Muster's training step with PyTorch's, by turns.

    python3 step.py --muster bin/muster --network alexnet,lenet5 --threads 1,2 --output FILE

For each network and number of threads it first looks for the variant of
torch_step.py that is fastest here, changing one thing after the other and keeping
what helps; then Muster and that variant take turns, --rounds times, each for about
--seconds and at least five steps. A table of medians and ratios goes to stdout; the table, every variant
tried and the JSON line of every run go to --output, under a header.

--python names a Python that has PyTorch; given several times, the fastest variant
of all of them is taken. --cpus 0,1 keeps both on these processors: one thread on
the first, two on the first two.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NETWORKS = ["alexnet", "alexnet-lrn", "alexnet-tf", "alexnet-2012", "alexnet-cifar", "lenet5", "simple-cnn"]

# What is tried, in this order: the first of each is where the search begins.
CHOICES = [
    ("optimizer", [["--optimizer", "foreach"], ["--optimizer", "fused"], ["--optimizer", "loop"]]),
    ("format", [["--format", "contiguous"], ["--format", "channels_last"]]),
    ("malloc", [["--malloc", "huge"], ["--malloc", "keep"], ["--malloc", "default"]]),
    ("mkl", [[], ["--mkl-avx512"]]),
    ("convolutions", [[], ["--no-mkldnn"]]),
    ("compile", [[], ["--compile"]]),
]


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--muster", required=True, help="the program")
    p.add_argument("--python", action="append", help="a Python with PyTorch, may be repeated (default: this one)")
    p.add_argument("--network", default="all", help="networks, separated by commas, or all")
    p.add_argument("--threads", default="1", help="numbers of threads, separated by commas")
    p.add_argument("--rounds", type=int, default=7, help="turns of each (default 7)")
    p.add_argument("--seconds", type=float, default=2, help="length of a turn (default 2)")
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"], help="of the factors of products, of both")
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out of the search: it takes a minute for each network")
    p.add_argument("--cpus", default="", help="processors to stay on, separated by commas")
    p.add_argument("--output", help="file for the table and all runs")
    o = p.parse_args()
    o.python = o.python or [sys.executable]
    o.network = NETWORKS if o.network == "all" else o.network.split(",")
    o.threads = [int(n) for n in o.threads.split(",")]
    if o.rounds < 1 or o.seconds <= 0:
        p.error("--rounds and --seconds must be more than 0")
    return o


class Runs:
    """Starts programs, and keeps what they print."""

    def __init__(self, o):
        self.o, self.lines = o, []
        self.cpus = [int(n) for n in o.cpus.split(",")] if o.cpus else []

    def run(self, what, threads, command):
        """The JSON line that a command prints, or None where it failed; what says in the record why it ran."""
        pin = (lambda: os.sched_setaffinity(0, self.cpus[:threads])) if self.cpus else None
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=pin)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no message"])[-1]
            self.lines.append("%s: status %d: %s" % (what, done.returncode, why))
            print("  %s" % self.lines[-1], file=sys.stderr)
            return None
        line = done.stdout.strip().splitlines()[-1]
        self.lines.append("%s: %s" % (what, line))
        return json.loads(line)

    def muster(self, what, network, threads):
        return self.run(what, threads, [
            self.o.muster, "bench", "step", "--precision", self.o.precision, "--network", network, "--threads", str(threads),
            "--time", "%gs" % self.o.seconds, "--json", "--log-level", "error"])

    def torch(self, what, threads, python, ours, seconds, variant):
        return self.run(what, threads, [
            python, os.path.join(HERE, "torch_step.py"), "--network", ours["network"], "--threads", str(threads),
            "--batch", str(ours["batch"]), "--steps", "5", "--seconds", "%g" % seconds, "--warmup", "2", "--precision", self.o.precision,
        ] + (["--input-size", str(ours["input_size"])] if ours["network"] in ("alexnet-tf", "alexnet-2012", "alexnet-cifar") else []) + variant)


def tune(runs, o, ours, threads):
    """The fastest variant: its Python, its arguments, and milliseconds of its fastest step."""
    best = None
    for number, python in enumerate(o.python):
        chosen, fastest = [choice[0] for _, choice in CHOICES], None
        tried = {}

        def measure(variant):
            key = tuple(sum(variant, []))
            if key not in tried:
                r = runs.torch("tune torch%d" % number, threads, python, ours, o.seconds / 4, list(key))
                tried[key] = r["fastest_milliseconds"] if r else float("inf")
            return tried[key]

        for i, (name, choice) in enumerate(CHOICES):
            if name == "compile" and o.no_compile:
                continue
            for value in choice:
                variant = chosen[:i] + [value] + chosen[i + 1:]
                took = measure(variant)
                if fastest is None or took < fastest:
                    chosen, fastest = variant, took
        if fastest is not None and fastest < float("inf") and (best is None or fastest < best[2]):
            best = python, sum(chosen, []), fastest
    return best


def compare(runs, o, network, threads):
    """Rounds of both, as a row of the table."""
    print("%s, %d threads" % (network, threads), file=sys.stderr)
    first = runs.muster("first muster", network, threads)
    if first is None:
        sys.exit("%s bench step failed" % o.muster)
    best = tune(runs, o, first, threads)
    if best is None:
        return None
    python, variant, _ = best
    ours, theirs, version = [], [], ""
    for n in range(o.rounds):
        a = runs.muster("round %d muster" % (n + 1), network, threads)
        b = runs.torch("round %d torch" % (n + 1), threads, python, first, o.seconds, variant)
        if a is None or b is None:
            return None
        ours.append(a)
        theirs.append(b)
        version = b["torch"]
    rates = lambda runs: [r["images_per_second"] for r in runs]
    ratios = [a / b for a, b in zip(rates(ours), rates(theirs))]
    return dict(
        network=network, input=first["input_size"], threads=threads, batch=first["batch"],
        muster=statistics.median(rates(ours)), share=statistics.median(a["peak_share"] for a in ours),
        torch=statistics.median(rates(theirs)), ratio=statistics.median(rates(ours)) / statistics.median(rates(theirs)),
        lowest=min(ratios), highest=max(ratios), kernel=first["kernel"], version=version, variant=" ".join(variant))


def table(rows):
    """The rows as lines of text."""
    text = ["%-14s %5s %7s %5s %12s %8s %13s %6s  %-12s %s" % (
        "network", "input", "threads", "batch", "muster im/s", "of peak", "pytorch im/s", "ratio", "of rounds", "pytorch, and how")]
    for r in rows:
        text.append("%-14s %5d %7d %5d %12.1f %6.1f %% %13.1f %6.2f  %.2f to %.2f %s %s" % (
            r["network"], r["input"], r["threads"], r["batch"], r["muster"], 100 * r["share"], r["torch"], r["ratio"],
            r["lowest"], r["highest"], r["version"], r["variant"]))
    return text


def machine():
    name, memory = platform.machine(), ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            fields = dict(line.split(":", 1) for line in f.read().split("\n\n")[0].splitlines() if ":" in line)
        fields = {k.strip(): v.strip() for k, v in fields.items()}
        name = "%s (family %s, model %s)" % (fields.get("model name", name), fields.get("cpu family", "?"), fields.get("model", "?"))
        with open("/proc/meminfo") as f:
            memory = ", %.0f GiB" % (int(f.readline().split()[1]) / 2**20)
    return "%d cores of %s%s" % (os.cpu_count(), name, memory)


def commit():
    git = lambda *a: subprocess.run(("git", "-C", HERE) + a, stdout=subprocess.PIPE, text=True).stdout.strip()
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if git("status", "--porcelain", "-uno") else "")


def command():
    """The command, its paths cut down to their last part."""
    words = [os.path.basename(a) if os.sep in a else a for a in sys.argv[1:]]
    return " ".join(["python3", "bench/peers/step.py"] + words)


def main():
    o = options()
    runs, rows = Runs(o), []
    for network in o.network:
        for threads in o.threads:
            row = compare(runs, o, network, threads)
            if row is not None:
                rows.append(row)
                print(table([row])[1], file=sys.stderr)
    text = table(rows)
    print("\n".join(text))
    if o.output:
        versions = sorted({r["version"] for r in rows})
        found = "; ".join("%s on %d: %.2f times" % (r["network"], r["threads"], r["ratio"]) for r in rows)
        with open(o.output, "w") as f:
            f.write("topic:    one training step, Muster (%s) and PyTorch (%s, best of the variants below), %d turns each\n" % (
                "/".join(sorted({r["kernel"] for r in rows})), " and ".join(versions), o.rounds))
            f.write("commit:   %s\nmachine:  %s\ncommand:  %s\nfinding:  %s\n\n" % (commit(), machine(), command(), found))
            f.write("\n".join(text) + "\n\n" + "\n".join(runs.lines) + "\n")
    if len(rows) < len(o.network) * len(o.threads):
        sys.exit("some could not be compared: see the messages above")


if __name__ == "__main__":
    main()
