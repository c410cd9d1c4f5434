#!/usr/bin/env bash
# A git repository from nothing: hundreds of files, branches, a merge, gc, fsck, a clone.
set -euo pipefail
scale=${SCALE:-1}

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org
commit() {
  export GIT_AUTHOR_DATE="$1 +0000" GIT_COMMITTER_DATE="$1 +0000"
  git add -A
  git commit -q -m "$2"
}

git init -q -b main work
cd work
for ((i = 0; i < 400 * scale; i++)); do
  mkdir -p "d$((i % 17))"
  seq "$i" $((i + i % 300)) >"d$((i % 17))/file$i"
done
commit 1700000000 first
for round in {1..12}; do
  for ((i = round; i < 400; i += 13)); do echo "round $round" >>"d$((i % 17))/file$i"; done
  commit $((1700000000 + round * 60)) "round $round"
done
git checkout -q -b side HEAD~6
seq 100000 >large
commit 1700010000 side
git checkout -q main
export GIT_AUTHOR_DATE='1700020000 +0000' GIT_COMMITTER_DATE='1700020000 +0000'
git merge -q --no-edit side
git gc -q --aggressive
git fsck --full --strict --no-progress
git log --stat --format='%H %an %ad %s' --date=iso-strict | sha256sum
git log -p -M --all | sha256sum
git rev-parse HEAD
git grep -c 'round 7' | wc -l
git blame d1/file1 | cut -c1-8 | sort | uniq -c
git clone -q --no-local . ../copy
git -C ../copy rev-parse HEAD
git -C ../copy diff HEAD~3 | sha256sum
git archive HEAD | sha256sum
