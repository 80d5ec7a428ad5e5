// SPDX-License-Identifier: GPL-2.0
/*
 * Accelerators that a hypervisor shares: finding the device, and losing it.
 *
 * The driver moves no data and knows no API. It gives each open file an arena
 * in the device's window, passes announcements on, and puts waiting threads to
 * sleep until the device says that something in an arena has changed.
 */
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#ifdef CONFIG_X86
#include <asm/pgtable.h>
#endif

#include "compat.h"
#include "driver.h"

static DEFINE_IDA(weir_indices);

/* Held around every use of a device's virtqueues and window. */
DEFINE_STATIC_SRCU(weir_srcu);

/**
 * weir_enter() - begins a use of a device
 * @dev: the device
 * @idx: out: for weir_exit()
 *
 * Until weir_exit(), the device will not be taken apart. Sections may sleep,
 * but must not wait for an answer of the device.
 *
 * Return: false if the device is gone; then there is no section to leave.
 */
bool weir_enter(struct weir_device *dev, int *idx)
{
	*idx = srcu_read_lock(&weir_srcu);
	if (likely(!READ_ONCE(dev->gone)))
		return true;
	srcu_read_unlock(&weir_srcu, *idx);
	return false;
}

/**
 * weir_exit() - ends what weir_enter() began
 * @idx: from weir_enter()
 */
void weir_exit(int idx)
{
	srcu_read_unlock(&weir_srcu, idx);
}

/**
 * weir_break() - gives up on a device that does not work
 * @dev: the device, between weir_enter() and weir_exit()
 * @why: what it did, for the log
 *
 * All clients get EIO from now on. Unbinding and binding the driver resets the
 * device.
 */
void weir_break(struct weir_device *dev, const char *why)
{
	if (xchg(&dev->broken, true))
		return;
	dev_err(&dev->vdev->dev, "%s; giving up on the device\n", why);
	virtio_break_device(dev->vdev);
	wake_up_all(&dev->room);
	wake_up_all(&dev->wakes);
}

static void weir_device_free(struct kref *ref)
{
	struct weir_device *dev = container_of(ref, struct weir_device, ref);

	weir_submit_free(dev);
	kfree(dev);
}

/**
 * weir_device_put() - drops a reference
 * @dev: the device
 */
void weir_device_put(struct weir_device *dev)
{
	kref_put(&dev->ref, weir_device_free);
}

/*
 * Workers raise the configuration interrupt as a wake-up: it has a vector of
 * its own and needs no entry in a used ring. Sleepers look for themselves.
 */
static void weir_config_changed(struct virtio_device *vdev)
{
	struct weir_device *dev = vdev->priv;

	wake_up_all(&dev->wakes);
}

static int weir_read_config(struct weir_device *dev)
{
	struct virtio_device *vdev = dev->vdev;
	struct weir_info *info = &dev->info;

	virtio_cread_le(vdev, struct weir_virtio_config, version, &info->version);
	virtio_cread_le(vdev, struct weir_virtio_config, max_clients, &info->max_clients);
	virtio_cread_le(vdev, struct weir_virtio_config, window_size, &info->window_size);
	virtio_cread_le(vdev, struct weir_virtio_config, arena_max, &info->arena_max);
	virtio_cread_le(vdev, struct weir_virtio_config, arena_default, &info->arena_default);
	virtio_cread_bytes(vdev, offsetof(struct weir_virtio_config, name),
			   info->name, sizeof(info->name));
	virtio_cread_bytes(vdev, offsetof(struct weir_virtio_config, api),
			   info->api, sizeof(info->api));
	info->name[sizeof(info->name) - 1] = 0;
	info->api[sizeof(info->api) - 1] = 0;

	if (info->version != WEIR_VERSION) {
		dev_err(&vdev->dev, "the device speaks version %u, this driver version %u\n",
			info->version, WEIR_VERSION);
		return -EPROTONOSUPPORT;
	}
	return 0;
}

/* Whether the window got the caching that was asked for: x86 falls back silently. */
static bool weir_window_cached(void *window)
{
#ifdef CONFIG_X86
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)window, &level);

	return pte && !(pte_flags(*pte) & (_PAGE_PWT | _PAGE_PCD));
#else
	return true;
#endif
}

/*
 * Maps the whole window. That gives the kernel its view of the arenas'
 * headers, and reserves the window's memory type: without, pages inserted into
 * a process would be uncached.
 */
static int weir_map_window(struct weir_device *dev)
{
	struct device *parent = &dev->vdev->dev;
	struct virtio_shm_region region;

	if (!virtio_get_shm_region(dev->vdev, &region, WEIR_SHM_WINDOW)) {
		dev_err(parent, "the device has no window\n");
		return -ENXIO;
	}
	if (!PAGE_ALIGNED(region.addr) || region.len < dev->info.window_size) {
		dev_err(parent, "the window at %pa lacks some of its %llu bytes\n",
			&region.addr, dev->info.window_size);
		return -ENXIO;
	}
	if (!devm_request_mem_region(parent, region.addr, region.len, "weir"))
		return -EBUSY;
	dev->window = devm_memremap(parent, region.addr, region.len, MEMREMAP_WB);
	if (IS_ERR(dev->window))
		return PTR_ERR(dev->window);
	dev->window_phys = region.addr;

	if (weir_window_cached(dev->window))
		dev->info.flags |= WEIR_INFO_CACHED;
	else
		dev_warn(parent, "the window is mapped uncached, copying will be slow: the machine's MTRRs do not make it write-back\n");
	return 0;
}

