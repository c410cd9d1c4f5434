# shellcheck shell=dash
# Runs in the guest: a live process empties a node of its heap when the tool asks. usage: outside.sh LIBRARY PROGRAM-DIRECTORY TOOL.
# Says what near.sh says.
library=$1 programs=$2 tool=$3
BELLOWS_CONTROL=1 LD_PRELOAD=$library "$programs/drain" hold >/tmp/hold 2>&1 &
process=$!
tries=0
until grep -q ready /tmp/hold || [ $tries = 200 ]; do tries=$((tries + 1)); sleep 0.1; done

# row NAME STATUS WORDS ARGUMENTS..: passes if the tool ends so, says these words, and the process goes on.
row() {
    echo "row $1"
    local wanted=$2 words=$3
    shift 3
    "$tool" "$@" >/tmp/output 2>&1
    local status=$?
    if [ $status != "$wanted" ]; then
        echo "fail status $status; $(tail -n 5 /tmp/output | tr '\n' ' ')"
    elif ! grep -q "$words" /tmp/output; then
        echo "fail '$words' is not in: $(tail -n 12 /tmp/output | tr '\n' ' ')"
    elif ! kill -0 $process || [ "$(cat /tmp/hold)" != ready ]; then
        echo "fail the process says: $(cat /tmp/hold)"
    else
        echo "pass $(head -n 1 /tmp/output | cut -c 1-100)"
    fi
}
row "numa drain" 0 '"onNodeAfter":0,' numa drain $process --node 1 --json
row "numa drain, again: nothing to move" 0 "nothing of its heap is on node 1" numa drain $process --node 1
row "numa drain of the last node" 1 "no other one to move to" numa drain $process --node 0
row "numa drain --home" 0 "node 1 serves again, [1-9]" numa drain $process --node 1 --home
row "numa drain past its deadline" 1 "not reached" numa drain $process --node 1 --deadline 0
kill $process
echo finished
