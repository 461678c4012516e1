/**
 * Mistakes that a driver can be told to make, so that people can see what each one does and how the checker tells of it. No
 * imports at run time: the lab's schema and the renderer use the names.
 */

export const DRIVER_FAULTS = {
  forgetSync: 'leaves out dma_iova_sync',
  forgetErrorCheck: 'does not ask dma_mapping_error',
  forgetUnmap: 'never unmaps',
  unmapTwice: 'unmaps twice',
  unmapOtherSize: 'unmaps another size than it mapped',
  unmapOtherDirection: 'unmaps in another direction than it mapped',
  unmapWrongFunction: 'unmaps a scatterlist as if it were one mapping',
  linkTwice: 'links an offset twice',
} as const;

export type DriverFault = keyof typeof DRIVER_FAULTS;

export const DRIVER_FAULT_NAMES = Object.keys(DRIVER_FAULTS) as readonly DriverFault[];

export interface FaultPlan {
  readonly kind: DriverFault;
  /** At every so many calls where it can be made. */
  readonly every: number;
}
