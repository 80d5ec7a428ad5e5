//! What the guest's processors say about themselves: KVM's list, with this VM's topology in it.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaf 1, ECX (Intel): the processor can run virtual machines. Not offered: nested machines are
/// far more of KVM than a tenant needs to reach.
const VMX: u32 = 1 << 5;
/// Leaf 0x8000_0001, ECX (AMD): the same.
const SVM: u32 = 1 << 2;
/// Leaf 1, ECX: the local APIC timer can count to a time stamp.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1, ECX: there is a hypervisor (leaf 0x4000_0000 says which).
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, EDX: leaf 1's count of logical processors is valid.
const MULTIPLE_PROCESSORS: u32 = 1 << 28;
/// Leaf 0x8000_0001, ECX (AMD): the logical processors of a package are cores.
const CORES_NOT_THREADS: u32 = 1 << 1;

/// Topology in leaf 0xb: level types.
const LEVEL_THREAD: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// Physical address bits of the guest, which bound where PCI windows may lie.
///
/// A processor may have more than KVM can map for a guest with the page tables it uses; bits 16
/// to 23 then say how many a guest should use.
pub fn address_bits(supported: &CpuId) -> u8 {
    let eax = supported
        .as_slice()
        .iter()
        .find(|entry| entry.function == 0x8000_0008)
        .map_or(36, |entry| entry.eax);
    match (eax as u8, (eax >> 16) as u8) {
        (bits, 0) => bits,
        (bits, guest) => bits.min(guest),
    }
}

/// The list for processor `id` of `count`: one package, `count` cores of one thread each.
pub fn for_processor(supported: &CpuId, id: u32, count: u32, tsc_deadline_timer: bool) -> CpuId {
    // The extended topology leaves are written anew; AMD's newest duplicates them and goes.
    let mut entries: Vec<kvm_cpuid_entry2> = supported
        .as_slice()
        .iter()
        .filter(|entry| !matches!(entry.function, 0xb | 0x1f | 0x8000_0026))
        .copied()
        .collect();
    for entry in &mut entries {
        adapt(entry, id, count, tsc_deadline_timer);
    }
    entries.extend(extended_topology(id, count));
    CpuId::from_entries(&entries).expect("a few dozen entries fit")
}

fn adapt(entry: &mut kvm_cpuid_entry2, id: u32, count: u32, tsc_deadline_timer: bool) {
    match entry.function {
        0x1 => {
            entry.ebx = (entry.ebx & 0x0000_ffff) | (count << 16) | (id << 24);
            entry.ecx = (entry.ecx & !VMX) | HYPERVISOR;
            if tsc_deadline_timer {
                entry.ecx |= TSC_DEADLINE;
            }
            set(&mut entry.edx, MULTIPLE_PROCESSORS, count > 1);
        }
        // Caches: the last level is shared by all cores, the others by none.
        0x4 if entry.eax & 0x1f != 0 => {
            let sharing = cache_sharing(entry.eax, count);
            let cores = core_ids(count) - 1;
            entry.eax = (entry.eax & 0x0000_3fff) | (sharing << 14) | (cores << 26);
        }
        0x8000_0001 => {
            entry.ecx &= !SVM;
            set(&mut entry.ecx, CORES_NOT_THREADS, count > 1);
        }
        0x8000_0008 => {
            entry.ecx = (entry.ecx & !0xf0ff) | (id_bits(count) << 12) | (count - 1);
        }
        0x8000_001d if entry.eax & 0x1f != 0 => {
            let sharing = cache_sharing(entry.eax, count);
            entry.eax = (entry.eax & 0x0000_3fff) | (sharing << 14);
        }
        0x8000_001e => {
            entry.eax = id;
            entry.ebx = id;
            entry.ecx = 0;
        }
        _ => {}
    }
}

/// Highest id, from zero, of those that share the cache that `eax` describes.
fn cache_sharing(eax: u32, count: u32) -> u32 {
    let level = (eax >> 5) & 0x7;
    if level >= 3 { core_ids(count) - 1 } else { 0 }
}

