"""Runs one program under one allocator, and all of them interleaved."""

import dataclasses
import os
import re
import subprocess
import sys

TIMEOUT = 120
CORES = os.cpu_count()


@dataclasses.dataclass
class Sample:
    cpu: float  # seconds, user and system
    wall: float  # seconds
    rss: float  # MiB at the peak
    faults: float
    ns: float  # nanoseconds of CPU an operation, without start and end
    disturbed: bool  # others used a tenth of the cores meanwhile


def once(command, library, folder, warm_mib=0, environment=()):
    """One run, or the reason why there is none."""
    read, write = os.pipe()
    arguments = [str(folder / "launch"), str(warm_mib), library or "-", str(TIMEOUT), *command]

    def hand_over():  # the launcher writes to descriptor 3
        os.dup2(write, 3)

    process = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=hand_over, pass_fds=(3,), env={**os.environ, **dict(environment)},
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as pipe:
        fields = pipe.read().split()
    if process.returncode != 0 or len(fields) != 7:
        return f"launch failed: {process.stderr.strip()}"
    status, wall, user, system, peak, faults, others = map(int, fields)
    if status != 0:
        return f"status {status}: {process.stderr.strip()[-200:]}"
    match = re.search(r"cpu_ns_per_op ([\d.]+)", process.stdout)
    return Sample(
        cpu=(user + system) / 1e6,
        wall=wall / 1e9,
        rss=peak / 1024,
        faults=faults,
        ns=float(match[1]) if match else (user + system) * 1e3,
        disturbed=others > max(30, 0.1 * CORES * wall / 1e6),
    )


def interleaved(workloads, allocators, runs, scale, folder):
    """Samples by workload and allocator. Every round runs each workload under each allocator once, in an order
    that rotates; an uncounted first round finds out what cannot run, and how much memory is to be warmed.
    A disturbed run is repeated once, while no more than a tenth of all are: on a busy machine it does not help."""
    repeats = len(workloads) * len(allocators) * runs // 10
    samples = {w.name: {a: [] for a in allocators} for w in workloads}
    failures = {}
    warm = {w.name: 64 for w in workloads}
    names = list(allocators)
    for turn in range(runs + 1):
        for place, workload in enumerate(workloads):
            start = (turn + place) % len(names)
            for name in names[start:] + names[:start]:
                if (workload.name, name) in failures:
                    continue
                run = [workload.command(scale, folder), allocators[name], folder, warm[workload.name]]
                sample = once(*run, workload.environment)
                if isinstance(sample, Sample) and sample.disturbed and turn > 0 and repeats > 0:
                    repeats -= 1
                    sample = once(*run, workload.environment)
                if isinstance(sample, str):
                    failures[workload.name, name] = sample
                    print(f"\nFAILED {workload.name} under {name}: {sample}", file=sys.stderr)
                    samples[workload.name][name].clear()
                    continue
                warm[workload.name] = max(warm[workload.name], int(sample.rss) + 32)
                if turn > 0:
                    samples[workload.name][name].append(sample)
        progress = "first, uncounted round" if turn == 0 else f"round {turn} of {runs}"
        print(f"{progress} done", file=sys.stderr)
    return samples, failures
