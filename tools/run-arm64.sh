#!/usr/bin/env bash
# Runs build/bramble-arm64 on another architecture under qemu's user mode emulation, for tests: BRAMBLE_BIN=tools/run-arm64.sh.
exec qemu-aarch64-static "$(dirname "$0")/../build/bramble-arm64" "$@"
