/**
 * Whether the parts of a lab make a machine: how many of each there may be, what hangs below what, one memory a socket, one
 * device at the end of a link, no switch below itself, and as many buses as PCI can number.
 */
import type { LabProblem } from './check.ts';
import { deviceFunctions, isDevice } from './deviceFunctions.ts';
import { enumerate } from './enumeration.ts';
import { LIMITS } from './limits.ts';
import { suggestNames } from './nearestNames.ts';
import type { Part, PartKind, PartOf } from './schema.ts';

const PARENT_KINDS: Readonly<Record<PartKind, readonly PartKind[]>> = {
  socket: [],
  memory: ['socket'],
  iommu: ['socket'],
  rootPort: ['socket'],
  switch: ['rootPort', 'switch'],
  nvme: ['rootPort', 'switch'],
  nic: ['rootPort', 'switch'],
  gpu: ['rootPort', 'switch'],
};

const PART_COUNTS: readonly { kind: PartKind; least: number; most: number; what: string }[] = [
  { kind: 'socket', least: 1, most: LIMITS.sockets, what: 'a socket, whose CPUs run the kernel' },
  { kind: 'memory', least: 1, most: LIMITS.sockets, what: 'a memory' },
  { kind: 'rootPort', least: 1, most: LIMITS.parts, what: 'a root port' },
  { kind: 'nvme', least: 0, most: LIMITS.drives, what: 'an NVMe drive' },
  { kind: 'nic', least: 0, most: LIMITS.nics, what: 'an RDMA adapter' },
  { kind: 'gpu', least: 0, most: LIMITS.gpus, what: 'a GPU' },
];

/** What is refused further down would be nonsense where the tree itself is broken. */
export function topologyProblems(parts: readonly Part[]): LabProblem[] {
  const tree = [...countProblems(parts), ...parentProblems(parts), ...cycleProblems(parts)];
  if (tree.length > 0) return tree;
  return [
    ...socketProblems(parts),
    ...linkProblems(parts),
    ...functionProblems(parts),
    ...vendorProblems(parts),
    ...busProblems(parts),
  ];
}

/** The socket that a part stands on or below; undefined where its parents lead nowhere. */
export function socketOf(parts: readonly Part[], id: string): PartOf<'socket'> | undefined {
  let part = parts.find((candidate) => candidate.id === id);
  for (let steps = 0; part !== undefined && part.kind !== 'socket' && steps < parts.length; steps += 1) {
    const { parent }: { parent: string } = part;
    part = parts.find((candidate) => candidate.id === parent);
  }
  return part?.kind === 'socket' ? part : undefined;
}

function countProblems(parts: readonly Part[]): LabProblem[] {
  const problem = 'the machine has no device.';
  const remedy = 'Add an NVMe drive, or an RDMA adapter.';
  const noDevice = parts.some(isDevice) ? [] : [{ path: 'topology.parts', problem, remedy }];
  const counts = PART_COUNTS.flatMap(({ kind, least, most, what }): LabProblem[] => {
    const found = parts.filter((part) => part.kind === kind);
    if (found.length < least)
      return [{ path: 'topology.parts', problem: `the machine has no ${kind}.`, remedy: `Add ${what}.` }];
    const extra = found[most];
    if (!extra) return [];
    return [
      {
        path: pathOf(extra),
        problem: `the machine has ${found.length} parts of the kind ${kind}, and at most ${most} are emulated.`,
        remedy: 'Remove the others.',
      },
    ];
  });
  return [...counts, ...noDevice];
}

function parentProblems(parts: readonly Part[]): LabProblem[] {
  const byId = new Map(parts.map((part) => [part.id, part]));
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind === 'socket') return [];
    const wanted = PARENT_KINDS[part.kind];
    const path = `${pathOf(part)}.parent`;
    const parent = byId.get(part.parent);
    if (parent !== undefined && wanted.includes(parent.kind)) return [];
    const candidates = parts
      .filter((candidate) => candidate !== part && wanted.includes(candidate.kind))
      .map((candidate) => candidate.id);
    const below = wanted.map(withArticle).join(' or ');
    const add = `Add ${below}.`;
    if (!parent) {
      const remedy = suggestNames(part.parent, candidates) || add;
      return [{ path, problem: `no such part "${part.parent}".`, remedy }];
    }
    return [
      {
        path,
        problem: `"${parent.id}" is ${withArticle(parent.kind)}, and ${withArticle(part.kind)} hangs below ${below}.`,
        remedy: candidates.length > 0 ? `Use ${candidates.join(' or ')}.` : add,
      },
    ];
  });
}

function cycleProblems(parts: readonly Part[]): LabProblem[] {
  const byId = new Map(parts.map((part) => [part.id, part]));
  const looped = parts.find((part) => {
    let at: Part | undefined = part;
    for (let steps = 0; at !== undefined && at.kind !== 'socket'; steps += 1) {
      at = byId.get(at.parent);
      if (at === part || steps > parts.length) return at === part;
    }
    return false;
  });
  if (looped === undefined) return [];
  return [
    {
      path: `${pathOf(looped)}.parent`,
      problem: 'its parents lead back to itself.',
      remedy: 'Hang one of these switches below a root port.',
    },
  ];
}

