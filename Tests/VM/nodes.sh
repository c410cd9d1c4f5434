# shellcheck shell=bash
# The rows that need several nodes: the suite NodeMachineTests of the Swift test bundle, one machine for each group of rows.
# shellcheck disable=SC2154 # run, which sources this file, sets numa_vm and package

# bundle_rows MACHINE OPTIONS..: boots a machine, runs the suite there, and counts each test that is not skipped as a row.
bundle_rows() {
    local machine=$1 line status=1 seen=''
    local bundle=$package/.build/debug/bellowsPackageTests.xctest
    shift
    row "nodes, $machine"
    if [[ ! -f $bundle ]]; then skip "there is no $bundle: swift build --build-tests"; return; fi
    while IFS= read -r line; do
        if [[ $line =~ Test\ ([A-Za-z]+\(\))\ (passed|failed)\ after ]]; then
            seen=1
            row "nodes, $machine: ${BASH_REMATCH[1]}"
            if [[ ${BASH_REMATCH[2]} == passed ]]; then pass; else fail "see above"; fi
        elif [[ $line == "end "* ]]; then
            status=${line#end }
        elif [[ $line == *"recorded an issue"* || $line == "numa-vm:"* || $line == *rror:* ]]; then
            echo "      $line"
        fi
    done < <("$numa_vm" "$@" --limit 180 --env "BELLOWS_TEST_MACHINE=$machine" -- \
        "$bundle" --testing-library swift-testing --filter NodeMachineTests 2>&1 && echo "end 0" || echo "end $?")
    row "nodes, $machine"
    if [[ $status == 0 && -n $seen ]]; then pass "the suite ended"; else fail "status $status, ${seen:-no} test seen"; fi
}

# near_rows MACHINE WHAT.. -- OPTIONS..: boots a machine and asks where the memory of malloc lies there.
near_rows() {
    local machine=$1 what=()
    shift
    while [[ $1 != -- ]]; do what+=("$1"); shift; done
    shift
    row "near, $machine: preloaded library"
    if [[ ! -f $library ]]; then skip "there is no $library"; return; fi
    guest_rows "near, $machine" "$@" --limit 300 --file "$library" --file "$programs" -- \
        "$here/near.sh" "$(realpath -s "$library")" "$programs" "${what[@]}"
}

# The tool from outside: one machine.
outside_rows() {
    local tool=$package/.build/debug/bellows
    row "outside: the tool and the preloaded library"
    if [[ ! -f $library || ! -f $tool ]]; then skip "there is no $library, or no $tool"; return; fi
    guest_rows outside --nodes 2 --memory 900 --limit 120 --file "$library" --file "$programs" --file "$tool" -- \
        "$here/outside.sh" "$(realpath -s "$library")" "$programs" "$tool"
}

nodes_rows() {
    local libnuma
    # shellcheck disable=SC2054 # the commas belong to each distance
    local uneven=(0,1,15 0,2,25 0,3,40 1,2,25 1,3,40 2,3,17)
    libnuma=$(ldconfig -p | sed -n 's/.*libnuma\.so\.1 .*=> //p' | head -n 1)
    local with_libnuma=()
    [[ -z $libnuma ]] || with_libnuma=(--file "$(readlink -f "$libnuma"):/usr/lib/x86_64-linux-gnu/libnuma.so.1")
    # The guest's disk is in its memory, some 200 MiB of it on whichever node: the others must have room besides.
    near_rows two local moved across abandoned policy drain:load drain:locked drain:shared drain:deadline drain:free \
        sandbox:alone sandbox:all sandbox:before -- --nodes 2 --memory 900
    near_rows four local moved drain:load -- --nodes 4 --cpuless 3 --memory 640,500,500,160 --distance "${uneven[@]}"
    near_rows full full drain:full -- --nodes 2 --memory 900,128
    near_rows plug drain:plug -- --nodes 2 --memory 900,0 --slots 2 --maxmem 4096
    outside_rows
    bundle_rows two --nodes 2 --memory 900 "${with_libnuma[@]}"
    bundle_rows four --nodes 4 --cpuless 3 --memory 640,500,500,160 --distance "${uneven[@]}" "${with_libnuma[@]}"
    bundle_rows full --nodes 2 --memory 900,128
    bundle_rows cpuset --nodes 2 --memory 900,300
    bundle_rows hotplug --nodes 3 --cpuless 2 --memory 900,300,0 --slots 2 --maxmem 4096
}
