#!/bin/bash
# Builds third-party S3 and GCS servers for test/object-store/real-servers.test.ts: all, or those named as arguments, unless they
# are built already. Into $MIRRORFS_REAL_SERVERS (default: ~/.cache/mirrorfs-real-servers). Needs Go; takes minutes the first time.
set -euo pipefail

target=${MIRRORFS_REAL_SERVERS:-$HOME/.cache/mirrorfs-real-servers}
servers=(
  versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
  fake-gcs-server=github.com/fsouza/fake-gcs-server@v1.56.1
  minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
)

command -v go >/dev/null || { echo "go is not installed: see https://go.dev/doc/install, or your distribution's golang package" >&2; exit 1; }
mkdir -p "$target"
for server in "${servers[@]}"; do
  name=${server%%=*} module=${server#*=}
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  # A file beside the binary holds its version, so that a changed version above is built again.
  [ -x "$target/$name" ] && [ "$(cat "$target/$name.version" 2>/dev/null)" = "$module" ] && continue
  echo "building $module (once)" >&2
  GOBIN=$target GOFLAGS=-mod=mod nice -n 19 go install "$module"
  echo "$module" >"$target/$name.version"
done
