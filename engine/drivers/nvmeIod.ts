/**
 * What the driver keeps for a request while the drive works on it (`struct nvme_iod`, Linux drivers/nvme/host/pci.c):
 * how it was mapped, the data pointer of its command, and the descriptor blocks that hold PRP lists or an SGL segment.
 */
import { DMA_FROM_DEVICE, type DmaDirection } from '../dma/attributes.ts';
import type { MappedRequest } from '../schemes/mappedRequest.ts';
import type { DescriptorBlock } from './descriptorPool.ts';

const TWO_32 = 2 ** 32;

export class NvmeIod {
  readonly mapped: MappedRequest;
  direction: DmaDirection = DMA_FROM_DEVICE;
  /** The command's PSDT says SGL. */
  sgl = false;
  /** DPTR: PRP1 and PRP2, or one SGL descriptor; four dwords. */
  readonly dataPointer = new Uint32Array(4);
  /** `IOD_SMALL_DESCRIPTOR`: the (only) descriptor came from the small pool. */
  smallDescriptor = false;
  readonly descriptors: DescriptorBlock[] = [];

  constructor(mapped: MappedRequest) {
    this.mapped = mapped;
  }

  reset(direction: DmaDirection): void {
    this.direction = direction;
    this.sgl = false;
    this.smallDescriptor = false;
    this.dataPointer.fill(0);
    this.descriptors.length = 0;
    this.mapped.reset();
  }

  setPrp1(address: number): void {
    this.dataPointer[0] = address % TWO_32;
    this.dataPointer[1] = Math.floor(address / TWO_32);
  }

  setPrp2(address: number): void {
    this.dataPointer[2] = address % TWO_32;
    this.dataPointer[3] = Math.floor(address / TWO_32);
  }

  setSgl(address: number, length: number, type: number): void {
    this.sgl = true;
    this.setPrp1(address);
    this.dataPointer[2] = length;
    this.dataPointer[3] = (type << 28) >>> 0;
  }
}
