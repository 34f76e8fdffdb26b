#!/usr/bin/env bash
# All that we ask of a GPU, in at most nine minutes: bash benchmarks/gpu.sh
# bash benchmarks/gpu.sh --dry tries every stage on a CPU in a tiny size, and keeps no record.
# A stage ends when its seconds are over; what it has measured by then is in benchmarks/results/gpu.csv.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
slower=1
[ "${1:-}" = --dry ] && slower=10
folder=$(mktemp -d)  # 20 GB of noise: set TMPDIR to a disk that has them
trap 'rm -rf "$folder"' EXIT
export SOUNDFUSION_DATA=$folder/data SOUNDFUSION_RESULTS=$folder/results
failed=0
stage() {
    local seconds=$(($1 * slower))
    shift
    echo "== $* (at most $seconds s)"
    timeout --kill-after=5 $seconds "$python" "$@" || { echo "ended with status $?"; failed=1; }
}
stage 40 -m pytest -q tests/test_gpu.py
stage 70 benchmarks/gpu.py noise "$@"  # makes what the others measure on
stage 170 benchmarks/gpu.py networks "$@"
stage 40 benchmarks/gpu.py batches "$@"
stage 60 benchmarks/gpu.py together "$@"
stage 110 benchmarks/gpu.py notebooks "$@"
stage 50 benchmarks/gpu.py steps "$@"  # last, as compiling may take long
exit $failed
