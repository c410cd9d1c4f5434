"""Builds the C workloads into .build/benchmarks and lays the programs' input beside them."""

import os
import pathlib
import shutil
import subprocess
import sys

import catalogue

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / "Benchmarks" / "workloads"
FOLDER = ROOT / ".build" / "benchmarks"
HEADERS = ROOT / "CShims" / "include"

# The compiler may remove a malloc whose block goes nowhere: it must not know these by name.
FLAGS = ["-std=gnu17", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{HEADERS}"] + [
    f"-fno-builtin-{name}" for name in ("malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign")
]


def build():
    FOLDER.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc")
    if not compiler:
        sys.exit("no C compiler: install clang or gcc, or set CC")
    headers = (SOURCES / "bench.h", HEADERS / "bellows.h", *(HEADERS / "bellows").glob("*.h"))
    newest = max(path.stat().st_mtime for path in headers)
    for source in sorted(SOURCES.glob("*.c")):
        program = FOLDER / source.stem
        if program.exists() and program.stat().st_mtime > max(source.stat().st_mtime, newest):
            continue
        subprocess.run([compiler, *FLAGS, str(source), "-o", str(program)], check=True)
    for name in ("script.py", "queries.sql"):
        shutil.copy(SOURCES / name, FOLDER / name)
    (FOLDER / "generated.c").write_text(catalogue.generated_source())
    return FOLDER
