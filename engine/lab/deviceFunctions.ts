/**
 * The functions of the devices of a lab: each device's physical one, under the id of its part, and a drive's virtual ones, `nvme0.vf1`
 * and on. Each is a controller of its own to the kernel; all of one drive share its namespace, its medium and its link.
 */
import type { DevicePart, Part } from './schema.ts';

export interface DeviceFunction {
  readonly id: string;
  readonly part: DevicePart;
  /** Of a virtual function, from 1; 0: the physical one. */
  readonly number: number;
}

export function isDevice(part: Part): part is DevicePart {
  return part.kind === 'nvme' || part.kind === 'nic' || part.kind === 'gpu';
}

export function virtualFunctionsOf(part: DevicePart): number {
  return part.kind === 'nvme' ? (part.virtualFunctions ?? 0) : 0;
}

export function functionsOf(part: DevicePart): readonly DeviceFunction[] {
  const virtual = Array.from({ length: virtualFunctionsOf(part) }, (_, index) => index + 1);
  return [0, ...virtual].map((number) => ({ id: number === 0 ? part.id : `${part.id}.vf${number}`, part, number }));
}

export function deviceFunctions(parts: readonly Part[]): readonly DeviceFunction[] {
  return parts.flatMap((part) => (isDevice(part) ? functionsOf(part) : []));
}
