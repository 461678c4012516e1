/** Two sockets, on the first a switch with two drives, on the second a drive by itself; a workload for each drive. */
import { parseLab } from '../check.ts';
import type { LabDocument } from '../schema.ts';

/** Fields that are added to parts, by the part's id. */
export type PartFields = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export function twoSocketDocument(fields: PartFields = {}): Record<string, unknown> {
  const parts = [
    { id: 'cpu0', kind: 'socket', cpus: 2 },
    { id: 'cpu1', kind: 'socket', cpus: 2 },
    { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 4 },
    { id: 'dram1', kind: 'memory', parent: 'cpu1', sizeGiB: 4 },
    { id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
    { id: 'iommu1', kind: 'iommu', parent: 'cpu1' },
    { id: 'port0', kind: 'rootPort', parent: 'cpu0', lanes: 16 },
    { id: 'port1', kind: 'rootPort', parent: 'cpu1' },
    { id: 'switch0', kind: 'switch', parent: 'port0' },
    { id: 'nvme0', kind: 'nvme', parent: 'switch0' },
    { id: 'nvme1', kind: 'nvme', parent: 'switch0' },
    { id: 'nvme2', kind: 'nvme', parent: 'port1' },
  ];
  const workload = { kind: 'bio', ioCount: 100, queueDepth: 8, regionMiB: 64, blockSize: 16_384 };
  return {
    format: 1,
    name: 'Two sockets',
    seed: 7,
    kernelProfile: '7.3',
    topology: { parts: parts.map((part) => ({ ...part, ...fields[part.id] })) },
    workloads: ['nvme0', 'nvme1', 'nvme2'].map((device) => ({ ...workload, id: `on-${device}`, device })),
    comparison: ['strict', 'lazy', 'passthrough'].map((domain) => ({ id: domain, scheme: 'two_step', domain })),
  };
}

export function twoSocketLab(fields: PartFields = {}, change: Record<string, unknown> = {}): LabDocument {
  return parseLab({ ...twoSocketDocument(fields), ...change }, 'two sockets');
}
