# shellcheck shell=bash
# The self-test of Scripts/numa-vm: what comes back from the guest is exactly what the program did, and nothing stays behind.
# shellcheck disable=SC2154 # run, which sources this file, sets numa_vm, programs and scratch

# vm OPTIONS..: runs numa-vm, keeps its output and error output in $scratch and its status in `status`.
vm() {
    status=0
    "$numa_vm" "$@" >"$scratch/output" 2>"$scratch/errors" || status=$?
}

# expect_status N: the row passes if the last machine ended so.
expect_status() {
    if ((status == $1)); then pass; else fail "status $status instead of $1: $(tail -n 3 "$scratch/errors" | tr '\n' ' ')"; fi
}

expect_same() { if cmp -s "$1" "$2"; then pass; else fail "$(cmp "$1" "$2" 2>&1 || true)"; fi; }

expect_text() { if grep -qF -- "$2" "$1"; then pass; else fail "'$2' is not in: $(tail -n 3 "$1" | tr '\n' ' ')"; fi; }

# What does not need a machine: what is missing is said, with the status that scripts can tell apart.
machine_missing_rows() {
    local tool
    mkdir -p "$scratch/few-tools"
    for tool in bash readlink dirname; do ln -sf "$(command -v "$tool")" "$scratch/few-tools/$tool"; done
    row "numa-vm without QEMU: status 69"
    PATH=$scratch/few-tools vm -- "$programs/probe" exit 0
    expect_status 69
    row "numa-vm without QEMU says what to install"
    expect_text "$scratch/errors" "apt-get install qemu-system-x86"
    row "numa-vm --print-packages names QEMU"
    vm --print-packages
    expect_text "$scratch/output" qemu-system-x86
    row "numa-vm with a wrong option: status 64"
    vm --nodes none -- "$programs/probe" exit 0
    expect_status 64
}

machine_rows() {
    row "numa-vm without a kernel: status 69"
    BELLOWS_VM_KERNEL=/nowhere/vmlinuz vm -- "$programs/probe" exit 0
    expect_status 69

    # 200 kB of every byte value, standard error apart, then both on one line: compared with the same program on the host.
    row "numa-vm: exit status 0"
    "$programs/probe" bytes >"$scratch/host-output" 2>"$scratch/host-errors"
    vm --split -- "$programs/probe" bytes
    expect_status 0
    row "numa-vm --split: output to the byte"
    expect_same "$scratch/host-output" "$scratch/output"
    row "numa-vm --split: standard error to the byte"
    expect_same "$scratch/host-errors" "$scratch/errors"

    cat >"$scratch/both" <<'END'
"$1" bytes
echo "$NAME"
cat /sys/devices/system/node/online /sys/devices/system/node/node*/cpulist
exit 200
END
    local value="it's \"quoted\" \$here"
    row "numa-vm: exit status 200"
    vm --env "NAME=$value" --file "$programs/probe" --cpus 3 -- "$scratch/both" "$programs/probe"
    expect_status 200
    row "numa-vm: output and standard error in order, variables, two nodes with their processors"
    { "$programs/probe" bytes 2>&1; printf '%s\n' "$value" 0-1 0 1-2; } >"$scratch/host-both"
    expect_same "$scratch/host-both" "$scratch/output"

    cat >"$scratch/topology" <<'END'
cd /sys/devices/system/node
for node in node*; do echo "$node cpus '$(cat $node/cpulist)' distances $(cat $node/distance)"; done
exit 1
END
    row "numa-vm: exit status 1"
    vm --nodes 4 --cpuless 3 --memory 160 \
        --distance 0,1,21 0,2,31 0,3,40 1,0,25 1,2,21 1,3,40 2,3,44 -- "$scratch/topology"
    expect_status 1
    row "numa-vm: four nodes, one without processors, uneven distances"
    cat >"$scratch/expected" <<'END'
node0 cpus '0' distances 10 21 31 40
node1 cpus '1' distances 25 10 21 40
node2 cpus '2' distances 31 21 10 44
node3 cpus '' distances 40 40 44 10
END
    expect_same "$scratch/expected" "$scratch/output"

    cat >"$scratch/hot-plug" <<'END'
vm-monitor object_add memory-backend-ram,id=plugged,size=128M
vm-monitor device_add pc-dimm,id=slot,memdev=plugged,node=2
tries=0
until [ -e /sys/devices/system/node/node2 ] || [ $tries = 100 ]; do tries=$((tries + 1)); sleep 0.1; done
echo online_movable >"$(echo /sys/devices/system/node/node2/memory*/state)" && cat /sys/devices/system/node/online
END
    row "numa-vm --slots: a node plugged in while the machine runs"
    vm --nodes 3 --cpuless 2 --memory 200,200,0 --slots 2 --maxmem 1024 -- "$scratch/hot-plug"
    if [[ $status == 0 && $(<"$scratch/output") == 0-2 ]]; then pass; else fail "status $status, nodes '$(<"$scratch/output")'"; fi

    row "numa-vm: a program that ends by SIGSEGV: 139"
    vm -- "$programs/probe" segv
    expect_status 139
    row "numa-vm: a program that ends by a trap: 132"
    vm -- "$programs/probe" trap
    expect_status 132

    echo 'echo before; sleep 0.3; echo c >/proc/sysrq-trigger' >"$scratch/panic"
    row "numa-vm: a panic of the kernel: 125"
    vm -- "$scratch/panic"
    expect_status 125
    row "numa-vm: a panic is named"
    expect_text "$scratch/errors" "Kernel panic"
    row "numa-vm: what was written before a panic came back"
    expect_text "$scratch/output" before

    row "numa-vm: time limit: 124"
    echo 'sleep 1000' >"$scratch/sleep"
    vm --limit 5 --append "bellows.mark=$$" -- "$scratch/sleep"
    expect_status 124
    row "numa-vm: the time limit is named"
    expect_text "$scratch/errors" "time limit"

    machine_leaves_nothing KILL
    machine_leaves_nothing TERM
}

# What a runner leaves behind is found by a mark in its kernel arguments: other machines may run beside this test.
machine_leaves_nothing() {
    local signal=$1 mark="bellows.mark=$$-$1" runner tries=0
    mkdir -p "$scratch/tmp"
    TMPDIR=$scratch/tmp "$numa_vm" --append "$mark" -- "$scratch/sleep" >"$scratch/output" 2>&1 &
    runner=$!
    row "numa-vm: SIG$signal to the runner leaves no process and no file"
    until pgrep -f "qemu-system.*$mark" >/dev/null || ((tries++ >= 100)); do sleep 0.1; done
    if ((tries > 100)); then fail "the machine never started"; return; fi
    { kill "-$signal" "$runner" && wait "$runner"; } 2>/dev/null || true
    tries=0
    while [[ -n $(pgrep -f "$mark") || -n $(ls -A "$scratch/tmp") ]] && ((tries++ < 50)); do sleep 0.1; done
    if ((tries < 50)); then pass; else fail "left: $(pgrep -af "$mark" | cut -c 1-80) $(ls -A "$scratch/tmp")"; fi
}
