#!/bin/sh
# A Sampan bundle: wheels, Debian packages and images for a machine without a network. Run it as root: `sh FILE --help`.
set -eu
to=/opt/sampan
packages=yes
only=
while [ $# -gt 0 ]; do
    case $1 in
        --to) [ $# -gt 1 ] || { echo "--to needs a directory" >&2; exit 2; }; to=$2; shift ;;
        --no-packages) packages=no ;;
        --check | --list) only=$1 ;;
        -h | --help)
            echo "usage: sh $0 [--to DIR] [--no-packages] [--check] [--list]"
            echo "  --to DIR       where Sampan goes [$to]"
            echo "  --no-packages  leave the Debian packages out"
            echo "  --check        compare every checksum, and do nothing else"
            echo "  --list         say what is in it"
            exit 0 ;;
        *) echo "$0: $1 is not known; --help shows what there is" >&2; exit 2 ;;
    esac
    shift
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
tail -n +@LINES@ "$0" | tar -xf - -C "$work" || { echo "$0 is not whole: copy it again" >&2; exit 1; }
cd "$work"
[ -f SHA256SUMS ] || { echo "$0 is not whole: it ends before its checksums" >&2; exit 1; }
sha256sum --check --quiet --strict SHA256SUMS || { echo "$0 is damaged: copy it again" >&2; exit 1; }
if [ "$only" = --check ]; then echo "every checksum is right"; exit 0; fi
if [ "$only" = --list ]; then cat manifest.json; ls wheels debs images; exit 0; fi
if [ $packages = yes ] && [ -n "$(ls debs)" ]; then
    command -v dpkg >/dev/null || { echo "there is no dpkg here: this is for Debian and Ubuntu; --no-packages leaves it out" >&2; exit 1; }
    wanted=
    for deb in debs/*.deb; do
        name=$(dpkg-deb --field "$deb" Package)
        # What is here already stays as it is: other programs stand on it.
        had=$(dpkg-query --show --showformat '${db:Status-Status}' "$name" 2>/dev/null || true)
        [ "$had" = installed ] && continue
        # A kubectl of another package is as good, and the two have a file in common.
        [ "$name" = kubernetes-client ] && command -v kubectl >/dev/null && continue
        wanted="$wanted $deb"
    done
    if [ -n "$wanted" ]; then
        echo "Installing $(echo $wanted | wc -w) Debian packages"
        # No service is to start by itself: Sampan runs its own.
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive dpkg --install $wanted >"$work/dpkg.log" 2>&1 ||
            { tail -20 "$work/dpkg.log" >&2; echo "dpkg says above what is in the way; --no-packages leaves the packages out" >&2; exit 1; }
    fi
fi
python=$(command -v "@PYTHON@" || command -v python3) || { echo "there is no @PYTHON@ here: the bundle's wheels are made for it" >&2; exit 1; }
have=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
[ "$have" = "@PYTHON@" ] || { echo "the bundle's wheels are for @PYTHON@, and there is $have only" >&2; exit 1; }
echo "Installing Sampan into $to"
"$python" -m venv "$to"
"$to/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links wheels --upgrade sampan
if [ -n "$(ls images)" ]; then
    mkdir -p "$to/images"
    cp images/* "$to/images/"
    echo "Images are in $to/images: \`$to/bin/sampan image import $to/images/*\` once the cluster runs"
fi
echo "Done: $to/bin/sampan up"
exit 0
