// SPDX-License-Identifier: Apache-2.0
/* Hashes a file in pieces on the device and compares with the CPU: hash FILE */
#include "common.h"

#define PIECE 4096

static const char source[] =
	"kernel void hash(global const uchar *data, ulong size, uint piece, global ulong *hashes)\n"
	"{\n"
	"	ulong begin = get_global_id(0) * (ulong)piece;\n"
	"	ulong end = min(begin + piece, size);\n"
	"	ulong h = 0xcbf29ce484222325ul;\n"
	"	for (ulong i = begin; i < end; i++)\n"
	"		h = (h ^ data[i]) * 0x100000001b3ul;\n"
	"	hashes[get_global_id(0)] = h;\n"
	"}\n";

int main(int argc, char **argv)
{
	FILE *file = fopen(argc > 1 ? argv[1] : argv[0], "rb");
	size_t room = 64 << 20, size, pieces;
	unsigned char *data = malloc(room);
	uint64_t *hashes;

	if (!file || !data)
		FAIL("cannot read %s", argv[1]);
	size = fread(data, 1, room, file);
	fclose(file);
	CHECK(size > 0);
	pieces = (size + PIECE - 1) / PIECE;
	hashes = calloc(pieces, sizeof(*hashes));

	setup();
	cl_command_queue queue = make_queue(0);
	cl_program program = build(source, "");
	cl_kernel kernel = make_kernel(program, "hash");
	cl_mem in = make_buffer(CL_MEM_READ_ONLY, size, NULL);
	cl_mem out = make_buffer(CL_MEM_WRITE_ONLY, pieces * sizeof(*hashes), NULL);
	cl_ulong length = size;
	cl_uint piece = PIECE;

	CL(clEnqueueWriteBuffer(queue, in, CL_FALSE, 0, size, data, 0, NULL, NULL));
	CL(clSetKernelArg(kernel, 0, sizeof(in), &in));
	CL(clSetKernelArg(kernel, 1, sizeof(length), &length));
	CL(clSetKernelArg(kernel, 2, sizeof(piece), &piece));
	CL(clSetKernelArg(kernel, 3, sizeof(out), &out));
	CL(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &pieces, NULL, 0, NULL, NULL));
	CL(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, pieces * sizeof(*hashes), hashes, 0, NULL,
			       NULL));

	for (size_t i = 0; i < pieces; i++) {
		size_t begin = i * PIECE, end = begin + PIECE < size ? begin + PIECE : size;

		if (hashes[i] != fnv(data + begin, end - begin))
			FAIL("piece %zu of %zu is wrong", i, pieces);
	}
	printf("%zu bytes, %zu pieces, hash of hashes %016llx\n", size, pieces,
	       (unsigned long long)fnv(hashes, pieces * sizeof(*hashes)));

	CL(clReleaseMemObject(in));
	CL(clReleaseMemObject(out));
	CL(clReleaseKernel(kernel));
	CL(clReleaseProgram(program));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
