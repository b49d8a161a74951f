#!/usr/bin/env bash
# Runs a fast part of the suite with the lowest and with the newest versions that pyproject.toml allows,
# once for each Python: tools/test_versions.sh 3.11 3.12. Needs uv and downloads torch for each Python.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- 3.11 3.12
for version in "$@"; do
  for resolution in lowest-direct highest; do
    echo "test-versions: Python $version, $resolution"
    uv venv --quiet --clear --python "$version" "$work/venv"
    uv pip compile --quiet --python "$work/venv" --resolution "$resolution" --only-binary :all: \
      --extra distributed --extra excel --extra safetensors --extra tensorboard \
      --output-file "$work/$version-$resolution.txt" pyproject.toml
    uv pip install --quiet --python "$work/venv" --requirement "$work/$version-$resolution.txt" \
      filelock hypothesis pytest pytest-timeout pytest-xdist scikit-learn
    uv pip install --quiet --python "$work/venv" --no-deps --editable .
    # old releases warn about their own dependencies, which is no failure of ours
    "$work/venv/bin/python" -m pytest -q -p no:cacheprovider -o filterwarnings=default \
      -n logical --maxprocesses 8 --dist worksteal \
      tests/datasets/store tests/pipelines/prepare tests/aclnet/training tests/cli
  done
done
