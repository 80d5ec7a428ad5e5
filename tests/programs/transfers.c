// SPDX-License-Identifier: Apache-2.0
/* Reads and writes of many sizes, blocking and not, many under way at once. */
#include "common.h"

#define LARGEST (24u << 20)
#define AT_ONCE 32

int main(void)
{
	static const size_t sizes[] = {
		1, 2, 3, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20,
		(1 << 20) + 13, LARGEST,
	};
	unsigned char *sent = malloc(LARGEST), *got = malloc(LARGEST);
	uint32_t state = 7;

	for (size_t i = 0; i < LARGEST; i++)
		sent[i] = next_random(&state) >> 3;
	setup();
	cl_command_queue queue = make_queue(0);
	cl_mem buffer = make_buffer(CL_MEM_READ_WRITE, LARGEST + 64, NULL);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t size = sizes[i], offset = i * 4;

		for (int blocking = 0; blocking < 2; blocking++) {
			unsigned char *from = malloc(size);
			cl_event event;

			memcpy(from, sent + i + blocking, size - 1);
			from[size - 1] = 0x42;
			memset(got, 0, size);
			CL(clEnqueueWriteBuffer(queue, buffer, blocking, offset, size, from, 0, NULL,
						NULL));
			CL(clEnqueueReadBuffer(queue, buffer, blocking, offset, size, got, 0, NULL,
					       &event));
			CL(clWaitForEvents(1, &event));
			CL(clReleaseEvent(event));
			if (memcmp(got, from, size) != 0)
				FAIL("%zu bytes, blocking %d", size, blocking);
			free(from);
		}
		printf("%zu bytes: %016llx\n", size, (unsigned long long)fnv(got, size));
	}

	/* Many under way, ended by one finish. */
	for (int round = 0; round < 20; round++) {
		size_t piece = 100000 + round;

		memset(got, 0, piece * AT_ONCE);
		for (int i = 0; i < AT_ONCE; i++)
			CL(clEnqueueWriteBuffer(queue, buffer, CL_FALSE, i * piece, piece,
						sent + i * piece + round, 0, NULL, NULL));
		for (int i = 0; i < AT_ONCE; i++)
			CL(clEnqueueReadBuffer(queue, buffer, CL_FALSE, i * piece, piece,
					       got + i * piece, 0, NULL, NULL));
		CL(clFinish(queue));
		for (int i = 0; i < AT_ONCE; i++)
			if (memcmp(got + i * piece, sent + i * piece + round, piece) != 0)
				FAIL("piece %d of round %d", i, round);
	}
	printf("%d at once\n", AT_ONCE);
	CL(clReleaseMemObject(buffer));
	CL(clReleaseCommandQueue(queue));
	teardown();
	return 0;
}
