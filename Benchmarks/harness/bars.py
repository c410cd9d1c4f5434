"""The bars that Bellows set itself, and whether they hold."""

import figures

CPU_MEAN, CPU_BOUND = 1.05, 1.10
WORST = 1.5
LARGE_NS, TIE = 25, 1.10  # above 32 KiB; differences below a tenth are ties, else touching memory decides
LEAN = ("jemalloc", "snmalloc", "rpmalloc")


def verdicts(samples, workloads, subject, peers):
    """Sentences with whether each holds; None where there is nothing to compare with."""
    result = []
    rival = figures.best_single(samples, subject, peers, "cpu")
    if rival:
        mean = figures.mean_ratio(samples, subject, rival, "cpu")
        low, high = figures.interval(samples, subject, rival, "cpu")
        result.append((
            f"CPU time against the best single peer ({rival}): geometric mean {mean:.3f}, bar {CPU_MEAN}; "
            f"95 % interval {low:.3f} to {high:.3f}, bar below {CPU_BOUND}",
            mean <= CPU_MEAN and high < CPU_BOUND,
        ))  # fmt: skip
    slow = []
    for workload in workloads:
        row = samples[workload.name]
        rival, least = figures.best(row, peers, "cpu")
        if not rival:
            continue
        if not row.get(subject):
            slow.append(f"{workload.name} (did not run)")
            continue
        ratio = figures.median(row[subject], "cpu") / least
        if workload.large:
            rival, least = figures.best(row, peers, "ns")
            over = figures.median(row[subject], "ns") - least
            if over > LARGE_NS and over > (TIE - 1) * least:
                slow.append(f"{workload.name} ({over:+.0f} ns on {rival}'s {least:.0f})")
        elif ratio > WORST:
            slow.append(f"{workload.name} ({ratio:.2f} times {rival})")
    text = f"No workload above {WORST} times its best peer, none of large blocks more than {LARGE_NS} ns above it"
    result.append((text + (": broken by " + ", ".join(slow) if slow else ""), not slow))

    lean = [peer for peer in peers if peer.startswith(LEAN)]
    rival = figures.best_single(samples, subject, lean, "rss")
    if rival:
        mean = figures.mean_ratio(samples, subject, rival, "rss")
        result.append((f"Peak RSS against the leanest of {', '.join(lean)} ({rival}): {mean:.3f}, bar 1", mean <= 1))
    return result
