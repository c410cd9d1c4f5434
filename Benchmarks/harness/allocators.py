"""Which allocators there are here: Bellows, the C library's own, Debian's three, and those named by hand."""

import os
import pathlib
import sys

import build

DEBIAN = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
}
FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"]


def found():
    """Name to the library to preload, or None for the C library's own; says which are missing."""
    allocators = {}
    bellows = pathlib.Path(os.environ.get("BELLOWS_LIB") or build.ROOT / ".build/release/libbellows-malloc.so")
    if bellows.exists():
        allocators["bellows"] = str(bellows.resolve())
    else:
        print(f"SKIPPED bellows: no {bellows}", file=sys.stderr)
    allocators["glibc"] = None
    for name, library in DEBIAN.items():
        path = next((p for f in FOLDERS if (p := pathlib.Path(f) / library).exists()), None)
        if path:
            allocators[name] = str(path)
        else:
            print(f"SKIPPED {name}: no {library}", file=sys.stderr)
    for word in os.environ.get("BELLOWS_BENCH_EXTRA", "").split():
        name, separator, path = word.partition("=")
        if not separator or not pathlib.Path(path).exists():
            sys.exit(f"BELLOWS_BENCH_EXTRA: {word!r} is not name=/path/of/a/library.so")
        allocators[name] = path
    return allocators


def chosen(names):
    allocators = found()
    if not names:
        return allocators
    unknown = [name for name in names.split(",") if name not in allocators]
    if unknown:
        sys.exit(f"no such allocator here: {', '.join(unknown)}; there are {', '.join(allocators)}")
    return {name: allocators[name] for name in names.split(",")}
