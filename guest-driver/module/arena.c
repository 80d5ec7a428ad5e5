// SPDX-License-Identifier: GPL-2.0
/* Arenas: the kernel's view of a client's memory, and the process's. */
#include <linux/fs.h>
#include <linux/mm.h>

#include "compat.h"
#include "driver.h"

/**
 * weir_arena() - the kernel's view of a client's arena
 * @file: a client; between weir_enter() and weir_exit() only
 *
 * The process writes it at any time: nothing in it is to be trusted.
 *
 * Return: the arena's header, with which it begins.
 */
struct weir_arena_header *weir_arena(const struct weir_file *file)
{
	return file->dev->window + file->arena_offset;
}

/**
 * weir_arena_state() - whether a client can still be used
 * @file: a client; between weir_enter() and weir_exit() only
 *
 * Return: 0 or -EIO.
 */
int weir_arena_state(const struct weir_file *file)
{
	if (READ_ONCE(file->dev->broken))
		return -EIO;
	if (le32_to_cpu(READ_ONCE(weir_arena(file)->state)) != WEIR_STATE_RUNNING)
		return -EIO;
	return 0;
}

/*
 * Arenas are large and sparse: what page tables they need is made when they
 * are touched, for as much as one page of page table covers.
 */
static vm_fault_t weir_arena_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct weir_file *file = vma->vm_file->private_data;
	unsigned long block = vmf->address & PMD_MASK;
	unsigned long address = max(vma->vm_start, block);
	unsigned long end = vma->vm_end;
	unsigned long pfn;
	vm_fault_t ret;
	int idx;

	if (end - block > PMD_SIZE)
		end = block + PMD_SIZE;

	if (!weir_enter(file->dev, &idx))
		return VM_FAULT_SIGBUS;
	/* The first page of the arena, were the vma mapped from there. */
	pfn = PHYS_PFN(file->dev->window_phys + file->arena_offset) + vma->vm_pgoff;
	ret = vmf_insert_pfn(vma, vmf->address & PAGE_MASK,
			     pfn + ((vmf->address - vma->vm_start) >> PAGE_SHIFT));
	/* The others are a help only; those that are there already stay. */
	for (; ret == VM_FAULT_NOPAGE && address < end; address += PAGE_SIZE) {
		if (vmf_insert_pfn(vma, address, pfn + ((address - vma->vm_start) >> PAGE_SHIFT)) !=
		    VM_FAULT_NOPAGE)
			break;
	}
	weir_exit(idx);
	return ret;
}

static const struct vm_operations_struct weir_arena_vm_ops = {
	.fault = weir_arena_fault,
};

/**
 * weir_arena_mmap() - maps a client's arena into its process
 * @file: a client
 * @vma: where
 *
 * Return: 0 or -EINVAL.
 */
int weir_arena_mmap(struct weir_file *file, struct vm_area_struct *vma)
{
	unsigned long pages = vma_pages(vma);
	u64 arena_pages = file->arena_size >> PAGE_SHIFT;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff > arena_pages || pages > arena_pages - vma->vm_pgoff)
		return -EINVAL;

	/* VM_IO also keeps madvise() from undoing VM_DONTCOPY. */
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &weir_arena_vm_ops;
	return 0;
}
