/** Which cost parameters speak of which part: what the inspector shows beside the part, and where it calls a figure assumed. */
import { costParameters, type CostParameter } from '../../engine/lab/presets.ts';
import { formatQuantity } from '../../engine/lab/quantity.ts';
import type { LabDocument, PartKind } from '../../engine/lab/schema.ts';

const PARTS: Readonly<Record<PartKind, RegExp>> = {
  iommu: /iotlb|contextCache|pagingCache|tableRead|walk|invalidation/i,
  memory: /^memory/i,
  rootPort: /rootComplex|mmio|link|tlp|interrupt/i,
  switch: /switch/i,
  nvme: /^(?!rdma).*(nvme|device|doorbell|command)/i,
  nic: /rdma|odp|^nic|device/i,
  gpu: /peer/i,
  socket: /^instructionTime$/,
};

export function labCosts(lab: LabDocument): CostParameter[] {
  return costParameters(lab);
}

/** The costs of a kind of part; what hardware takes is in nanoseconds, what the kernel does in instructions. */
export function costsOfPart(costs: readonly CostParameter[], kind: PartKind): CostParameter[] {
  return costs.filter(({ name, unit }) => PARTS[kind].test(name) && (unit === 'ns' || kind === 'socket'));
}

export function costText({ value, unit }: CostParameter): string {
  if (unit === 'ns') return formatQuantity(Math.round(value * 1000), 'ps');
  return `${formatQuantity(value, 'count')}\u202finstr.`;
}

const ACRONYMS = /\b(iotlb|iova|mmio|msi|pcie|nvme|rdma|odp|nic|umr|dma|cpu)\b/g;

const SPELLED: Readonly<Record<string, string>> = { pcie: 'PCIe', nvme: 'NVMe' };

/** `tableRead` as people write it: `Table read`. */
export function costName(name: string): string {
  const words = name.replace(
    /([a-z0-9])([A-Z])/g,
    (_, before: string, next: string) => `${before} ${next.toLowerCase()}`,
  );
  const text = words.replace(ACRONYMS, (acronym) => SPELLED[acronym] ?? acronym.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}