static int weir_register(struct weir_device *dev)
{
	dev->index = ida_alloc(&weir_indices, GFP_KERNEL);
	if (dev->index < 0)
		return dev->index;
	snprintf(dev->misc_name, sizeof(dev->misc_name), "weir%d", dev->index);
	dev->misc.minor = MISC_DYNAMIC_MINOR;
	dev->misc.name = dev->misc_name;
	dev->misc.fops = &weir_fops;
	dev->misc.parent = &dev->vdev->dev;
	/* Like a render node: clients are isolated from each other by the device. */
	dev->misc.mode = 0666;
	return 0;
}

static int weir_probe(struct virtio_device *vdev)
{
	struct virtqueue_info queues[WEIR_QUEUES] = {
		[WEIR_QUEUE_CONTROL] = { .name = "control", .callback = weir_control_interrupt },
		[WEIR_QUEUE_SUBMIT] = { .name = "submit", .callback = weir_submit_interrupt },
	};
	struct virtqueue *vqs[WEIR_QUEUES];
	struct weir_device *dev;
	int ret;

	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "not a virtio 1 device\n");
		return -ENODEV;
	}

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	kref_init(&dev->ref);
	dev->vdev = vdev;
	vdev->priv = dev;
	spin_lock_init(&dev->control_lock);
	spin_lock_init(&dev->submit_lock);
	init_waitqueue_head(&dev->room);
	init_waitqueue_head(&dev->wakes);
	mutex_init(&dev->files_lock);
	INIT_LIST_HEAD(&dev->files);

	ret = weir_read_config(dev);
	if (ret)
		goto put;
	ret = weir_map_window(dev);
	if (ret)
		goto put;
	ret = weir_register(dev);
	if (ret)
		goto put;

	ret = weir_find_queues(vdev, vqs, queues);
	if (ret)
		goto free_index;
	dev->control = vqs[WEIR_QUEUE_CONTROL];
	dev->submit = vqs[WEIR_QUEUE_SUBMIT];
	ret = weir_submit_init(dev);
	if (ret)
		goto del_queues;

	/* Files may be opened, and queues used, from misc_register() on. */
	virtio_device_ready(vdev);
	ret = misc_register(&dev->misc);
	if (ret)
		goto reset;

	dev_info(&vdev->dev, "%s: accelerator %s (%s), window of %llu MiB at %pa\n",
		 dev->misc_name, dev->info.name, dev->info.api,
		 dev->info.window_size >> 20, &dev->window_phys);
	return 0;

reset:
	virtio_reset_device(vdev);
del_queues:
	vdev->config->del_vqs(vdev);
free_index:
	ida_free(&weir_indices, dev->index);
put:
	weir_device_put(dev);
	return ret;
}

/*
 * Open files may outlive the device: they keep struct weir_device, but get
 * ENODEV. The order here is what makes that safe.
 */
static void weir_remove(struct virtio_device *vdev)
{
	struct weir_device *dev = vdev->priv;
	struct weir_file *file;

	/* Nobody comes in, and whoever is in leaves. */
	misc_deregister(&dev->misc);
	WRITE_ONCE(dev->gone, true);
	synchronize_srcu(&weir_srcu);

	/* The device forgets all clients; its interrupts have ended on return. */
	virtio_reset_device(vdev);
	weir_control_drain(dev);
	vdev->config->del_vqs(vdev);

	wake_up_all(&dev->room);
	wake_up_all(&dev->wakes);

	/* No new page is inserted by now; take back those that were. */
	mutex_lock(&dev->files_lock);
	list_for_each_entry(file, &dev->files, node)
		unmap_mapping_range(file->mapping, 0, 0, 1);
	mutex_unlock(&dev->files_lock);

	ida_free(&weir_indices, dev->index);
	weir_device_put(dev);
}

#ifdef CONFIG_PM_SLEEP
/* What a client holds lives on the host; no driver could bring it back. */
static int weir_freeze(struct virtio_device *vdev)
{
	dev_info(&vdev->dev, "an accelerator cannot be suspended\n");
	return -EBUSY;
}

static int weir_restore(struct virtio_device *vdev)
{
	return 0;
}
#endif

static const struct virtio_device_id weir_ids[] = {
	{ WEIR_VIRTIO_ID, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, weir_ids);

static struct virtio_driver weir_driver = {
	.driver.name = KBUILD_MODNAME,
	.id_table = weir_ids,
	.probe = weir_probe,
	.remove = weir_remove,
	.config_changed = weir_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = weir_freeze,
	.restore = weir_restore,
#endif
};
module_virtio_driver(weir_driver);

MODULE_DESCRIPTION("Accelerators shared by the Weir hypervisor");
MODULE_AUTHOR("The Weir authors");
MODULE_LICENSE("GPL");
