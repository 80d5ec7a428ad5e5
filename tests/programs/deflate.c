// SPDX-License-Identifier: Apache-2.0
// libdeflate as any program uses it: every format and level, small data and large, room that is too
// small, data that is corrupt, threads. Prints checksums of all that it gets.
#include <libdeflate.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct libdeflate_compressor compressor;
typedef struct libdeflate_decompressor decompressor;

struct format {
	const char *name;
	size_t (*bound)(compressor *, size_t);
	size_t (*compress)(compressor *, const void *, size_t, void *, size_t);
	enum libdeflate_result (*decompress)(decompressor *, const void *, size_t, void *, size_t, size_t *);
	enum libdeflate_result (*decompress_ex)(decompressor *, const void *, size_t, void *, size_t, size_t *,
						size_t *);
};

static const struct format formats[] = {
	{ "deflate", libdeflate_deflate_compress_bound, libdeflate_deflate_compress, libdeflate_deflate_decompress,
	  libdeflate_deflate_decompress_ex },
	{ "zlib", libdeflate_zlib_compress_bound, libdeflate_zlib_compress, libdeflate_zlib_decompress,
	  libdeflate_zlib_decompress_ex },
	{ "gzip", libdeflate_gzip_compress_bound, libdeflate_gzip_compress, libdeflate_gzip_decompress,
	  libdeflate_gzip_decompress_ex },
};

static unsigned char *text(size_t size)
{
	unsigned char *data = malloc(size + 1);
	unsigned x = 12345;

	for (size_t i = 0; data && i < size; i++) {
		x = x * 1103515245 + 12345;
		data[i] = 'a' + (x >> 16) % (1 + i / 64 % 20);
	}
	return data;
}

static unsigned sum(const void *data, size_t size)
{
	return libdeflate_crc32(0, data, size);
}

static void one(const struct format *format, int level, size_t size, FILE *out)
{
	compressor *c = libdeflate_alloc_compressor(level);
	decompressor *d = libdeflate_alloc_decompressor();
	unsigned char *data = text(size);
	size_t bound = format->bound(c, size), consumed = 7, written = 7;
	unsigned char *packed = malloc(bound + 16), *back = malloc(size + 16);

	if (!c || !d || !data || !packed || !back) {
		printf("no memory\n");
		exit(1);
	}
	memset(packed, 0xee, bound + 16);
	memset(back, 0xee, size + 16);
	size_t n = format->compress(c, data, size, packed, bound);
	fprintf(out, "%s %d %zu: bound %zu packed %zu sums %08x %08x", format->name, level, size, bound, n,
		sum(packed, n), libdeflate_adler32(1, packed, n));
	// Beyond what was written nothing is touched.
	fprintf(out, " tail %02x%02x", packed[bound], packed[bound + 15]);
	fprintf(out, " little room %zu", format->compress(c, data, size, back, n - 1));
	memset(back, 0xee, size + 16);
	fprintf(out, " exact %d", format->decompress(d, packed, n, back, size, NULL));
	fprintf(out, " same %d tail %02x", !memcmp(data, back, size), back[size]);
	fprintf(out, " more room %d", format->decompress(d, packed, n, back, size + 5, NULL));
	int result = format->decompress_ex(d, packed, n, back, size + 5, &consumed, &written);
	fprintf(out, " ex %d %zu %zu", result, consumed, written);
	if (size)
		fprintf(out, " less room %d", format->decompress(d, packed, n, back, size - 1, &written));
	fprintf(out, " cut %d", format->decompress(d, packed, n - 1, back, size, &written));
	packed[0] ^= 0xff;
	fprintf(out, " corrupt %d\n", format->decompress(d, packed, n, back, size, &written));
	libdeflate_free_compressor(c);
	libdeflate_free_decompressor(d);
	free(data);
	free(packed);
	free(back);
}

static void *thread(void *line)
{
	for (int i = 0; i < 20; i++) {
		FILE *out = fmemopen(line, 512, "w");

		one(&formats[i % 3], 1 + i % 9, 5000, out);
		fclose(out);
	}
	return NULL;
}

int main(void)
{
	static const size_t sizes[] = { 0, 1, 100, 4096, 4097, 70000, 500000 };
	static char lines[4][512];
	pthread_t threads[4];

	for (size_t f = 0; f < 3; f++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
			for (int level = 0; level <= 12; level += sizes[s] < 5000 ? 1 : sizes[s] < 100000 ? 4 : 6)
				one(&formats[f], level, sizes[s], stdout);
	// Levels that there are not.
	printf("level -1 %p, level 13 %p\n", (void *)libdeflate_alloc_compressor(-1),
	       (void *)libdeflate_alloc_compressor(13));
	printf("of nothing %x %x\n", libdeflate_crc32(5, NULL, 0), libdeflate_adler32(5, NULL, 0));
	libdeflate_free_compressor(NULL);
	libdeflate_free_decompressor(NULL);
	// More than one piece of a checksum.
	unsigned char *large = text(5 << 20);
	unsigned crc = libdeflate_crc32(0, large, 5 << 20), part = libdeflate_crc32(0, large, 3333333);
	printf("large %08x %08x %d\n", crc, libdeflate_adler32(1, large, 5 << 20),
	       crc == libdeflate_crc32(part, large + 3333333, (5 << 20) - 3333333));
	free(large);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, thread, lines[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		printf("thread %d: %s", i, lines[i]);
	return 0;
}
