# shellcheck shell=dash
# Runs in the guest as root, under busybox sh: changes settings of the system and runs the programs beside it with the library
# preloaded. usage: settings.sh LIBRARY PROGRAM-DIRECTORY. Each row says `row NAME`, then `pass` or `fail` and why; the last
# line is `finished`.
set -o pipefail
library=$1 programs=$2
memory=/sys/fs/cgroup

# row NAME PROGRAM ARGUMENTS: a row of a program passes if its status is 0 and it wrote nothing to standard error.
row() {
    name=$1 program=$2
    shift 2
    echo "row $name"
    # Through pipes: files live in memory here, and a program that has used all of it could not say so into a file.
    {
        EXPECT_PRELOADED=${library##*/} LD_PRELOAD=$library timeout 100 "$programs/$program" "$@" 2>&1 >&3 |
            tail -n 3 >/tmp/errors
    } 3>&1 | tail -n 3 >/tmp/output
    status=$?
    if [ $status = 0 ] && [ ! -s /tmp/errors ]; then
        echo "pass $(tail -n 1 /tmp/output)"
    else
        echo "fail status $status; $(cat /tmp/output /tmp/errors | tr '\n' ' ')"
    fi
}

# verdict NAME COMMAND: passes if the command does.
verdict() {
    echo "row $1"
    shift
    if "$@"; then echo pass; else echo "fail not so: $*"; fi
}

setting() { echo "$2" >"$1" || echo "cannot set $1 to $2" >&2; }

thp() {
    setting /sys/kernel/mm/transparent_hugepage/enabled "$1"
    case $(cat /sys/kernel/mm/transparent_hugepage/enabled) in *"[$1]"*) ;; *) false ;; esac
}

# Megabytes that may still be committed.
commit_room() {
    echo $((($(sed -n 's/^CommitLimit: *\([0-9]*\).*/\1/p' /proc/meminfo) - $(sed -n 's/^Committed_AS: *\([0-9]*\).*/\1/p' /proc/meminfo)) / 1024))
}

oom_kills() { sed -n 's/^oom_kill //p' $memory/"$1"/memory.events; }

# in_group GROUP COMMAND: runs it as a member of a control group.
in_group() {
    (
        group=$1
        shift
        sh -c 'echo $PPID' >$memory/"$group"/cgroup.procs
        "$@"
    )
}

# --- Huge pages: a small program stays small in every mode ---
for mode in always madvise never; do
    verdict "THP $mode is set" thp $mode
    row "THP $mode: 100 threads with 64 sizes have at most 12 MiB" crowd 12288
done

# --- Strict commit: what the system cannot promise is refused ---
limit=$((160 * 1024 + $(sed -n 's/^Committed_AS: *\([0-9]*\).*/\1/p' /proc/meminfo)))
setting /proc/sys/vm/overcommit_kbytes $limit
setting /proc/sys/vm/overcommit_memory 2
verdict "overcommit 2 leaves 120 to 170 MiB" test "$(commit_room)" -ge 120 -a "$(commit_room)" -le 170
for sizes in small large mixed; do
    row "overcommit 2, $sizes blocks: NULL and ENOMEM, then on" exhaust $sizes "$(commit_room)"
done
row "overcommit 2: 100 threads with 64 sizes" crowd 12288
setting /proc/sys/vm/overcommit_memory 0

# --- A limit on data: set before the program starts, and by the program ---
for sizes in small large mixed; do
    row "RLIMIT_DATA set at run time, $sizes blocks: NULL and ENOMEM, then on" exhaust $sizes 64 64
done
ulimit -S -d 65536
for sizes in small large mixed; do
    row "RLIMIT_DATA from the start, $sizes blocks: NULL and ENOMEM, then on" exhaust $sizes 60
done
ulimit -S -d unlimited

# --- Few mappings ---
for count in 300 100 60; do
    setting /proc/sys/vm/max_map_count $count
    row "max_map_count $count: large and huge blocks, refused at worst" mappings 6000
done
setting /proc/sys/vm/max_map_count 65530

# --- All memory locked ---
row "mlockall: 16 MiB in use cost at most 48 MiB" locked 49152

# --- A container's limit ---
mkdir $memory/tight $memory/control
for group in tight control; do
    setting $memory/$group/memory.max 256M
    setting $memory/$group/memory.swap.max 0 2>/dev/null
done
for mode in always madvise; do
    thp $mode
    in_group tight row "memory.max 256M, THP $mode: 100 MiB in use, going to 180 MiB and back" sawtooth 100 180 6
done
verdict "memory.max 256M: no process was killed" test "$(oom_kills tight)" = 0

# --- The line above which the kernel slows a container down, and the pressure that it reports ---
mkdir $memory/slow
setting $memory/slow/memory.high 192M
in_group slow row "memory.high 192M: 100 MiB in use, going to 180 MiB and back" sawtooth 100 180 4
verdict "memory.pressure of a group is there to be read" grep -q '^some avg10=' $memory/slow/memory.pressure
in_group control "$programs/sawtooth" 300 320 1 >/dev/null 2>&1
verdict "memory.max 256M does bite: a program with 300 MiB is killed" test "$(oom_kills control)" -ge 1
echo finished
