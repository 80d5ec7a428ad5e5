/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the kernels that the module builds against. */
#ifndef _WEIR_COMPAT_H
#define _WEIR_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>
#include <linux/virtio_config.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
};
#endif

/**
 * weir_find_queues() - finds the two queues of a device
 * @vdev: the device
 * @queues: out: the queues
 * @info: their names and callbacks
 *
 * Return: 0 or an error.
 */
static inline int weir_find_queues(struct virtio_device *vdev, struct virtqueue *queues[2],
				   struct virtqueue_info info[2])
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	vq_callback_t *callbacks[] = { info[0].callback, info[1].callback };
	const char * const names[] = { info[0].name, info[1].name };

	return virtio_find_vqs(vdev, 2, queues, callbacks, names, NULL);
#else
	return virtio_find_vqs(vdev, 2, queues, info, NULL);
#endif
}

#endif /* _WEIR_COMPAT_H */
