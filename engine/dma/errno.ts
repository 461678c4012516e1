/**
 * The error numbers that the DMA API and the page-table code return, with the kernel's names and signs
 * (Linux include/uapi/asm-generic/errno*.h). Functions return them negative, as in the kernel; 0 is success.
 */
import { EADDRINUSE, EINVAL, ENXIO, ERANGE } from '../iommu/tables/tableErrors.ts';

export { EADDRINUSE, EINVAL, ENXIO, ERANGE };
export const EPERM = -1;
export const EIO = -5;
export const ENOMEM = -12;
export const EFAULT = -14;
export const EBUSY = -16;
export const ENODEV = -19;
export const EDEADLK = -35;
export const EOPNOTSUPP = -95;
export const ETIMEDOUT = -110;
export const EREMOTEIO = -121;

const NAMES: ReadonlyMap<number, string> = new Map([
  [EPERM, 'EPERM'],
  [EIO, 'EIO'],
  [ENXIO, 'ENXIO'],
  [ENOMEM, 'ENOMEM'],
  [EFAULT, 'EFAULT'],
  [ERANGE, 'ERANGE'],
  [EBUSY, 'EBUSY'],
  [ENODEV, 'ENODEV'],
  [EINVAL, 'EINVAL'],
  [EDEADLK, 'EDEADLK'],
  [EOPNOTSUPP, 'EOPNOTSUPP'],
  [EADDRINUSE, 'EADDRINUSE'],
  [ETIMEDOUT, 'ETIMEDOUT'],
  [EREMOTEIO, 'EREMOTEIO'],
]);

/** The kernel's name of an error for people: `-98 (EADDRINUSE)`. */
export function describeErrno(error: number): string {
  const name = NAMES.get(error);
  return name === undefined ? String(error) : `${error} (${name})`;
}
