"""Medians, ratios, geometric means and their confidence."""

import math
import random
import statistics


def median(samples, metric):
    return statistics.median(getattr(sample, metric) for sample in samples)


def geometric_mean(values):
    values = [value for value in values if value and value > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def shared(samples, one, other):
    """The workloads that both allocators could run."""
    return [name for name, row in samples.items() if row.get(one) and row.get(other)]


def mean_ratio(samples, one, other, metric, only=None):
    """Geometric mean over the workloads of the ratio of medians."""
    names = [n for n in shared(samples, one, other) if only is None or n in only]
    return geometric_mean(median(samples[n][one], metric) / median(samples[n][other], metric) for n in names)


def interval(samples, one, other, metric, draws=1000, seed=1):
    """Bootstrap 95 % interval of `mean_ratio`: the rounds are drawn anew for each workload, both allocators'
    together since they ran side by side. It covers the noise of the runs; the workloads are taken as given."""
    source = random.Random(seed)
    rows = []
    for name in shared(samples, one, other):
        a = [getattr(sample, metric) for sample in samples[name][one]]
        b = [getattr(sample, metric) for sample in samples[name][other]]
        rows.append(list(zip(a, b)))
    if not rows:
        return None
    means = []
    for _ in range(draws):
        total = 0.0
        for pairs in rows:
            drawn = source.choices(pairs, k=len(pairs))
            total += math.log(
                statistics.median(pair[0] for pair in drawn) / statistics.median(pair[1] for pair in drawn)
            )
        means.append(math.exp(total / len(rows)))
    means.sort()
    return means[round(0.025 * (draws - 1))], means[round(0.975 * (draws - 1))]


def best(row, names, metric):
    """Name and median of the least of the named allocators in one workload's row."""
    medians = {name: median(row[name], metric) for name in names if row.get(name)}
    name = min(medians, key=medians.get, default=None)
    return (name, medians[name]) if name else (None, None)


def best_single(samples, subject, peers, metric):
    """The peer that is hardest to beat over all workloads: the one the subject's mean ratio is worst against."""
    ratios = {peer: mean_ratio(samples, subject, peer, metric) for peer in peers}
    ratios = {peer: ratio for peer, ratio in ratios.items() if ratio}
    return max(ratios, key=ratios.get, default=None)
