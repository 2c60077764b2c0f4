#!/bin/sh
# Build an image where no container registry can be reached, and run its entry point: the base is made with debootstrap,
# the build runs in a chroot. Needs root on Debian, with debootstrap and buildah:
#   apt-get install buildah debootstrap
#   docker/build-offline.sh services                   # or worker-cpu, worker-cuda
# Further arguments go to buildah, e.g. --volume or --build-arg.
set -eu
cd "$(dirname "$0")/.."

image=${1:?services, worker-cpu or worker-cuda}
shift
release=${DEBIAN_RELEASE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
base=localhost/debian-python:$release
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    rootfs=$(mktemp -d)
    trap 'rm -rf "$rootfs"' EXIT
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$rootfs" "$mirror"
    rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/*
    made=$(buildah from scratch)
    buildah add -q "$made" "$rootfs" /
    buildah commit -q --rm "$made" "$base"
fi

buildah bud --layers --format docker --file "docker/$image.Dockerfile" --build-arg "BASE_IMAGE=$base" \
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" --tag "synerdiff-$image" "$@" .

container=$(buildah from "synerdiff-$image")
buildah inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}' "$container"
buildah run "$container" -- id
buildah run "$container" -- synerdiff --version
buildah run "$container" -- synerdiff doctor
buildah rm "$container" >/dev/null
