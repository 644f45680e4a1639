#!/usr/bin/env python3
"""Seconds from a leader's death to the next step that a standby applies.

Starts an etcd, a parameter server, a standby and a worker as processes, kills the server
with SIGKILL in the midst of training, and watches the standby:

    python3 bench/takeover.py --bin bin --etcd /usr/bin/etcd --tries 10

Prints a line of JSON for each try: `seconds` from the kill to the first step beyond those
the dead server had published, `published` (the last step it had told of), `resumed` (the
step that the standby went on from) and `lost` (steps published that it had not; 0).
"""
import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def status(muster, address):
    p = subprocess.run([muster, "status", "--server", address, "--json", "--log-level", "error"], capture_output=True, text=True)
    return json.loads(p.stdout) if p.returncode == 0 and p.stdout else None


def attempt(args, work):
    program = lambda name: os.path.join(args.bin, name)
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    running = []

    def start(name, *flags):
        log = open(os.path.join(work, name + ".log"), "w")
        p = subprocess.Popen(flags, stdout=log, stderr=log)
        running.append(p)
        return p

    def said(name, text):
        with open(os.path.join(work, name + ".log")) as f:
            return re.search(text, f.read())

    def wait(name, text):
        while not (m := said(name, text)):
            time.sleep(0.01)
        return m

    try:
        start("etcd", args.etcd, "--data-dir", os.path.join(work, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
              "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer)
        wait("etcd", "ready to serve client requests")
        job = ["--job", "takeover", "--network", args.network, "--epochs", "1000", "--etcd", client, "--http", "off"]
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        serve = lambda i: [program("paramserver"), *job, "--listen", addresses[i], "--checkpoint-dir", os.path.join(work, f"server{i}")]
        leader = start("leader", *serve(0))
        wait("leader", "this server leads the job")
        start("standby", *serve(1), "--standby")
        wait("leader", "standby joined")
        start("worker", program("worker"), "--etcd", client, "--job", "takeover", "--data", "synthetic")
        muster = program("muster")
        while not (s := status(muster, addresses[0])) or s["step"] < args.steps:
            time.sleep(0.05)
        published = status(muster, addresses[0])["step"]
        leader.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        while not (s := status(muster, addresses[1])) or s["step"] <= published:
            time.sleep(0.01)
        seconds = time.monotonic() - killed
        resumed = int(wait("standby", r"msg=resumed checkpoint=memory step=(\d+)").group(1))
        return {"seconds": round(seconds, 2), "published": published, "resumed": resumed, "lost": max(0, published - resumed)}
    finally:
        for p in running:
            p.kill()
            p.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="bin", help="directory of the programs")
    parser.add_argument("--etcd", default="etcd", help="the etcd to run")
    parser.add_argument("--network", default="lenet5")
    parser.add_argument("--steps", type=int, default=50, help="step at which the server is killed, or soon after")
    parser.add_argument("--tries", type=int, default=10)
    args = parser.parse_args()
    results = []
    for _ in range(args.tries):
        with tempfile.TemporaryDirectory() as work:
            results.append(attempt(args, work))
            print(json.dumps(results[-1]), flush=True)
    print(json.dumps({"median_seconds": statistics.median(r["seconds"] for r in results), "lost": sum(r["lost"] for r in results)}))


if __name__ == "__main__":
    main()