/// Leaf 0xb: how to take an x2APIC id apart.
fn extended_topology(id: u32, count: u32) -> [kvm_cpuid_entry2; 3] {
    let level = |index: u32, eax: u32, ebx: u32, level_type: u32| kvm_cpuid_entry2 {
        function: 0xb,
        index,
        flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax,
        ebx,
        ecx: index | (level_type << 8),
        edx: id,
        ..Default::default()
    };
    [
        level(0, 0, 1, LEVEL_THREAD),
        level(1, id_bits(count), count, LEVEL_CORE),
        level(2, 0, 0, 0),
    ]
}

/// Bits that the ids of `count` processors take.
fn id_bits(count: u32) -> u32 {
    core_ids(count).trailing_zeros()
}

/// `count` rounded up to what its id bits can number.
fn core_ids(count: u32) -> u32 {
    count.next_power_of_two()
}

fn set(register: &mut u32, bit: u32, on: bool) {
    *register = if on {
        *register | bit
    } else {
        *register & !bit
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, eax: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ..Default::default()
        }
    }

    fn find(cpuid: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        *cpuid
            .as_slice()
            .iter()
            .find(|e| e.function == function && e.index == index)
            .unwrap()
    }

    fn supported() -> CpuId {
        CpuId::from_entries(&[
            entry(0x1, 0, 0),
            entry(0x4, 0, 0x21),
            entry(0x4, 3, 0x63),
            entry(0xb, 0, 99),
            entry(0x1f, 0, 99),
            entry(0x8000_0001, 0, 0),
            entry(0x8000_0008, 0, 0x0028_3028),
            entry(0x8000_001e, 0, 0),
        ])
        .unwrap()
    }

    #[test]
    fn leaf_1_names_the_processor_the_count_and_the_hypervisor() {
        let leaf = find(&for_processor(&supported(), 2, 3, true), 0x1, 0);
        assert_eq!(leaf.ebx >> 24, 2);
        assert_eq!((leaf.ebx >> 16) & 0xff, 3);
        assert_eq!(leaf.ecx, HYPERVISOR | TSC_DEADLINE);
        assert_eq!(leaf.edx, MULTIPLE_PROCESSORS);
    }

    #[test]
    fn a_single_processor_is_no_multiprocessor() {
        let leaf = find(&for_processor(&supported(), 0, 1, false), 0x1, 0);
        assert_eq!((leaf.ecx, leaf.edx), (HYPERVISOR, 0));
    }

    #[test]
    fn topology_is_one_package_of_cores() {
        let cpuid = for_processor(&supported(), 4, 6, true);
        let (thread, core) = (find(&cpuid, 0xb, 0), find(&cpuid, 0xb, 1));
        assert_eq!((thread.eax, thread.ebx, thread.edx), (0, 1, 4));
        assert_eq!((core.eax, core.ebx, core.ecx), (3, 6, 0x201));
        assert_eq!(find(&cpuid, 0x4, 3).eax >> 26, 7);
        assert_eq!((find(&cpuid, 0x4, 0).eax >> 14) & 0xfff, 0);
        assert_eq!((find(&cpuid, 0x4, 3).eax >> 14) & 0xfff, 7);
        assert_eq!(find(&cpuid, 0x8000_0008, 0).ecx, 0x3005);
        assert_eq!(find(&cpuid, 0x8000_001e, 0).eax, 4);
        assert!(cpuid.as_slice().iter().all(|e| e.function != 0x1f));
    }

    #[test]
    fn address_bits_heed_the_guest_limit() {
        let with = |eax| CpuId::from_entries(&[entry(0x8000_0008, 0, eax)]).unwrap();
        assert_eq!(address_bits(&with(0x3030)), 48);
        assert_eq!(address_bits(&with(0x0030_3934)), 48);
        assert_eq!(address_bits(&CpuId::from_entries(&[]).unwrap()), 36);
    }
}
