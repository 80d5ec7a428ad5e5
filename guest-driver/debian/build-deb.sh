#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the package that turns a Debian system into a Weir guest: sources of the
# kernel module for DKMS, the libraries, and what makes both found.
#
#   build-deb.sh VERSION FOLDER OUTPUT.deb
#
# FOLDER holds libweir_opencl.so and, as libweir_NAME.so, each library that stands in
# for the one of its soname.
#
# Needs dpkg-deb only, and no root. The same input gives the same package.
set -eu

if [ $# -ne 3 ]; then
	echo "usage: $0 VERSION FOLDER OUTPUT.deb" >&2
	exit 2
fi
version=$1
libraries=$2
output=$3
here=$(cd "$(dirname "$0")" && pwd)
module=$here/../module
: "${SOURCE_DATE_EPOCH:=$(git -C "$here" log -1 --format=%ct -- "$here/.." 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH

case $version in
[0-9]*) ;;
*)
	echo "$0: '$version' is no package version: it must begin with a digit" >&2
	exit 2
	;;
esac
if [ ! -f "$libraries/libweir_opencl.so" ]; then
	echo "$0: there is no library '$libraries/libweir_opencl.so'" >&2
	exit 2
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# put MODE SOURCE TARGET: installs a file; @VERSION@ in it becomes the version.
put() {
	mkdir -p "$root/$(dirname "$3")"
	sed "s/@VERSION@/$version/g" "$2" >"$root/$3"
	chmod "$1" "$root/$3"
}

src=usr/src/weir-$version
for file in "$module"/*.[ch] "$module/Kbuild" "$module/Makefile" "$module/dkms.conf"; do
	put 644 "$file" "$src/${file##*/}"
done
put 644 "$module/uapi/weir.h" "$src/uapi/weir.h"
put 644 "$module/uapi/weir.h" usr/include/weir/weir.h

mkdir -p "$root/usr/lib/x86_64-linux-gnu/weir"
install -m 644 "$libraries/libweir_opencl.so" "$root/usr/lib/x86_64-linux-gnu/weir/libweir_opencl.so"
# Apart from the system's: a program gets them where somebody says so.
mkdir -p "$root/usr/lib/weir"
install -m 644 "$libraries/libweir_libdeflate.so" "$root/usr/lib/weir/libdeflate.so.0"
put 644 "$here/weir.icd" etc/OpenCL/vendors/weir.icd
put 644 "$here/60-weir.rules" usr/lib/udev/rules.d/60-weir.rules
put 644 "$here/copyright" usr/share/doc/weir-guest/copyright

put 644 "$here/control" DEBIAN/control
put 644 "$here/conffiles" DEBIAN/conffiles
put 755 "$here/postinst" DEBIAN/postinst
put 755 "$here/prerm" DEBIAN/prerm
put 755 "$here/postrm" DEBIAN/postrm
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -i "s/@SIZE@/$size/" "$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -print | sed 's|^\./||' | LC_ALL=C sort |
	xargs md5sum) >"$root/DEBIAN/md5sums"

find "$root" -type d -exec chmod 755 {} +
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$(dirname "$output")"
dpkg-deb --root-owner-group --build "$root" "$output"
