/**
 * The functions of the drives of a lab: each drive's physical one, under the id of its part, and its virtual ones, `nvme0.vf1` and on.
 * Each is a controller of its own to the kernel; all of one drive share its namespace, its medium and its link.
 */
import type { Part, PartOf } from './schema.ts';

export interface DriveFunction {
  readonly id: string;
  readonly part: PartOf<'nvme'>;
  /** Of a virtual function, from 1; 0: the physical one. */
  readonly number: number;
}

export function functionsOf(part: PartOf<'nvme'>): readonly DriveFunction[] {
  const virtual = Array.from({ length: part.virtualFunctions ?? 0 }, (_, index) => index + 1);
  return [0, ...virtual].map((number) => ({ id: number === 0 ? part.id : `${part.id}.vf${number}`, part, number }));
}

export function driveFunctions(parts: readonly Part[]): readonly DriveFunction[] {
  return parts.flatMap((part) => (part.kind === 'nvme' ? functionsOf(part) : []));
}
