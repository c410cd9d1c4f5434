"""The workloads: what is run, with how many operations, and which bar it is held to."""

import dataclasses
import shutil
import sys


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    program: str
    operations: int  # the first argument; 0 for a program without one
    arguments: tuple = ()
    large: bool = False  # blocks above 32 KiB: held to nanoseconds an operation, not to a ratio
    environment: tuple = ()
    least: int = 0  # operations below which first touches are measured and not the steady state, whatever the scale

    def command(self, scale, folder):
        program = self.program if self.program.startswith("/") else str(folder / self.program)
        # A program that is not ours takes its file first and the count last.
        count = [str(max(1, self.least, round(self.operations * scale)))] if self.operations else []
        arguments = [argument.replace("@", str(folder)) for argument in self.arguments]
        return [program, *arguments, *count] if program.startswith("/usr") else [program, *count, *arguments]


M = 1_000_000

# Counts make each run 0.3 to 1.5 s under glibc, with exceptions: for untouched and touched large blocks some
# peers are hundreds of times slower than glibc, which gives nothing back between two of them, and the count
# keeps those below some seconds.
WORKLOADS = [
    Workload("pairs 16", "pairs", 30 * M, ("16",)),
    Workload("pairs 64", "pairs", 30 * M, ("64",)),
    Workload("pairs 500", "pairs", 30 * M, ("500",)),
    Workload("pairs 1000", "pairs", 30 * M, ("1000",)),
    Workload("pairs 4000", "pairs", 15 * M, ("4000",)),
    Workload("pairs 30000", "pairs", 10 * M, ("30000",)),
    Workload("random 8..1000", "replace", 12 * M, ("1000", "8", "1000", "uniform")),
    Workload("random 8..32000", "replace", 6 * M, ("1000", "8", "32000", "octaves")),
    Workload("lifetimes 100k", "replace", 2 * M, ("100000", "8", "8192", "octaves")),
    Workload("fifo 32", "batch", 16 * M, ("fifo", "32")),
    Workload("lifo 32", "batch", 16 * M, ("lifo", "32")),
    Workload("fifo 256", "batch", 6 * M, ("fifo", "256")),
    Workload("lifo 256", "batch", 6 * M, ("lifo", "256")),
    Workload("handoff", "handoff", 4 * M),
    Workload("thread churn", "churn", 2 * M),
    Workload("server 2", "server", 6 * M, ("2",)),
    Workload("server 8", "server", 6 * M, ("8",)),
    Workload("tree", "tree", M // 2),
    Workload("words", "words", 3 * M),
    *(
        Workload(f"{name} {kind}", "large", count, (str(size), kind), large=True)
        for kind, counts in (
            ("untouched", (6 * M, 3 * M, 2 * M, 2 * M, 200_000)),
            ("touched", (3 * M, 600_000, 100_000, 8000, 150)),
        )
        for name, size, count in zip(
            ("40 KB", "200 KB", "1 MB", "5 MB", "20 MB"), (40_000, 200_000, 1_000_000, 5_000_000, 20_000_000), counts
        )
    ),
    Workload("mixed large untouched", "large", 100_000, ("random", "untouched"), large=True, least=50_000),
    Workload("mixed large touched", "large", 3000, ("random", "touched"), large=True, least=3000),
    Workload("vectors", "growth", 300_000, ("vectors",)),
    Workload("one buffer to 64 MiB", "growth", 500, ("buffer",), large=True, least=250),
    Workload("calloc small", "zeroed", 6 * M, ("16", "256")),
    Workload("calloc 1 KiB..1 MiB", "zeroed", 25_000, ("1024", "1048576"), large=True, least=25_000),
    Workload("aligned", "aligned", 2 * M),
    Workload("python", "/usr/bin/python3", 6, ("-S", "@/script.py"), environment=(("PYTHONMALLOC", "malloc"),)),
    Workload("sqlite", "/usr/bin/sqlite3", 0, (":memory:", ".read @/queries.sql")),
    Workload("gcc", "/usr/bin/gcc", 0, ("-O1", "-S", "-o", "/dev/null", "@/generated.c")),
]


def generated_source():
    """A C file for the compiler to work on: many functions of a few shapes."""
    lines = ["struct pair { long a, b; struct pair *next; };"]
    for i in range(110):
        lines.append(f"long f{i}(struct pair *p, long n) {{ long s = {i}; for (long i = 0; i < n; i++) {{")
        for j in range(6):
            lines.append(f"  if (p->a % {j + 2} == {(i + j) % 3}) s += p->b * {i + j}; else s ^= p->a >> {j};")
        lines.append(f"  p = p->next; switch (s & 7) {{ {' '.join(f'case {k}: s += {k * i}; break;' for k in range(8))} }}")
        lines.append(f"}} return {f'f{i - 1}(p, s & 3) + ' if i else ''}s; }}")
    return "\n".join(lines) + "\n"


def chosen(pattern):
    """The workloads whose name contains the pattern and whose program is here; says which are left out."""
    selected = []
    for workload in WORKLOADS:
        if pattern and pattern not in workload.name:
            continue
        if workload.program.startswith("/") and not shutil.which(workload.program):
            print(f"SKIPPED {workload.name}: no {workload.program}", file=sys.stderr)
            continue
        selected.append(workload)
    return selected
