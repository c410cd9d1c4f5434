# shellcheck shell=dash
# Runs in the guest: where the memory of malloc lies. usage: near.sh LIBRARY PROGRAM-DIRECTORY WHAT.. WHAT is an argument of near, or
# PROGRAM:ARGUMENT. Each row says `row NAME`, then
# `pass` or `fail` and why; the last line is `finished`.
set -o pipefail
library=$1 programs=$2
shift 2
for what in "$@"; do
    echo "row $what"
    case $what in *:*) program=${what%%:*} ;; *) program=near ;; esac
    # Two rows compare what is resident: nothing is to go back meanwhile. In the others that is part of it.
    case $what in across | abandoned) delay=3600000 ;; *) delay=250 ;; esac
    {
        BELLOWS_PURGE_DELAY=$delay EXPECT_PRELOADED=${library##*/} LD_PRELOAD=$library timeout 1000 "$programs/$program" "${what#*:}" 2>&1 >&3 | tail -n 3 >/tmp/errors
    } 3>&1 | tail -n 3 >/tmp/output
    status=$?
    if [ $status = 0 ] && [ ! -s /tmp/errors ]; then
        echo "pass $(tail -n 1 /tmp/output)"
    else
        echo "fail status $status; $(cat /tmp/output /tmp/errors | tr '\n' ' ')"
    fi
done
echo finished
