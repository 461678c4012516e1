/**
 * What the DMA API needs of an IOMMU: a place for the root table, and a queue that takes invalidation descriptors or commands and says
 * when the hardware has carried them out. The emulated IOMMU offers this and much more.
 */
import type { IommuVendor } from '../iommu/architectures.ts';
import type { TableWrites } from '../iommu/tables/tableWrites.ts';
import type { Picoseconds } from '../time/picoseconds.ts';

export interface RemappingHardware {
  /** Whose tables and commands it understands. */
  readonly vendor: IommuVendor;
  /** VT-d: whether it is set up for scalable mode and first-stage tables. */
  readonly scalableMode: boolean;
  /** Of an SMMU: whether one command invalidates a range of any length. */
  readonly rangeInvalidation?: boolean;
  /** What becomes of the kernel's writes to page tables before its walkers see them; null: they see them at once. */
  readonly tableWrites?: TableWrites | null;
  /** Whether it answers devices' translation requests: ECAP.DT of VT-d, IotlbSup of AMD, IDR0.ATS of an SMMU; default: it does. */
  readonly atsSupported?: boolean;
  setRootTable(page: number): void;
  readonly invalidationQueue: {
    /** `qi_submit_sync`: four words a descriptor, or eight in VT-d's scalable mode. Returns when the wait descriptor behind them has been written. */
    submit(descriptors: Uint32Array, count: number, at: Picoseconds): Picoseconds;
  };
}
