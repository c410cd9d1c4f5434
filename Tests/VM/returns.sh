# shellcheck shell=dash
# Runs in the guest as root, under busybox sh: what huge pages and strict commit do to memory that was given back.
# usage: returns.sh LIBRARY PROGRAM-DIRECTORY. Says what settings.sh says: `row NAME`, `pass` or `fail`, `finished`.
library=$1 programs=$2
huge=/sys/kernel/mm/transparent_hugepage

# row NAME COMMAND: passes if the command exits with 0 under the library.
row() {
    echo "row $1"
    shift
    if LD_PRELOAD=$library timeout 300 "$@" >/tmp/output 2>&1; then
        echo "pass $(tr '\n' ' ' </tmp/output)"
    else
        echo "fail status $?; $(tail -n 3 /tmp/output | tr '\n' ' ')"
    fi
}
setting() { echo "$2" >"$1" || echo "cannot set $1 to $2" >&2; }

# khugepaged looks at everything several times a second.
setting $huge/khugepaged/pages_to_scan 1000000
setting $huge/khugepaged/scan_sleep_millisecs 100
setting $huge/khugepaged/alloc_sleep_millisecs 100
for mode in always madvise; do
    setting $huge/enabled $mode
    grep -q "\[$mode\]" $huge/enabled || echo "huge pages are not $mode" >&2
    row "s6, huge pages $mode: 100 threads with 64 sizes have at most 12 MiB" "$programs/crowd" 12288
    row "s6b, huge pages $mode: 90 % of 1 GiB purged stay away from khugepaged" "$programs/inflate" 1024 120
done
setting $huge/enabled madvise

setting /proc/sys/vm/overcommit_memory 2
setting /proc/sys/vm/overcommit_ratio 100
ulimit -v 1000000
row "s14, ulimit -v 1000000 and overcommit 2: 100 threads with 64 sizes" "$programs/crowd" 12288
echo finished
