#!/usr/bin/env bash
# Builds the image from a directory that has ca-certificates.crt and bramble-<arch> for each architecture:
#
#   tools/image.sh DIRECTORY IMAGE ARCH...
#
# With buildah, or docker if that is not installed. Several architectures become one manifest list.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: tools/image.sh DIRECTORY IMAGE ARCH..." >&2; exit 2; }
context=$1 image=$2
shift 2
dockerfile="$(cd "$(dirname "$0")/.." && pwd)/Dockerfile"

if command -v buildah >/dev/null; then
	if [ $# = 1 ]; then
		buildah build --platform "linux/$1" --build-arg "TARGETARCH=$1" -f "$dockerfile" -t "$image" "$context"
		exit
	fi
	# A list that is there already would keep its old entries; what has its name may also be an image of one architecture.
	buildah manifest rm "$image" >/dev/null 2>&1 || buildah rmi "$image" >/dev/null 2>&1 || true
	for arch in "$@"; do
		buildah build --platform "linux/$arch" --build-arg "TARGETARCH=$arch" -f "$dockerfile" --manifest "$image" "$context"
	done
elif command -v docker >/dev/null; then
	platforms=$(printf ',linux/%s' "$@")
	docker buildx build --load --platform "${platforms#,}" -f "$dockerfile" -t "$image" "$context"
else
	echo "buildah or docker is needed to build an image (Debian: apt-get install buildah)" >&2
	exit 1
fi
