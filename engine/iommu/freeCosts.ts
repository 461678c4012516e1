/** Hardware that takes no time: for replays, whose recorded times say nothing, and for tests of function alone. */
import { picoseconds } from '../time/picoseconds.ts';
import type { IommuCosts } from './iommu.ts';

const NONE = picoseconds(0);

export const FREE_IOMMU_COSTS: IommuCosts = {
  iotlbHit: NONE,
  contextCacheHit: NONE,
  pagingCacheLookup: NONE,
  tableRead: NONE,
  walkOverhead: NONE,
  invalidationWait: NONE,
  invalidationService: NONE,
  invalidationDescriptor: NONE,
};
