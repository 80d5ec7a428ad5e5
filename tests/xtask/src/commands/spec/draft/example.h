/* A library that there is not, for the test of drafts: something of each kind that is guessed or is not. */
#include <stddef.h>
#include <stdint.h>

typedef uint32_t ex_flags;
typedef struct _ex_device *ex_device;
typedef struct ex_queue ex_queue;
struct ex_extent {
	size_t width, height;
};
enum ex_result {
	EX_SUCCESS,
	EX_INVALID_VALUE = -30,
	EX_INVALID_DEVICE,
	EX_INVALID_QUEUE = -28,
	EX_OUT_OF_MEMORY,
};
#define EX_FAST (1u << 3)
#define EX_VERSION_TEXT "1.0"

int ex_get_devices(uint32_t num_devices, ex_device *devices, uint32_t *num_devices_ret);
int ex_get_info(ex_device device, int name, size_t value_size, void *value, size_t *value_size_ret);
ex_queue *ex_create_queue(ex_device device, ex_flags flags, int *errcode_ret);
void ex_retain_queue(ex_queue *queue);
int ex_release_queue(ex_queue *queue);
int ex_write(ex_queue *queue, const void *in, size_t in_size, ex_device *made);
int ex_build(ex_queue *queue, unsigned count, const char **strings, const size_t *lengths,
	     const char *options);
int ex_notify(ex_queue *queue, void (*notify)(ex_queue *, void *), void *user_data);
int ex_resize(ex_queue *queue, const struct ex_extent *extent, double *ratio);
size_t ex_bound(ex_queue *queue, unsigned long type);
int ex_print(const char *format, ...);
