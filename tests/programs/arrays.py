#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyOpenCL as Debian packages it: a kernel of one's own, arrays, and transfers under way."""

import hashlib

import numpy as np
import pyopencl as cl
import pyopencl.array as cla

platform = cl.get_platforms()[0]
device = platform.get_devices()[0]
context = cl.Context([device])
queue = cl.CommandQueue(
    context, properties=cl.command_queue_properties.PROFILING_ENABLE
)


def tell(what, array):
    print(f"{what}: {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}")


rng = np.random.RandomState(42)
a = rng.rand(100_000).astype(np.float32)
b = rng.rand(100_000).astype(np.float32)

program = cl.Program(
    context,
    """
    kernel void add(global const float *a, global const float *b, global float *c, float k)
    {
        int i = get_global_id(0);
        c[i] = a[i] + k * b[i];
    }
    """,
).build()
flags = cl.mem_flags
a_dev = cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=a)
b_dev = cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=b)
c_dev = cl.Buffer(context, flags.WRITE_ONLY, a.nbytes)
kernel = cl.Kernel(program, "add")
event = kernel(queue, a.shape, None, a_dev, b_dev, c_dev, np.float32(2))
c = np.empty_like(a)
copied = cl.enqueue_copy(queue, c, c_dev, is_blocking=False, wait_for=[event])
copied.wait()
assert event.profile.end >= event.profile.start > 0
np.testing.assert_allclose(c, a + 2 * b, rtol=1e-6)
tell("kernel", c)

x = cla.to_device(queue, rng.randint(0, 1000, 50_000).astype(np.int32))
y = 3 * x + 7 - x * x
tell("array", y.get())
assert (y.get() == 3 * x.get() + 7 - x.get() * x.get()).all()
total = cla.sum(x).get()
assert int(total) == int(x.get().sum())
print("sum:", int(total))

mapped, event = cl.enqueue_map_buffer(
    queue, c_dev, cl.map_flags.READ, 0, c.shape, c.dtype, is_blocking=True
)
assert (mapped == c).all()
mapped.base.release(queue)
queue.finish()

try:
    cl.Program(context, "kernel void broken() { nonsense; }").build()
    raise SystemExit("what does not compile was built")
except cl.RuntimeError as error:
    assert "nonsense" in str(error)
print("ok")
