#!/usr/bin/env bash
# swiftc -O compiles a generated program of medium size and a service with Foundation, and both run.
#
#   swift.bash FOLDER      (with service.swift and generate-swift.pl)
set -euo pipefail
scale=${SCALE:-1}

perl "$1/generate-swift.pl" $((24 * scale)) >shapes.swift
cp "$1/service.swift" .
swiftc -O -module-cache-path "$HOME/modules" shapes.swift -o shapes
swiftc -O -swift-version 6 -parse-as-library -module-cache-path "$HOME/modules" service.swift -o service
./shapes
./service
