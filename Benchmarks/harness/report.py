"""Tables in Markdown, and the sections of RESULTS.md that each command keeps for itself."""

import datetime
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

import build

RESULTS = build.ROOT / "Benchmarks" / "RESULTS.md"
SECTIONS = ("run", "returns", "instructions", "scaling", "hotplug")
TITLE = """# Results

Written by the commands in this folder; each keeps its own section. Figures of one machine: compare within a
table, not between machines. How they are taken stands in [README.md](README.md).
"""


def table(header, rows):
    """A Markdown table that is also readable as text: first column left, the others right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for number, row in enumerate(cells):
        padded = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        lines.append("| " + " | ".join(padded) + " |")
        if number == 0:
            lines.append("| " + " | ".join(["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]) + " |")
    return "\n".join(lines)


def number(value):
    """Three digits or so."""
    if value is None:
        return "—"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", str(build.ROOT), *arguments], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "Sources", "CShims", "Package.swift")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" and changes" if changed else "")


def _processor():
    match = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def circumstances():
    """Command, machine, date and commit, so that a figure can be repeated."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    command = shlex.join(["Benchmarks/" + pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
    huge = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    chosen = re.search(r"\[(\w+)\]", huge.read_text()) if huge.exists() else None
    return (
        f"`{command}` · {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB · Linux {platform.release()}, "
        f"glibc {platform.libc_ver()[1]}, huge pages {chosen[1] if chosen else 'absent'} · "
        f"{datetime.date.today().isoformat()} · commit {_commit()}"
    )


def write_section(name, body):
    text = RESULTS.read_text() if RESULTS.exists() else TITLE
    for section in SECTIONS:  # in this order, whichever command is run first
        if f"<!-- {section}:begin -->" not in text:
            text = text.rstrip() + f"\n\n<!-- {section}:begin -->\n<!-- {section}:end -->\n"
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    RESULTS.write_text(f"{head}{begin}\n{body.strip()}\n{end}{tail}")
    print(f"wrote the section {name} of {RESULTS.relative_to(build.ROOT)}", file=sys.stderr)
