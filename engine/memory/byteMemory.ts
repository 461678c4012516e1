/**
 * Bytes at physical addresses, as the root complex reaches them for devices. PhysicalMemory is one; a machine that encrypts its
 * memory puts ConfidentialMemory before it. Leaves out: who may reach what, which the IOMMU decides before.
 */
export interface ByteMemory {
  readBytes(phys: number, target: Uint8Array, targetOffset: number, length: number): void;
  writeBytes(phys: number, source: Uint8Array, sourceOffset: number, length: number): void;
}
