#!/usr/bin/env bash
# build.sh: compiles the kernels to PTX, which is committed, since few have the compiler:
# any clang from 16 on that knows NVPTX, no CUDA toolkit. CLANG names another one.
# build.sh DIR leaves what it makes in DIR instead.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-.}
clang=${CLANG:-clang-16}
for source in *.cu; do
  name=${source%.cu}
  {
    echo "// Made of $source by build.sh. Do not edit."
    echo "// sources sha256:$(cat *.cuh "$source" | sha256sum | cut -d' ' -f1)"
    "$clang" -x cuda -nocudainc -nocudalib --cuda-device-only -S -O3 -std=c++17 -ffp-contract=off \
      --cuda-gpu-arch=sm_80 --cuda-feature=+ptx70 -o - "$source" | sed '/^\t*\/\/ \.globl/d'
  } >"$out/$name.ptx"
done
