#!/usr/bin/env bash
# What a GPU is worth, on a machine that has Python, PyTorch with CUDA and no network.
#
#   benchmarks/accelerator.sh WHEELS RESULTS SECONDS [LEARNER:SEED ...]
#
# installs the packages in the folder WHEELS beside those that are there, checks every learner on the GPU against the
# processor, prints steps per second of both, and trains cells of ML10 (suite reference-ml10 with device: cuda), one
# after the other, until SECONDS have passed since the start. RESULTS takes an archive of every cell; called again with
# the same folder, a cell goes on from there. Without a CUDA device the checks are skipped and cells train on the
# processor (DEVICE=cpu chooses that).
#
# To fill WHEELS where there is a network, for the other machine's Python (here 3.12):
#   grep -v '^torch==' requirements.lock > lock.txt
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 -r lock.txt -d WHEELS
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
fi
begin=$(date +%s)
here=$(cd "$(dirname "$0")/.." && pwd)
wheels=$(cd "$1" && pwd)
mkdir -p "$2"
results=$(cd "$2" && pwd)
limit=$3
shift 3
for cell in "$@"; do
    if ! [[ $cell =~ ^[a-z0-9_-]+:[0-9]+$ ]]; then
        echo "accelerator.sh: '$cell' is no cell; write LEARNER:SEED, as in rl2:0" >&2
        exit 2
    fi
done
left() { echo $((limit - $(date +%s) + begin)); }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if compgen -G "$wheels/*.whl" > /dev/null; then
    python3 -m pip install --quiet --no-index --no-deps --target "$work/packages" "$wheels"/*.whl
fi
export PYTHONPATH="$here:$work/packages"
device=${DEVICE:-$(python3 -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')}
cd "$here"
python3 - << 'END'
import os, torch
print(f"{os.cpu_count()} cores, PyTorch {torch.__version__}, {torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device'}")
END

if [ "$device" = cuda ]; then
    echo "== every learner on the GPU against the processor"
    timeout "$(left)" python3 -m pytest -q -p no:cacheprovider tests/contract/test_devices.py
fi
echo "== steps per second (benchmarks/learners.py)"
for where in cpu $([ "$device" = cpu ] || echo "$device"); do
    timeout "$(left)" python3 -m benchmarks.learners --device "$where" --steps 2 ${LEARNERS_OPTIONS:-}
done

sed "s/^name: .*/&\ndevice: $device/" "$here/config/suites/reference-ml10.yaml" > "$work/reference-ml10.yaml"
for cell in "$@"; do
    learner=${cell%:*} seed=${cell##*:}
    folder="results/reference-ml10/ml10/$learner/seed-$seed"
    archive="$results/reference-ml10-$learner-$seed.tar.gz"
    if [ -f "$archive" ]; then tar -xzf "$archive" -C "$work"; fi
    echo "== $cell, $(left) s left"
    [ "$(left)" -gt 0 ] || break
    # SIGTERM has a training write its checkpoint before it ends, with status 143.
    status=0
    (cd "$work" && timeout --signal TERM "$(left)" python3 -m kshot train reference-ml10.yaml --family ml10 \
        --algorithm "$learner" --seed "$seed") || status=$?
    if [ "$status" = 0 ] && [ "$(left)" -gt 0 ]; then
        (cd "$work" && timeout --signal TERM "$(left)" python3 -m kshot evaluate reference-ml10.yaml --family ml10 \
            --algorithm "$learner" --seed "$seed") || status=$?
    fi
    if [ -d "$work/$folder" ]; then
        tar -czf "$archive.new" -C "$work" "$folder" && mv "$archive.new" "$archive"
    fi
    case $status in 0 | 124 | 143) ;; *) exit "$status" ;; esac
done
echo "== archives"
ls -l "$results"
