#!/usr/bin/env python3
"""Throughput and bits while workers come and go.

A job on CIFAR-10 is trained by one worker, then by eight, three and five, which join and
leave while it runs; and once more by one alone. Eight machines' worth of workers don't fit
on a few cores, so each worker is given a share of a core, by halting it for the rest of
the time:

    python3 bench/elastic.py --bin bin --data DIR --workers 1,8,3,5 --share 0.2

Prints a line of JSON for each number of workers: `images_per_second` while that many were
there, `ratio` to that of one, and `most_shards` that one of them has, which a step waits
for: shards / most_shards is what the ratio could be at best. Then one line with both hashes.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

SHARDS = 8


class Crew:
    """Worker processes, each with a share of a core."""

    def __init__(self, args, address, share, work):
        self.args, self.address, self.share, self.work = args, address, share, work
        self.processes, self.started = [], 0

    def add(self):
        log = open(os.path.join(self.work, f"worker{self.started}.log"), "w")
        self.started += 1
        p = subprocess.Popen([os.path.join(self.args.bin, "worker"), "--server", self.address, "--data", self.args.data, "--threads", "1", "--http", "off"], stdout=log, stderr=log)
        self.processes.append(p)
        if self.share < 1:
            threading.Thread(target=self.hold_back, args=(p,), daemon=True).start()

    def hold_back(self, p):
        time.sleep(0.007 * (p.pid % 7))
        while p.poll() is None:
            for sign, pause in (signal.SIGSTOP, self.args.period * (1 - self.share)), (signal.SIGCONT, self.args.period * self.share):
                p.send_signal(sign)
                time.sleep(pause)

    def resize(self, n):
        while len(self.processes) < n:
            self.add()
        while len(self.processes) > n:
            self.processes.pop(0).send_signal(signal.SIGTERM)

    def kill(self):
        for p in self.processes:
            p.kill()
            p.wait()


def status(args, address):
    p = subprocess.run([os.path.join(args.bin, "muster"), "status", "--server", address, "--json", "--log-level", "error"], capture_output=True, text=True)
    return json.loads(p.stdout) if p.returncode == 0 and p.stdout else None


def train(args, share, sizes, steps):
    """Trains `steps[i]` steps with `sizes[i]` workers; returns lines, and the hash at the end."""
    lines = []
    with tempfile.TemporaryDirectory() as work:
        address = f"unix://{work}/s"
        server = subprocess.Popen(
            [os.path.join(args.bin, "paramserver"), "--listen", address, "--http", "off", "--network", args.network, "--shards", str(SHARDS), "--epochs", "1",
             "--limit-batches", str(sum(steps)), "--checkpoint-dir", os.path.join(work, "job"), "--worker-timeout", "10m"],
            stdout=subprocess.PIPE, stderr=open(os.path.join(work, "server.log"), "w"), text=True)
        crew = Crew(args, address, share, work)
        try:
            upto = 0
            for n, count in zip(sizes, steps):
                crew.resize(n)
                upto += count
                first = None
                while server.poll() is None and ((s := status(args, address)) is None or s["step"] < upto):
                    working = [w for w in (s or {}).get("workers", []) if w.get("shards")]
                    if first is None and len(working) == n:
                        first = (time.monotonic(), s["samples"], max(len(w["shards"]) for w in working))
                    if first:
                        last = (time.monotonic(), s["samples"])
                    time.sleep(0.2)
                if first is None or last[1] == first[1]:
                    sys.exit(f"{count} steps with {n} workers are over before their throughput can be told: --steps wants more")
                rate = (last[1] - first[1]) / (last[0] - first[0])
                lines.append({"workers": n, "images_per_second": round(rate, 1), "ratio": round(rate / (lines[0]["images_per_second"] if lines else rate), 2), "most_shards": first[2]})
                print(json.dumps(lines[-1]), flush=True)
            out, _ = server.communicate()
            return lines, re.search(r"parameters sha256:(\w+)", out).group(1)
        finally:
            crew.kill()
            server.kill()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="bin", help="directory of the programs")
    parser.add_argument("--data", required=True, help="directory of CIFAR-10")
    parser.add_argument("--network", default="alexnet-lrn")
    parser.add_argument("--workers", default="1,8,3,5")
    parser.add_argument("--steps", default="60,300,150,200", help="steps with each number of workers")
    parser.add_argument("--share", type=float, default=0.2, help="of a core, that a worker has")
    parser.add_argument("--period", type=float, default=0.05, help="seconds in which it has that once")
    args = parser.parse_args()
    sizes, steps = ([int(x) for x in text.split(",")] for text in (args.workers, args.steps))
    _, elastic = train(args, args.share, sizes, steps)
    _, alone = train(args, 1, [1], [sum(steps)])
    print(json.dumps({"parameters_sha256": elastic, "of_one_worker": alone, "equal": elastic == alone}))


if __name__ == "__main__":
    main()
