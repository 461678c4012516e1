/**
 * Whatever machine the schema and the checks take, runs: random sockets, switches in switches, access control and vendors, a short
 * workload on every drive. Nothing faults, every drive is behind the IOMMU of its socket, and drives share a domain exactly where a
 * path search by hand finds them in one group (Linux drivers/iommu/iommu.c `pci_device_group`).
 */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { ACS_BIT_NAMES, type AcsBitName } from './accessControl.ts';
import { checkLab } from './check.ts';
import { deviceFunctions, type DeviceFunction } from './deviceFunctions.ts';
import { buildMachine } from './machine.ts';
import type { LabDocument, Part } from './schema.ts';

const VENDORS = ['vtd', 'amd', 'smmuv3', 'riscv'] as const;
const DOMAINS = ['strict', 'lazy', 'passthrough'] as const;
const SCHEMES = ['map_sg', 'two_step', 'premapped'] as const;
const ISOLATING: readonly AcsBitName[] = [
  'sourceValidation',
  'requestRedirect',
  'completionRedirect',
  'upstreamForwarding',
];

const pick = <Value>(random: RandomStream, values: readonly Value[]): Value => values[random.below(values.length)]!;

function randomAcs(random: RandomStream): AcsBitName[] | undefined {
  switch (random.below(3)) {
    case 0:
      return undefined;
    case 1:
      return [];
    default:
      return ACS_BIT_NAMES.filter(() => random.below(4) > 0);
  }
}

function randomDocument(random: RandomStream): Record<string, unknown> {
  const parts: Record<string, unknown>[] = [];
  const drives: string[] = [];
  const functions: string[] = [];
  const vendor = pick(random, VENDORS);
  const add = (kind: string, parent: string, fields: Record<string, unknown> = {}): string => {
    const id = `${kind}-${parts.length}`;
    parts.push({ id, kind, parent, ...fields });
    if (kind === 'nvme') drives.push(id);
    return id;
  };
  const port = (): Record<string, unknown> => {
    const acs = randomAcs(random);
    return { generation: 1 + random.below(6), lanes: 2 ** random.below(5), ...(acs === undefined ? {} : { acs }) };
  };
  const populate = (parent: string, depth: number): void => {
    if (drives.length === 6) return;
    if (depth === 2 || random.below(2) === 0) {
      const virtualFunctions = random.below(4);
      const id = add('nvme', parent, virtualFunctions === 0 ? {} : { virtualFunctions });
      for (let number = 1; number <= virtualFunctions; number += 1) functions.push(`${id}.vf${number}`);
      return;
    }
    const storeAndForward = random.below(2) === 0;
    const inner = add('switch', parent, { ...port(), portGeneration: 1 + random.below(6), storeAndForward });
    for (let ports = 1 + random.below(3); ports > 0; ports -= 1) populate(inner, depth + 1);
  };
  const sockets = 1 + random.below(3);
  for (let index = 0; index < sockets; index += 1) {
    const id = `cpu-${index}`;
    parts.push({ id, kind: 'socket', cpus: 1 + random.below(3) });
    add('memory', id, { sizeGiB: 1 + random.below(4) });
    add('iommu', id, { vendor });
    for (let ports = 1 + random.below(2); ports > 0; ports -= 1) populate(add('rootPort', id, port()), 0);
  }
  const workload = { kind: 'bio', rw: 'randrw', ioCount: 12, queueDepth: 4, blockSize: 8192, regionMiB: 16, cpus: 1 };
  return {
    format: 1,
    name: 'random',
    seed: random.below(1_000),
    kernelProfile: '7.3',
    topology: { parts },
    workloads: [...drives, ...functions].slice(0, 10).map((device) => ({ ...workload, id: `on-${device}`, device })),
    comparison: [{ id: 'only', scheme: pick(random, SCHEMES), domain: pick(random, DOMAINS) }],
  };
}

/**
 * The group of a drive by hand: walking up, the highest port that is reached before everything above isolates; the port itself
 * stands for the group. A function, virtual or not, has its own where every port above isolates.
 */
function groupByHand(parts: readonly Part[], { id, part: drive }: DeviceFunction): string {
  const isolates = (part: Part | undefined): boolean =>
    (part?.kind === 'rootPort' || part?.kind === 'switch') &&
    (part.acs === undefined || ISOLATING.every((bit) => part.acs?.includes(bit)));
  const above = (part: Part): Part | undefined =>
    part.kind === 'socket' ? undefined : parts.find(({ id }) => id === part.parent);
  // ports on the way up, nearest first: a switch counts twice, as the downstream port that was come through and its upstream port
  const ways: { name: string; free: boolean }[] = [];
  let through = drive.id;
  for (let part = above(drive); part !== undefined && part.kind !== 'socket'; part = above(part)) {
    if (part.kind === 'switch') {
      ways.push({ name: `${part.id} to ${through}`, free: isolates(part) }, { name: `${part.id} up`, free: true });
    } else ways.push({ name: part.id, free: isolates(part) });
    through = part.id;
  }
  const last = ways.findLastIndex(({ free }) => !free);
  return last < 0 ? id : ways[last]!.name;
}

describe('random machines', () => {
  const random = new RandomStream(2026);
  const documents = Array.from({ length: 60 }, () => randomDocument(random));

  it('are taken, run to their end without a fault, and group their drives as Linux would', () => {
    let shared = 0;
    for (const document of documents) {
      const checked = checkLab(document, 'random');
      expect(checked.problems).toEqual([]);
      const lab: LabDocument = checked.lab!;
      const { parts } = lab.topology;
      const machine = buildMachine(lab, lab.comparison[0]!, new Map());
      for (const workload of machine.workloads) workload.start();
      while (machine.events.step());
      machine.releaseDrivers();
      expect(machine.workloads.every(({ done, failed }) => done && failed === 0)).toBe(true);
      expect(machine.metrics.counters.get('faults')).toBe(0);
      const byHand = new Map(deviceFunctions(parts).map((one) => [one.id, groupByHand(parts, one)]));
      for (const one of machine.drives) {
        expect(one.iommu?.name).toBe(
          parts.find((part) => part.kind === 'iommu' && part.parent === one.host.placed.part.id)?.id,
        );
        for (const other of machine.drives) {
          if (one === other) continue;
          const together = byHand.get(one.id) === byHand.get(other.id);
          expect([one.id, other.id, one.group === other.group]).toEqual([one.id, other.id, together]);
          expect(one.dma === other.dma).toBe(together);
          if (together) shared += 1;
        }
      }
    }
    expect(shared).toBeGreaterThan(10);
  });
});