function socketProblems(parts: readonly Part[]): LabProblem[] {
  const memories = parts.filter((part) => part.kind === 'memory');
  const total = memories.reduce((sum, { sizeGiB }) => sum + sizeGiB, 0);
  const tooMuch = {
    path: 'topology.parts',
    problem: `the memories have ${total} GiB together, and at most ${LIMITS.memoryGiB} are emulated.`,
    remedy: 'Use smaller sizes.',
  };
  const bySocket = parts.flatMap((socket, order): LabProblem[] => {
    if (socket.kind !== 'socket') return [];
    const of = (kind: PartKind): Part[] =>
      parts.filter((part) => part.kind === kind && 'parent' in part && part.parent === socket.id);
    const problems: LabProblem[] = [];
    if (of('memory').length === 0) {
      const remedy = `Add { "id": "memory-${socket.id}", "kind": "memory", "parent": "${socket.id}" }.`;
      problems.push({ path: pathOf(socket), problem: 'the socket has no memory.', remedy });
    }
    for (const kind of ['memory', 'iommu'] as const) {
      const [first, second] = of(kind);
      if (first === undefined || second === undefined) continue;
      const problem = `"${socket.id}" has the ${kind} "${first.id}" already, and a socket has one.`;
      problems.push({ path: pathOf(second), problem, remedy: 'Hang it below another socket, or remove it.' });
    }
    const surplus = of('rootPort')[LIMITS.rootPortsPerSocket];
    if (surplus !== undefined) {
      const problem = `a root bus has room for ${LIMITS.rootPortsPerSocket} root ports.`;
      problems.push({ path: pathOf(surplus), problem, remedy: 'Use a switch, or another socket.' });
    }
    const pool = of('memory').find((part) => part.kind === 'memory' && part.swiotlb !== undefined);
    if (pool !== undefined && parts.some((part, index) => part.kind === 'socket' && index < order)) {
      const problem = 'bounce buffers lie below 4 GiB, which is memory of the first socket.';
      const remedy = 'Give swiotlb to the memory of the first socket.';
      problems.push({ path: `${pathOf(pool)}.swiotlb`, problem, remedy });
    }
    return problems;
  });
  return [...(total > LIMITS.memoryGiB ? [tooMuch] : []), ...bySocket];
}

function linkProblems(parts: readonly Part[]): LabProblem[] {
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind !== 'rootPort' && part.kind !== 'switch') return [];
    const below = parts.filter((child) => child.kind !== 'socket' && child.parent === part.id);
    const most = part.kind === 'rootPort' ? 1 : LIMITS.portsPerSwitch;
    const extra = below[most];
    if (extra === undefined) return [];
    const problem =
      part.kind === 'rootPort'
        ? `"${part.id}" leads to "${below[0]?.id ?? ''}" already, and a link has one device at its end.`
        : `a switch has at most ${most} ports.`;
    const remedy =
      part.kind === 'rootPort' ? 'Use another root port, or a switch below this one.' : 'Use another switch.';
    return [{ path: `${pathOf(extra)}.parent`, problem, remedy }];
  });
}

function functionProblems(parts: readonly Part[]): LabProblem[] {
  const all = deviceFunctions(parts).filter(({ part }) => part.kind === 'nvme');
  const extra = all[LIMITS.driveFunctions];
  const tooMany = {
    path: `topology.parts[${extra?.part.id ?? ''}].virtualFunctions`,
    problem: `the drives have ${all.length} functions together, and at most ${LIMITS.driveFunctions} are emulated.`,
    remedy: 'Use fewer virtual functions.',
  };
  const taken = all.flatMap(({ id, part, number }): LabProblem[] => {
    const other = number === 0 ? undefined : parts.find((candidate) => candidate.id === id);
    if (other === undefined) return [];
    const problem = `"${id}" is the name of a virtual function of "${part.id}".`;
    return [{ path: `${pathOf(other)}.id`, problem, remedy: 'Give the part another id.' }];
  });
  return [...(extra === undefined ? [] : [tooMany]), ...taken];
}

function vendorProblems(parts: readonly Part[]): LabProblem[] {
  const iommus = parts.filter((part) => part.kind === 'iommu');
  const vendorOf = ({ vendor = 'vtd' }: PartOf<'iommu'>): string => vendor;
  const [first] = iommus;
  if (first === undefined) return [];
  return iommus.flatMap((part): LabProblem[] => {
    if (vendorOf(part) === vendorOf(first)) return [];
    const problem = `it is of the vendor ${vendorOf(part)}, and "${first.id}" of ${vendorOf(first)}: a machine has IOMMUs of one vendor.`;
    return [{ path: `${pathOf(part)}.vendor`, problem, remedy: `Use ${vendorOf(first)}, or change the others too.` }];
  });
}

function busProblems(parts: readonly Part[]): LabProblem[] {
  return enumerate(parts).flatMap(({ part, buses, busesNeeded }): LabProblem[] => {
    if (busesNeeded <= buses) return [];
    const problem = `its root ports and switches need ${busesNeeded} buses, and it can number ${buses}.`;
    return [{ path: pathOf(part), problem, remedy: 'Remove ports or switches, or spread them over the sockets.' }];
  });
}

function withArticle(kind: PartKind): string {
  return `${kind === 'iommu' || kind === 'nvme' ? 'an' : 'a'} ${kind}`;
}

function pathOf(part: Part): string {
  return `topology.parts[${part.id}]`;
}
