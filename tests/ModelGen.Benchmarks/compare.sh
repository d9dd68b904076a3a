#!/usr/bin/env bash
# Measures every row of the speed table beside its peer, alternating within one run, and prints the comparison as Markdown.
# It installs nothing: what is missing is named, and its columns stay empty.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
compare.sh [--rows ROW,…] [--rounds N] [--no-aot] [--no-peers] [--no-build] [--prefix COMMAND] [--results FILE] [--libtorch PROGRAM] [--onnxruntime] [--llama2 PROGRAM --llama2-model FILE]

  --rows          the rows to measure, with commas between; see `dotnet run -c Release -- list`. Default: all
  --rounds        how often each row is measured on each side, in turn. Default: 3
  --no-aot        leave out the NativeAOT column
  --no-peers      leave out PyTorch, libtorch, ONNX Runtime and llama2.c
  --no-build      take the programs as they were last built
  --prefix        a command that every measurement is run through, such as "taskset -c 0,1"
  --results       keep the measurements, one line of JSON each, in this file; it is added to
  --libtorch      a second peer: peers/libtorch as published, or a command that runs it
  --onnxruntime   measure ONNX Runtime in the row encoder: build peers/onnxruntime, whose package takes 390 MB, and have PyTorch export its models
  --llama2        a compiled run.c of llama2.c, and its stories260K.bin, for the row decode-260k
  --llama2-model

The environment variable PYTHON names a Python that has PyTorch; without it, those on the PATH are tried.
TEXT
}

all_rows=calibration,gpt2-step,matmul,attention,chargpt-step,adamw,decode-gpt2,prefill-gpt2,encoder,lstm-step,seq2seq-step,transformer-step,lstm-cell,mlp-step,decode-260k,memory,scaling
rows=$all_rows rounds=3 aot=1 peers=1 build=1 prefix=() results= libtorch=() onnxruntime=0 llama2= llama2_model=
while (($#)); do
  case $1 in
    --rows) rows=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --no-aot) aot=0 ;;
    --no-peers) peers=0 ;;
    --no-build) build=0 ;;
    --prefix) read -ra prefix <<<"$2"; shift ;;
    --results) results=$2; shift ;;
    --libtorch) read -ra libtorch <<<"$2"; shift ;;
    --onnxruntime) onnxruntime=1 ;;
    --llama2) llama2=$2; shift ;;
    --llama2-model) llama2_model=$2; shift ;;
    --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
IFS=, read -ra rows <<<"$rows"
for row in "${rows[@]}"; do
  [[ ,$all_rows, == *",$row,"* ]] || { echo "there is no row $row; there are: ${all_rows//,/ }" >&2; exit 2; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "$results" ] || results=$work/results.jsonl
touch "$results"
note() { echo "compare: $*" >&2; }

# What is there.
jit=bin/Release/net10.0/ModelGen.Benchmarks
aot_folder=../../artifacts/aot/compare
if ((build)); then
  note "building"
  dotnet build -c Release -v quiet -p:RunAnalyzers=false >&2
fi
if ((aot)) && ! command -v clang >/dev/null && ! command -v gcc >/dev/null; then
  note "no clang and no gcc: NativeAOT cannot link, its column stays empty"
  aot=0
fi
if ((aot && build)); then
  note "publishing with NativeAOT, as the package's users get it"
  dotnet publish -c Release -v quiet -p:RunAnalyzers=false -p:Aot=true -o "$aot_folder/256" >&2 || { note "that failed: the NativeAOT column stays empty"; aot=0; }
fi
native=0
if ((aot)) && [[ $("$jit" measure lstm-cell --repeats 1) == *AVX-512* ]]; then
  native=1
  if ((build)); then
    note "publishing with NativeAOT, for this processor"
    dotnet publish -c Release -v quiet -p:RunAnalyzers=false -p:Aot=true -p:IlcInstructionSet=native -o "$aot_folder/native" >&2 || { note "that failed: its column stays empty"; native=0; }
  fi
fi

