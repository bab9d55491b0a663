#!/usr/bin/env bash
# The tests marked cuda, then the tables of docs/results.md that need a GPU; about ten minutes.
#
#     benchmarks/gpu.sh [TABLE]                      # on a machine with a GPU; WRITE=--write puts the tables into the page
#     DEVICE=cpu TINY=1 benchmarks/gpu.sh [TABLE]    # does it run? the smallest sizes, on a CPU; its figures mean nothing
#
# TABLE has the columns file, category, attributes and split. Weights are random but for tf_efficientnet_lite0, so that
# nothing has to be downloaded; speed does not depend on them.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
device=${DEVICE:-cuda}
table=${1:-}
failed=0

run() { # print the command and its time, go on if it fails
    echo "== $*"
    local started=$SECONDS
    "$@" || { echo "failed: $*"; failed=1; }
    echo "== $((SECONDS-started)) s"
}
train() { # ARCHITECTURE SIZE BATCH WEIGHTS
    run "$python" benchmarks/train_throughput.py ${table:+"$table"} --device "$device" --arch "$1" --sizes "$2" --bs "$3" \
        --weights "$4" $rounds ${WRITE:-}
}

if [ -n "${TINY:-}" ]; then
    rounds='--rounds 1 --batches 1'
    [ "$device" = cuda ] && run "$python" -m pytest -q -m cuda tests
    train test_resnet 32 8 none
    run "$python" benchmarks/gpu_decode.py ${table:+"$table"} --device "$device" --size 32 --n 16 --rounds 1
    exit $failed
fi

rounds='--rounds 5 --batches 12'
[ "$device" = cuda ] && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv
run "$python" -m pytest -q -m cuda tests
train tf_efficientnet_lite0 128 128 package
train resnet50 224 128 none
train convnext_tiny 224 128 none
train vit_base_patch16_224 224 64 none
run "$python" benchmarks/gpu_decode.py ${table:+"$table"} --device "$device" ${WRITE:-}
run "$python" benchmarks/time_to_quality.py ${table:+"$table"} ${WRITE:-}
run "$python" -m fashion_fastai.cli bodies --measure
exit $failed
