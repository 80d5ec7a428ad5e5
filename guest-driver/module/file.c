// SPDX-License-Identifier: GPL-2.0
/* What user space calls. */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "driver.h"

static int weir_open(struct inode *inode, struct file *filp)
{
	/* The misc core put it there, and keeps the device registered meanwhile. */
	struct weir_device *dev = container_of(filp->private_data, struct weir_device, misc);
	struct weir_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

	if (!file)
		return -ENOMEM;
	kref_get(&dev->ref);
	file->dev = dev;
	file->mapping = filp->f_mapping;
	mutex_init(&file->start_lock);
	mutex_lock(&dev->files_lock);
	list_add_tail(&file->node, &dev->files);
	mutex_unlock(&dev->files_lock);

	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int weir_release(struct inode *inode, struct file *filp)
{
	struct weir_file *file = filp->private_data;
	struct weir_device *dev = file->dev;

	weir_client_end(file);
	mutex_lock(&dev->files_lock);
	list_del(&file->node);
	mutex_unlock(&dev->files_lock);
	mutex_destroy(&file->start_lock);
	kfree(file);
	weir_device_put(dev);
	return 0;
}

/* Return: 0 if the calling process is the client that @file stands for. */
static int weir_file_client(const struct weir_file *file)
{
	/* Pairs with the store in weir_client_start(). */
	if (!smp_load_acquire(&file->started))
		return -ENOTCONN;
	return file->mm == current->mm ? 0 : -EPERM;
}

static long weir_ioctl_start(struct weir_file *file, void __user *user)
{
	struct weir_start args;
	int ret;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	ret = weir_client_start(file, &args);
	if (ret)
		return ret;
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static long weir_ioctl_submit(struct weir_file *file, void __user *user)
{
	struct weir_submit args;
	int ret = weir_file_client(file);

	if (ret)
		return ret;
	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	return weir_submit(file, &args);
}

static long weir_ioctl_wait(struct weir_file *file, void __user *user)
{
	struct weir_wait args;
	int ret = weir_file_client(file);

	if (ret)
		return ret;
	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	return weir_wait(file, &args);
}

static long weir_ioctl_ack_events(struct weir_file *file, u32 __user *user)
{
	int ret = weir_file_client(file);
	u32 events;

	if (ret)
		return ret;
	if (get_user(events, user))
		return -EFAULT;
	WRITE_ONCE(file->acked, events);
	return 0;
}

static long weir_ioctl(struct file *filp, unsigned int request, unsigned long arg)
{
	struct weir_file *file = filp->private_data;
	void __user *user = (void __user *)arg;

	if (READ_ONCE(file->dev->gone))
		return -ENODEV;
	switch (request) {
	case WEIR_IOC_INFO:
		if (copy_to_user(user, &file->dev->info, sizeof(file->dev->info)))
			return -EFAULT;
		return 0;
	case WEIR_IOC_START:
		return weir_ioctl_start(file, user);
	case WEIR_IOC_SUBMIT:
		return weir_ioctl_submit(file, user);
	case WEIR_IOC_WAIT:
		return weir_ioctl_wait(file, user);
	case WEIR_IOC_ACK_EVENTS:
		return weir_ioctl_ack_events(file, user);
	default:
		return -ENOTTY;
	}
}

static int weir_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct weir_file *file = filp->private_data;
	int ret = weir_file_client(file);

	if (READ_ONCE(file->dev->gone))
		return -ENODEV;
	return ret ?: weir_arena_mmap(file, vma);
}

static __poll_t weir_file_poll(struct file *filp, poll_table *table)
{
	return weir_poll(filp->private_data, filp, table);
}

const struct file_operations weir_fops = {
	.owner = THIS_MODULE,
	.open = weir_open,
	.release = weir_release,
	.unlocked_ioctl = weir_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = weir_mmap,
	.poll = weir_file_poll,
};
