#!/usr/bin/env bash
# Unpack servers that are not Python packages under .tox/servers, for tests/integration, tests/faults and plugins.
#
# Nothing is installed. The script names unavailable servers and exits with 0: their tests are skipped, or fail in
# `.ci/run`. A failed download is retried once.
# A plugin that needs another server adds a line at the end. Tests find it in $AIOAPICLIENT_TEST_SERVERS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/.tox/servers
mkdir -p "$folder/packages"

# twice COMMAND...: run it, and once more if it fails.
twice() {
    "$@" || { sleep 5 && "$@"; }
}

fetch() {
    # As another user, apt-get may lack permission to write here.
    (cd "$folder/packages" && timeout 120 apt-get -qq -o APT::Sandbox::User=root "$@")
}

# debian PROGRAM OPTION PACKAGE...: unpack these packages of the system's own Debian, unless PROGRAM starts already.
# OPTION makes the program print its version and end.
debian() {
    local program=$folder/$1 option=$2 package
    shift 2
    if "$program" "$option" >/dev/null 2>&1; then return; fi
    if ! command -v dpkg-deb >/dev/null; then
        missing "$program" "this is not a Debian system"
        return
    fi
    rm -f "$folder"/packages/*.deb
    if ! fetch download "$@" && ! { twice fetch update && twice fetch download "$@"; }; then
        missing "$program" "a package cannot be downloaded"
        return
    fi
    for package in "$folder"/packages/*.deb; do dpkg-deb --extract "$package" "$folder"; done
    find_libraries_of "$program"
    # The tests would find a program that lacks a system library, and fail.
    "$program" "$option" >/dev/null 2>&1 || missing "$program" "it does not start on this system"
}

# The linker does not search the program's own library folder: start it through a script that sets the path.
find_libraries_of() {
    mv -f "$1" "$1.program"
    cat >"$1" <<'SCRIPT'
#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH=$(echo "$here"/../lib/*-linux-gnu)
export LD_LIBRARY_PATH
exec "$0.program" "$@"
SCRIPT
    chmod +x "$1"
}

# npm_ci FOLDER: install what FOLDER/package-lock.json names; its programs are in .tox/servers/NAME/node_modules/.bin.
npm_ci() {
    local target=$folder/${1##*/}
    mkdir -p "$target"
    if cmp -s "$1/package-lock.json" "$target/package-lock.json" && [ -d "$target/node_modules" ]; then return; fi
    cp "$1/package.json" "$1/package-lock.json" "$target"
    (cd "$target" && twice timeout 300 npm ci --silent --no-audit --no-fund --ignore-scripts \
        --cache "$folder/npm-cache") ||
        missing "$target/node_modules" "npm cannot install it"
}

# missing FILE REASON
missing() {
    rm -rf "$1" "$1.program"
    echo "${1##*/servers/} is missing: $2." >&2
}

debian usr/bin/docker-registry --version docker-registry
debian usr/sbin/nginx -v nginx libnginx-mod-nchan
debian usr/sbin/haproxy -v haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
debian usr/bin/redis-server --version redis-server redis-tools libatomic1 libjemalloc2 liblzf1
# A server from npm is a folder `servers/NAME` of a plugin's tests, with a package.json and a package-lock.json.
for lock in middleware/*/tests/servers/*/package-lock.json; do
    if [ -f "$lock" ]; then npm_ci "$(dirname "$lock")"; fi
done
rm -rf "$folder/packages"
