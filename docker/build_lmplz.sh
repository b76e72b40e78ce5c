#!/usr/bin/env bash
# Build KenLM's own lmplz (trains an n-gram model) and build_binary (packs its ARPA file) from the source release on Debian.
#
#   docker/build_lmplz.sh [--apt] PREFIX [WORK_DIR]
#
#   PREFIX    the two programs are written to PREFIX/bin
#   WORK_DIR  where the source is unpacked and compiled (default: a temporary directory, removed at the end)
#   --apt     first install the compiler and libraries with apt-get (needs root; the image build does this)
#
# JOBS=N sets how many compilers run at once (default 1, about two minutes of one core).
# Only the two programs are kept. Boost is linked in, so that a machine without Boost can run them.
set -euo pipefail

KENLM_VERSION=0.3.0
KENLM_SHA256=c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8
# CMake asks for the test library too, although we build no test.
PACKAGES=(g++ make cmake libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev
          zlib1g-dev libbz2-dev liblzma-dev)

fail() { echo "error: $*" >&2; exit 2; }
say() { echo "build_lmplz: $*"; }

install_packages=no
if [ "${1:-}" = --apt ]; then
    install_packages=yes
    shift
fi
case "${1:-}" in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    "") fail "where to? usage: $0 [--apt] PREFIX [WORK_DIR]" ;;
    -*) fail "unknown option $1" ;;
esac
mkdir -p "$1/bin"
prefix=$(cd "$1" && pwd)
python=${PYTHON:-python3}

if [ "$install_packages" = yes ]; then
    [ "$(id -u)" = 0 ] || fail "--apt needs root"
    say "installing ${PACKAGES[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}"
fi
for tool in g++ make cmake sha256sum; do
    command -v "$tool" >/dev/null || fail "$tool is missing; on Debian: apt-get install ${PACKAGES[*]}"
done

if [ -n "${2:-}" ]; then
    mkdir -p "$2"
    work=$(cd "$2" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
cd "$work"

archive=kenlm-$KENLM_VERSION.tar.gz
if [ ! -f "$archive" ]; then
    say "downloading $archive"
    "$python" -m pip download --quiet --no-deps --no-binary kenlm "kenlm==$KENLM_VERSION"
fi
echo "$KENLM_SHA256  $archive" | sha256sum --check --quiet || fail "$archive is not the file this script was tested with"

say "compiling with ${JOBS:-1} process(es)"
rm -rf "kenlm-$KENLM_VERSION"
tar xzf "$archive"
cmake -S "kenlm-$KENLM_VERSION" -B "kenlm-$KENLM_VERSION/build" \
    -DCMAKE_BUILD_TYPE=Release -DBoost_USE_STATIC_LIBS=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.10 >cmake.log \
    || fail "cmake failed; on Debian: apt-get install ${PACKAGES[*]}"
make -C "kenlm-$KENLM_VERSION/build" -j "${JOBS:-1}" lmplz build_binary

install -m 0755 "kenlm-$KENLM_VERSION/build/bin/lmplz" "kenlm-$KENLM_VERSION/build/bin/build_binary" "$prefix/bin/"

# A program that was linked but cannot train is worse than none: train a bigram model on nine words and pack it.
say "checking"
printf 'the cat sat\nthe dog sat\nthe cat ran\n' | "$prefix/bin/lmplz" -o 2 -S 64M --discount_fallback -T "$work/lm" \
    >check.arpa 2>check.log || fail "lmplz does not run: $(tail -n 1 check.log)"
grep -q '^ngram 1=8$' check.arpa || fail "lmplz counted other words than there are"
"$prefix/bin/build_binary" check.arpa check.bin >>check.log 2>&1 || fail "build_binary does not run: $(tail -n 1 check.log)"
say "done: $prefix/bin/lmplz, $prefix/bin/build_binary"
