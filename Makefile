# Bellows: the commands of a working copy. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PREFIX ?= /usr/local
DESTDIR ?=
# The toolchain of Debian-like images stands outside the PATH of a bare shell.
export PATH := $(PATH):/opt/swift/usr/bin

library := .build/release/libbellows-malloc.so
# The tool carries Swift's libraries in itself, so that it runs where no toolchain is.
standalone := --static-swift-stdlib

.PHONY: help build programs run test bench soak lint docs install uninstall clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "  PREFIX=$(PREFIX) and DESTDIR= say where install puts things."

build: ## The library libbellows-malloc.so and the tool bellows, both for release
	@Scripts/setup build
	swift build -c release --product bellows-malloc --disable-local-rpath
	swift build -c release --product bellows $(standalone)
	swift build -c release --product bellows-workload
	swift build -c release --product bellows-record --disable-local-rpath

programs: ## The C programs of the tests
	@if [ -f Tests/Programs/Makefile ]; then $(MAKE) -C Tests/Programs; fi

run: ## Redis loses most of its data, and sections go offline while it serves; glibc and jemalloc beside it
	@Scripts/setup run
	swift build -c release --product bellows-malloc --disable-local-rpath
	swift build -c release --product bellows $(standalone)
	@Scripts/redis-demo --library $(library) --tool .build/release/bellows

test: ## Every check there is, about 25 minutes on two cores
	@Scripts/setup test
	@Scripts/check-all

soak: ## The long variants of the tests, hours
	@Scripts/setup test
	@BELLOWS_SOAK=1 Scripts/check-all

lint: ## Formatting of the Swift sources, shellcheck of the scripts
	@Scripts/setup test
	@Scripts/check-lint

bench: ## Speed and give-back against other mallocs
	@Scripts/setup bench
	swift build -c release --product bellows-malloc --disable-local-rpath
	@Benchmarks/run

docs: ## The documentation as a web site in .build/docs
	@Scripts/make-docs .build/docs

install: build ## Library, header, pkg-config file, tool, man pages, completions into PREFIX
	swift build -c release --product generate-manual $(standalone)
	@Scripts/install "$(DESTDIR)" "$(PREFIX)"

uninstall: ## What install put there
	@Scripts/install --remove "$(DESTDIR)" "$(PREFIX)"

clean: ## What was built
	rm -rf .build .build-*
