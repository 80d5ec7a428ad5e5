#!/bin/sh
# What each guest of the demo runs: it brings the accelerator up as the package for guests would, then
# runs programs that know nothing of Weir.
set -e
step() { echo "demo: $*"; }

step "loading the guest module"
sh /weir/setup
step "clinfo -l"
clinfo -l
cd /weir/programs
step "hashing $(wc -c </weir/lib/libweir_opencl.so) bytes on the device, and again on the processor"
./hash /weir/lib/libweir_opencl.so
step "PyOpenCL"
python3 ./arrays.py
