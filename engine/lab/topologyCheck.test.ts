/** What no machine can be made of: each problem with its place in the document and what to do. */
import { describe, expect, it } from 'vitest';
import { checkLab } from './check.ts';
import { withValueAt } from './documentPath.ts';
import { LIMITS } from './limits.ts';
import { twoSocketDocument, type PartFields } from './testing/twoSockets.ts';

interface Said {
  readonly path: string;
  readonly problem: string;
  readonly remedy: string;
}

function said(document: unknown): readonly Said[] {
  return checkLab(document, 'x').problems;
}

const withParts = (fields: PartFields, ...more: Record<string, unknown>[]): Record<string, unknown> => {
  const document = twoSocketDocument(fields);
  const { parts } = document['topology'] as { parts: Record<string, unknown>[] };
  return { ...document, topology: { parts: [...parts, ...more] } };
};

const without = (...ids: string[]): Record<string, unknown> => {
  const document = twoSocketDocument();
  const { parts } = document['topology'] as { parts: { id: string }[] };
  return { ...document, topology: { parts: parts.filter(({ id }) => !ids.includes(id)) } };
};

describe('a topology that makes no machine', () => {
  it.each<[string, unknown, string, RegExp, RegExp]>([
    ['a socket without memory', without('dram1'), 'topology.parts[cpu1]', /has no memory/, /"parent": "cpu1"/],
    [
      'two memories on a socket',
      withParts({}, { id: 'dram2', kind: 'memory', parent: 'cpu1' }),
      'topology.parts[dram2]',
      /"cpu1" has the memory "dram1" already/,
      /another socket, or remove it/,
    ],
    [
      'two IOMMUs on a socket',
      withParts({}, { id: 'iommu2', kind: 'iommu', parent: 'cpu0' }),
      'topology.parts[iommu2]',
      /"cpu0" has the iommu "iommu0" already/,
      /another socket, or remove it/,
    ],
    [
      'two devices at the end of a link',
      withParts({}, { id: 'nvme3', kind: 'nvme', parent: 'port1' }),
      'topology.parts[nvme3].parent',
      /"port1" leads to "nvme2" already, and a link has one device at its end/,
      /another root port, or a switch/,
    ],
    [
      'a switch below itself',
      withParts({ switch0: { parent: 'switch1' } }, { id: 'switch1', kind: 'switch', parent: 'switch0' }),
      'topology.parts[switch0].parent',
      /lead back to itself/,
      /below a root port/,
    ],
    [
      'a drive on a socket',
      withParts({ nvme2: { parent: 'cpu1' } }),
      'topology.parts[nvme2].parent',
      /"cpu1" is a socket, and an nvme hangs below a rootPort or a switch/,
      /Use port0 or port1 or switch0/,
    ],
    [
      'IOMMUs of two vendors',
      withParts({ iommu1: { vendor: 'amd' } }),
      'topology.parts[iommu1].vendor',
      /of the vendor amd, and "iommu0" of vtd/,
      /Use vtd/,
    ],
    [
      'bounce buffers beyond the first socket',
      withParts({ dram1: { swiotlb: {} } }),
      'topology.parts[dram1].swiotlb',
      /below 4 GiB, which is memory of the first socket/,
      /memory of the first socket/,
    ],
    [
      'more memory than is emulated',
      withParts({ dram0: { sizeGiB: 4096 }, dram1: { sizeGiB: 4096 } }, socket(2), memory(2, 4096)),
      'topology.parts',
      /12288 GiB together, and at most 8192/,
      /smaller/,
    ],
    [
      'more sockets than are emulated',
      withParts({}, ...Array.from({ length: 7 }, (_, index) => socket(index + 2))),
      'topology.parts[cpu8]',
      /9 parts of the kind socket, and at most 8/,
      /Remove/,
    ],
    [
      'more buses than a host bridge has',
      withParts({}, ...switches(64)),
      'topology.parts[cpu1]',
      /need 130 buses, and it can number 128/,
      /spread them over the sockets/,
    ],
    [
      'more root ports than a root bus holds',
      withParts(
        {},
        ...Array.from({ length: 31 }, (_, index) => ({ id: `p${index}`, kind: 'rootPort', parent: 'cpu1' })),
      ),
      'topology.parts[p30]',
      /room for 31 root ports/,
      /a switch, or another socket/,
    ],
  ])('%s', (_name, document, path, problem, remedy) => {
    const problems = said(document);
    expect(problems.map((one) => one.path)).toContain(path);
    const found = problems.find((one) => one.path === path)!;
    expect(found.problem).toMatch(problem);
    expect(found.remedy).toMatch(remedy);
  });

  it('is taken with any number of parts that a machine can have', () => {
    expect(said(twoSocketDocument())).toEqual([]);
    const ports = Array.from({ length: LIMITS.rootPortsPerSocket - 1 }, (_, index) => index);
    expect(
      said(withParts({}, ...ports.map((index) => ({ id: `p${index}`, kind: 'rootPort', parent: 'cpu0' })))),
    ).toEqual([]);
  });
});

describe('what runs demand of a topology of several sockets', () => {
  it('an IOMMU above every drive where a domain translates', () => {
    const [problem] = said(without('iommu1'));
    expect(problem).toEqual({
      path: 'comparison[strict].domain',
      problem: 'strict needs an IOMMU above every device, and the socket "cpu1" of "nvme2" has none.',
      remedy: 'Add a part of the kind iommu with the parent "cpu1", or use passthrough.',
    });
  });

  it.each<[string, unknown, string, RegExp]>([
    ['workloads[0].memory', 'dram7', 'workloads[on-nvme0].memory', /no such memory "dram7"/],
    ['workloads[0].cpus', 5, 'workloads[on-nvme0].cpus', /the sockets have 4 CPUs/],
    ['workloads[1].device', 'nvme0', 'workloads[on-nvme1].device', /already serves the workload "on-nvme0"/],
    ['topology.parts[switch0].acs', ['sourceValidation', 'sourceValidation'], 'topology.parts[switch0].acs', /twice/],
  ])('%s = %j is refused', (path, value, where, message) => {
    const problems = said(withValueAt(twoSocketDocument(), path, value));
    expect(problems.find((one) => one.path === where)?.problem).toMatch(message);
  });

  it('one recording, since two would name the same pages', () => {
    const replay = (device: string): Record<string, unknown> => ({
      id: device,
      kind: 'replay',
      device,
      recording: 'r',
    });
    const document = { ...twoSocketDocument(), workloads: [replay('nvme0'), replay('nvme2')] };
    expect(said(document).map(({ path }) => path)).toEqual(['workloads[nvme2]']);
  });
});

function socket(index: number): Record<string, unknown> {
  return { id: `cpu${index}`, kind: 'socket' };
}

function memory(index: number, sizeGiB: number): Record<string, unknown> {
  return { id: `dram${index}`, kind: 'memory', parent: `cpu${index}`, sizeGiB };
}

/** A chain of switches below a new root port of the second socket. */
function switches(count: number): Record<string, unknown>[] {
  const chain = Array.from({ length: count }, (_, index) => ({
    id: `s${index}`,
    kind: 'switch',
    parent: index === 0 ? 'deep' : `s${index - 1}`,
  }));
  return [{ id: 'deep', kind: 'rootPort', parent: 'cpu1' }, ...chain];
}
