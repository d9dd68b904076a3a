#!/usr/bin/env bash
# What a machine with a GPU runs: gpu-check, and PyTorch's side of the figures where PyTorch is installed.
# bash tests/gpu-check/on-device.sh out/gpu-check results: results/card.json (written anew behind every row), card.csv, pytorch.json, and what both said meanwhile.
# Under seven minutes: gpu-check ends within three.
set -u
program=$(realpath "$1")
results=$2
mkdir -p "$results"
chmod +x "$program"
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv > "$results/card.csv" 2>&1
timeout 200 "$program" "$results/card.json" 2> "$results/gpu-check.log"
status=$?
cat "$results/gpu-check.log"
if python3 -c 'import torch' 2> /dev/null; then
  timeout 210 python3 "$(dirname "$0")/pytorch.py" > "$results/pytorch.json" 2> "$results/pytorch.log"
  cat "$results/pytorch.log"
fi

exit $status