python=
((peers)) || llama2=
if ((peers)); then
  while read -r candidate; do
    if "$candidate" -c 'import torch' 2>/dev/null; then python=$candidate; break; fi
  done < <(if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"; else type -ap python3 || true; fi)
  # Debian's PyTorch takes whichever BLAS is installed; with the reference one its products are some thirty times slower than at its best.
  if [ -z "$python" ]; then
    note "no Python with PyTorch: the peers' column stays empty (Debian and Ubuntu: python3-torch and libopenblas0-pthread)"
  elif ! "$python" -c 'import sys, torch
torch.ones(2, 2) @ torch.ones(2, 2)
fast = torch.backends.mkl.is_available() or any(name in line for line in open("/proc/self/maps") for name in ("openblas", "mkl", "blis"))
sys.exit(not fast)'; then
    note "$python has a PyTorch with a reference BLAS, which is no peer: its column stays empty (Debian and Ubuntu: libopenblas0-pthread)"
    python=
  fi
  [ -n "$llama2" ] || note "no --llama2: decode-260k is compared with the figure of another machine"
fi

# The folder lies where a Python in a changed root sees it too.
onnx_models=../../artifacts/onnx onnx_program=../../artifacts/onnxruntime/onnxruntime
((peers)) || onnxruntime=0
if ((onnxruntime && build)); then
  note "exporting for ONNX Runtime"
  if [ -z "$python" ]; then
    note "that takes PyTorch: ONNX Runtime's column stays empty"
    onnxruntime=0
  elif ! { dotnet build peers/onnxruntime -c Release -v quiet -o "${onnx_program%/*}" && "$jit" export "$onnx_models" && PYTHONDONTWRITEBYTECODE=1 "$python" peers/export_onnx.py "$onnx_models"; } >&2; then
    note "that failed: ONNX Runtime's column stays empty"
    onnxruntime=0
  fi
fi

# One measurement: side, then the command. Its lines go to the results, or its failure to the standard error.
failures=0
run() {
  local side=$1
  shift
  if ! ${prefix[@]+"${prefix[@]}"} "$@" >"$work/lines" 2>"$work/problems"; then
    note "$side failed: $* ($(tail -n 1 "$work/problems"))"
    failures=$((failures + 1))
    return
  fi
  cat "$work/lines" >>"$results"
}

ours() { # side, program, row, round
  local bits=
  [[ $1 == jit-256 ]] && bits=256
  run "$1" env ${bits:+MODELGEN_VECTOR_BITS=$bits} "$2" measure "$3" --side "$1" --round "$4"
}

# PyTorch at its best. Its two thread pools otherwise wait for each other in busy loops; OpenBLAS finds the quickest kernels by itself; and
# the allocator must keep what is freed, where it otherwise returns every large tensor to the system and faults it in again, page by page:
# that alone was seen to make a GPT-2 step take four times as long.
torch_environment=(-u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0
  MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456 PYTHONDONTWRITEBYTECODE=1)
torch() { # row, threads, round
  run torch env "${torch_environment[@]}" OMP_NUM_THREADS="$2" OPENBLAS_NUM_THREADS="$2" "$python" "peers/$1.py" --threads "$2" --round "$3"
}

libtorch() { # row, threads, round
  run libtorch env "${torch_environment[@]}" OMP_NUM_THREADS="$2" MKL_NUM_THREADS="$2" "${libtorch[@]}" "$1" --threads "$2" --round "$3"
}

llama2() { # round
  local rate
  if rate=$(${prefix[@]+"${prefix[@]}"} env OMP_NUM_THREADS=1 "$llama2" "$llama2_model" -t 0 -n 256 2>&1 | sed -n 's/.*tok\/s: *\([0-9.]*\).*/\1/p') && [ -n "$rate" ]; then
    awk -v rate="$rate" -v round="$1" 'BEGIN { printf "{\"row\":\"decode-260k\",\"case\":\"\",\"side\":\"llama2.c\",\"round\":%d,\"threads\":1,\"runtime\":\"llama2.c\",\"tokens\":1,\"seconds\":[%.9g],\"values\":{}}\n", round, 1 / rate }' >>"$results"
  else
    note "llama2.c failed"
    failures=$((failures + 1))
  fi
}

first=$(awk 'BEGIN { RS = "," } /"round":/ { split($0, part, ":"); if (part[2] + 0 > last) last = part[2] + 0 } END { print last + 1 }' "$results")
for ((round = first; round < first + rounds; round++)); do
  for row in "${rows[@]}"; do
    note "round $((round - first + 1)) of $rounds: $row (${SECONDS}s)"
    if [ -n "$python" ] && [ -f "peers/$row.py" ]; then
      # What one thread does is measured with one: OpenBLAS takes its number from the environment.
      case $row in
        matmul | adamw | encoder) torch "$row" 1 $round && torch "$row" 2 $round ;;
        mlp-step) torch "$row" 1 $round ;;
        *) torch "$row" 2 $round ;;
      esac
    fi
    if ((${#libtorch[@]} && peers)); then
      case $row in lstm-step | seq2seq-step | transformer-step) libtorch "$row" 2 $round ;; esac
    fi
    if ((onnxruntime)) && [[ $row == encoder ]]; then run onnxruntime "$onnx_program" "$onnx_models" --round $round; fi
    ours jit "$jit" "$row" $round
    [[ $row == decode-260k && -n $llama2 ]] && llama2 $round
    case $row in calibration | memory | scaling) continue ;; esac
    if ((aot)); then
      ours jit-256 "$jit" "$row" $round
      ours aot-256 "$aot_folder/256/ModelGen.Benchmarks" "$row" $round
    fi
    if ((native)); then ours aot-native "$aot_folder/native/ModelGen.Benchmarks" "$row" $round; fi
  done
done

processor=$(lscpu 2>/dev/null | sed -n 's/^Model name: *//p' | head -n 1)
caches=$(lscpu 2>/dev/null | sed -n 's/^\(L[123]d\{0,1\}\)[^:]*: *\(.*\)/\1 \2/p' | paste -sd ';' - | sed 's/;/, /g')
echo "Machine: ${processor:-unknown processor}, $(nproc) cores${caches:+ ($caches)}, $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(uname -sr)."
"$jit" report "$results"
((failures == 0)) || note "$failures measurements failed"
note "done in ${SECONDS}s"
((failures == 0))
