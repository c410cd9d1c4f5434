#!/usr/bin/env bash
# Thousands of forks, pipes, here-documents and arrays of bash itself.
set -euo pipefail
scale=${SCALE:-1}

sum=0
for ((i = 0; i < 2500 * scale; i++)); do
  # shellcheck disable=SC2005,SC2116 # the fork is the point
  sum=$((sum + $(echo $((i + 1)))))
done
echo "sum $sum"

declare -A words
for ((i = 0; i < 40000; i++)); do words[w$((i * 7919 % 10007))]+="$i,"; done
for word in "${!words[@]}"; do printf '%s %s\n' "$word" "${words[$word]}"; done | sort | sha256sum

for ((i = 0; i < 300 * scale; i++)); do
  (exec /bin/true) & # several at once
  (((i + 1) % 20)) || wait
done
wait

text=
for ((i = 0; i < 3000; i++)); do text+="line $i"$'\n'; done
while read -r line; do
  if [[ $line =~ ^line\ ([0-9]+)7$ ]]; then echo "${BASH_REMATCH[1]}"; fi
done <<<"$text" | tail -n 3

# shellcheck disable=SC2016 # the inner shell expands it
seq 200 | xargs -n 1 -P 4 sh -c 'exec test "$0" -gt 0'
seq 200000 | sort -rn | awk '{ s += $1 * NR % 7 } END { print s }'
