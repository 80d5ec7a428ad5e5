#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs each program on the native library and through Weir and compares what they
# print, to the last bit.
#   compare.sh BUILD WEIR_ICD [PROGRAM…]
# Natively: with the loader's usual vendors, or those in NATIVE_VENDORS.
# Through Weir: with WEIR_ICD (a file or folder for OCL_ICD_VENDORS) alone; how to
# reach the mediator, the environment says (WEIR_SOCKET, or the device file).
set -u
build=$1 icd=$2
shift 2
here=$(dirname "$0")
[ $# -gt 0 ] || set -- hash mandelbrot nbody threads thousand churn memory images events callbacks order build link info exact \
	devices fork storm transfers errors modern deprecated arrays.py
python=${PYTHON:-/usr/bin/python3}
native=${NATIVE_VENDORS:-/etc/OpenCL/vendors}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
passed=0 failed=0 skipped=0

start() {
	case $1 in
	hash) "$build/hash" "${HASH_FILE:-/bin/busybox}" ;;
	*.py) "$python" "$here/$1" ;;
	*) "$build/$1" ;;
	esac
}

for program; do
	case $program in
	*.py)
		if ! "$python" -c 'import pyopencl' 2>/dev/null; then
			echo "skipped $program: there is no pyopencl"
			skipped=$((skipped + 1))
			continue
		fi ;;
	esac
	OCL_ICD_VENDORS=$native start "$program" >"$out/native" 2>"$out/native.err"
	native_status=$?
	OCL_ICD_VENDORS=$icd start "$program" >"$out/weir" 2>"$out/weir.err"
	weir_status=$?
	if [ $native_status = 0 ] && [ $weir_status = 0 ] && cmp -s "$out/native" "$out/weir"; then
		echo "passed  $program"
		passed=$((passed + 1))
	else
		echo "FAILED  $program: natively status $native_status, through Weir $weir_status"
		diff "$out/native" "$out/weir" | head -20
		head -5 "$out/native.err" "$out/weir.err"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
