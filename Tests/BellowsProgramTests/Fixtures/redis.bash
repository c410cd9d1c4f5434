#!/usr/bin/env bash
# A Redis server under load: known data goes in, redis-benchmark churns around it, the known data must come out.
# What is printed is the same on each run, so that two runs can be compared byte for byte.
set -euo pipefail
scale=${SCALE:-1}

server=
trap 'kill -KILL $server 2>/dev/null || true' EXIT
for _ in {1..20}; do
  port=$((20000 + RANDOM % 12000))
  redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$PWD" \
    --enable-debug-command local --loglevel warning >server.log &
  server=$!
  for _ in {1..100}; do
    [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && break 2
    kill -0 "$server" 2>/dev/null || break # the port was taken
    sleep 0.1
  done
done
redis() { redis-cli -p "$port" "$@"; }
bench() {
  redis-benchmark -p "$port" -q --threads 2 -c 20 -P 16 -r 50000 "$@" >>bench.log
}

# 20,000 values of 1 byte to 16 KiB and some structures, in a database of their own.
known() {
  awk 'BEGIN {
    print "SELECT 1"
    unit = "0123456789abcdef"; filler = unit
    while (length(filler) < 16384) filler = filler filler
    for (i = 0; i < 20000; i++) {
      size = 1 + (i * 7919) % (i % 50 ? 700 : 16384)
      print "SET s:" i " " substr(filler, 1, size)
      print "RPUSH l:" i % 40 " " substr(filler, 1, size % 200 + 1)
      print "HSET h:" i % 60 " f" i " " i
      print "ZADD z:" i % 10 " " (i * 31) % 997 " m" i
      print "APPEND a:" i % 30 " " substr(filler, 1, size % 300 + 1)
    }
  }' | redis >known.log
  if grep -i err known.log; then return 1; fi
}
content() {
  redis debug digest
  redis -n 1 dbsize
  redis -n 1 strlen a:7
  redis -n 1 get s:4242 | cksum
  redis -n 1 lrange l:3 0 -1 | cksum
  redis -n 1 hgetall h:5 | sort | cksum
  redis -n 1 zrange z:2 0 -1 withscores | cksum
}

redis select 0
known
content
for size in 3 100 1000 10000; do
  bench -t set,get,lpush -d "$size" -n $((25000 * scale))
done
bench -t lrange_100,lrange_300 -n $((2000 * scale))
bench -t sadd,hset,zadd,incr,mset -d 50 -n $((25000 * scale))
if grep -iE 'error|refused|reset' bench.log; then exit 1; fi

echo "the benchmark's keys go, ours stay"
redis -n 0 flushdb
content
echo "all goes, and comes back"
redis flushall
redis debug digest
known
content
redis -n 1 flushall async
redis -n 1 dbsize
redis shutdown nosave
wait "$server" && echo "the server ended with status 0"
server=
if grep -iE 'crash|assert|stack trace|out of memory|signal' server.log; then exit 1; fi
