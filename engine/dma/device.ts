/**
 * What the DMA API knows of a device: the fields of `struct device` and `struct device_dma_parameters` that decide a
 * mapping (Linux include/linux/device.h, include/linux/dma-mapping.h).
 * Leaves out: what only a driver's own code looks at.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';

/** How a device's default domain is set up (`iommu.passthrough`, `iommu.strict`); `none`: no IOMMU at all. */
export type DomainType = 'strict' | 'lazy' | 'passthrough' | 'none';

/** A range of bus addresses that the allocator must never hand out, in bytes, end inclusive. */
export interface ReservedRegion {
  readonly start: number;
  readonly end: number;
}

/** The window of message-signalled interrupts on x86: a write there is an interrupt, never memory (intel-iommu.c). */
export const MSI_WINDOW: ReservedRegion = { start: 0xfee0_0000, end: 0xfeef_ffff };

/** `DMA_BIT_MASK(bits)`. Beyond 53 bits the number is the nearest double, which no IOMMU's aperture reaches. */
export function dmaBitMask(bits: number): number {
  return 2 ** bits - 1;
}

export interface DmaDevice {
  /** PCI address as the kernel prints it, such as `0000:00:03.0`. */
  readonly name: string;
  /** Requester id: bus << 8 | device << 3 | function. */
  readonly sourceId: number;
  dmaMask: number;
  coherentDmaMask: number;
  maxSegmentSize: number;
  segBoundaryMask: number;
  minAlignMask: number;
  /** `iommu.forcedac=1`: no preference for addresses below 4 GiB. */
  readonly forceDac: boolean;
  /** `bus_dma_limit`: the highest address that the buses above the device carry; 0: no limit of theirs. */
  busDmaLimit: number;
  /** `dev_is_dma_coherent`: the device sees what CPUs have in their caches. */
  readonly coherent: boolean;
  /** `dev_is_untrusted`: behind an external port; it must not see bytes that share a page with a buffer. */
  untrusted: boolean;
  /** It has a device TLB and the ATS capability: Linux lets a trusted one ask for translations (drivers/pci/ats.c `pci_ats_supported`). */
  readonly ats: boolean;
  /** `force_dma_unencrypted`: the device of a confidential guest, which reaches shared memory only. */
  readonly forceUnencrypted: boolean;
  /** `dma_skip_sync`: whether sync calls have nothing to do; true at first for coherent devices, false from the first bounce on. */
  dmaSkipSync: boolean;
  /** Windows of the host bridge and other regions of the machine; the MSI window is always added. */
  readonly reservedRegions: readonly ReservedRegion[];
}

/** A 64-bit PCI device with the defaults of the driver core (64 KiB segments, 4 GiB boundary). */
export function createDmaDevice(
  identity: Pick<DmaDevice, 'name' | 'sourceId'> & Partial<Omit<DmaDevice, 'name' | 'sourceId'>>,
): DmaDevice {
  const coherent = identity.coherent ?? true;
  return {
    dmaMask: dmaBitMask(64),
    coherentDmaMask: dmaBitMask(64),
    maxSegmentSize: 16 * PAGE_SIZE,
    segBoundaryMask: 0xffff_ffff,
    minAlignMask: 0,
    forceDac: false,
    busDmaLimit: 0,
    coherent,
    untrusted: false,
    ats: false,
    forceUnencrypted: false,
    dmaSkipSync: coherent,
    reservedRegions: [],
    ...identity,
  };
}
