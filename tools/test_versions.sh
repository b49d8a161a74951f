#!/usr/bin/env bash
# Runs the fast part of the suite with the oldest and with the newest dependencies that pyproject.toml
# allows, for each Python: tools/test_versions.sh [3.11 3.12]. Needs uv; downloads torch for each Python.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- 3.11 3.12
for version in "$@"; do
  for resolution in lowest-direct highest; do
    echo "test-versions: Python $version, $resolution"
    uv venv --quiet --clear --python "$version" "$work/venv"
    # the tools of the tests are the newest in both cases
    uv pip compile --quiet --python "$work/venv" --resolution "$resolution" --only-binary :all: \
      --extra safetensors --output-file "$work/versions.txt" pyproject.toml
    uv pip install --quiet --python "$work/venv" --requirement "$work/versions.txt" \
      filelock hypothesis pytest pytest-timeout pytest-xdist
    uv pip install --quiet --python "$work/venv" --no-deps --editable .
    "$work/venv/bin/python" -m pytest -q -p no:cacheprovider -n logical --maxprocesses 8 \
      tests/datasets/store tests/pipelines tests/aclnet tests/cli
  done
done
