/** What is wrong with a lab, said with its place: every message names a path inside the document and what to do. */
import { describe, expect, it } from 'vitest';
import { canonicalJson } from './canonicalJson.ts';
import { checkLab, parseLab, parseLabText, withAssignment } from './check.ts';
import { parseAssignment, valueAt, withValueAt } from './documentPath.ts';
import { parseHostileJson } from './hostileJson.ts';
import { migrate } from './migrations.ts';
import { COST_PRESETS, costParameters, resolveCosts } from './presets.ts';
import { labJsonSchema } from './schema.ts';
import { sampleDocument, sampleLab } from './testing/sampleLab.ts';

/** The message for the sample lab after one change. */
function complaint(path: string, value: unknown, recordings: ReadonlySet<string> | null = null): string {
  try {
    parseLab(withValueAt(sampleDocument(), path, value), 'x', recordings);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return 'no complaint';
}

describe('a lab that does not hold together', () => {
  it.each<[string, unknown, RegExp]>([
    ['topology.parts[iommu0].parent', 'x', /^x: topology\.parts\[iommu0\]\.parent: no such part "x"\. There is cpu0\./],
    [
      'topology.parts[nvme0].parent',
      'cpu0',
      /parts\[nvme0\]\.parent: "cpu0" is a socket, and an nvme hangs below a rootPort/,
    ],
    [
      'topology.parts[iommu0]',
      undefined,
      /comparison\[sg-strict\]\.domain: strict needs an IOMMU, and the topology has none/,
    ],
    ['topology.parts[nvme0]', undefined, /topology\.parts: the machine has no device/],
    [
      'topology.parts[5]',
      { id: 'cpu1', kind: 'socket' },
      /parts\[cpu1\]: the socket has no memory\. Add \{ "id": "memory-cpu1"/,
    ],
    ['topology.parts[dram0].id', 'cpu0', /topology\.parts\[1\]\.id: "cpu0" is taken/],
    ['topology.parts[iommu0].walkers', 0, /parts\[iommu0\]\.walkers: it is too small\. The least is 1/],
    ['topology.parts[iommu0].walkers', 1.5, /parts\[iommu0\]\.walkers: /],
    ['topology.parts[iommu0].iotlb', 12, /parts\[iommu0\]: there is no "iotlb" here/],
    ['topology.parts[port0].lanes', 3, /parts\[port0\]\.lanes: must be a power of two/],
    ['workloads[reads].device', 'nvme1', /workloads\[reads\]\.device: no such drive "nvme1"\. Did you mean nvme0\?/],
    ['workloads[reads].blockSize', 1000, /workloads\[reads\]\.blockSize/],
    [
      'workloads[reads].queueDepth',
      1024,
      /workloads\[reads\]\.queueDepth: 1024 requests do not fit a submission queue of 1024/,
    ],
    ['workloads[reads].cpus', 9, /workloads\[reads\]\.cpus: the socket has 2 CPUs/],
    ['workloads[reads].blockSize', undefined, /no complaint/],
    ['kernelProfile', '6.12', /comparison\[two-strict\]\.scheme: Linux 6\.12 has no dma_iova_\* calls/],
    [
      'kernelProfile',
      '5.4',
      /x: kernelProfile: the value is not one of those that are allowed here\. Use "6\.12", "6\.16", "6\.17", "6\.18", "7\.2", "7\.3", "ideal"/,
    ],
    ['costs', { preset: 'defualt' }, /costs\.preset: there is no preset "defualt"\. Did you mean default\?/],
    [
      'costs',
      { overrides: { iotlbHitt: 3 } },
      /costs\.overrides\.iotlbHitt: there is no such cost\. Did you mean iotlbHit\?/,
    ],
    [
      'format',
      2,
      /^x: format: the lab is of format 2, and this version reads formats up to 1\. Open it with a newer IOVA Lab/,
    ],
    ['format', undefined, /format: there is no format version/],
    ['seed', 'one', /^x: seed: this is no number/],
    ['name', undefined, /^x: name: the value is missing/],
  ])('at %s = %j', (path, value, message) => {
    expect(complaint(path, value)).toMatch(message);
  });

  it('names the recording that is missing', () => {
    const replay = { id: 'r', kind: 'replay', device: 'nvme0', recording: 'w64' };
    expect(complaint('workloads[0]', replay, new Set(['w64k']))).toMatch(
      /workloads\[r\]\.recording: the lab carries no recording "w64"\. Did you mean w64k\?/,
    );
    expect(complaint('workloads[0]', replay, new Set(['w64']))).toBe('no complaint');
  });

  it('is listed with all its problems', () => {
    const broken = withValueAt(withValueAt(sampleDocument(), 'seed', -1), 'workloads[0].ioCount', 0);
    expect(checkLab(broken, 'x').problems.map((problem) => problem.path)).toEqual(['seed', 'workloads[reads].ioCount']);
    expect(() => parseLab(broken, 'x')).toThrow('1 more');
  });
});

describe('hostile JSON', () => {
  it.each([
    ['{"__proto__": {"polluted": 1}}', /the name "__proto__" is not allowed/],
    ['{"a": {"constructor": 1}}', /x: a: the name "constructor" is not allowed/],
    ['['.repeat(40) + ']'.repeat(40), /nested deeper than 16 levels/],
    [`[${'0,'.repeat(250_000)}0]`, /more than 200000 values/],
    ['{"format": 1', /this is not JSON/],
    ['[]', /a lab is a JSON object/],
    ['null', /a lab is a JSON object/],
  ])('is refused: %.40s', (text, message) => {
    expect(() => parseLabText(text, 'x')).toThrow(message);
  });

  it('is refused by its length before it is parsed', () => {
    expect(() => parseHostileJson(' '.repeat(100), 'x', 50)).toThrow('more than the 50 allowed');
  });
});

describe('migration', () => {
  it('brings an older document up step by step', () => {
    const steps = {
      1: (document: Record<string, unknown>) => ({ ...document, two: true }),
      2: (document: Record<string, unknown>) => ({ ...document, three: true }),
    };
    expect(migrate({ format: 1 }, 'x', 3, steps)).toEqual({ format: 3, two: true, three: true });
    expect(() => migrate({ format: 1 }, 'x', 2, {})).toThrow('format 1 can no longer be read');
  });
});

describe('paths', () => {
  it('find elements by index or id, and leave the original alone', () => {
    const document = sampleDocument();
    const before = canonicalJson(document);
    const changed = withValueAt(document, 'workloads[reads].blockSize', 4096);
    expect(valueAt(changed, 'workloads[0].blockSize')).toBe(4096);
    expect(canonicalJson(document)).toBe(before);
  });

  it('reads assignments as JSON where they are JSON', () => {
    expect(parseAssignment('seed=12')).toMatchObject({ path: 'seed', value: 12 });
    expect(parseAssignment('workloads[0].rw=randwrite')).toMatchObject({
      path: 'workloads[0].rw',
      value: 'randwrite',
    });
    expect(() => parseAssignment('seed')).toThrow('PATH=VALUE');
  });

  it.each<[string, string, unknown]>([
    ['kernelProfile=6.12', 'kernelProfile', '6.12'],
    ['kernelProfile="6.12"', 'kernelProfile', '6.12'],
    ['name=123', 'name', '123'],
    ['name=null', 'name', 'null'],
    ['workloads[reads].id=7', 'workloads[0].id', '7'],
    ['workloads[reads].contiguity=0.5', 'workloads[0].contiguity', 0.5],
    ['seed=one', 'seed', 'one'],
    ['seed=-1', 'seed', -1],
    ['costs={"preset":7}', 'costs.preset', 7],
  ])('takes the value of %s as JSON, or as text where only text fits', (assignment, path, value) => {
    expect(valueAt(withAssignment(sampleDocument(), assignment), path)).toBe(value);
  });

  it.each([
    ['workloads[nvme9].blockSize', /there is no "nvme9" among 1 elements/],
    ['workloads[', /stops making sense at "\["/],
    ['__proto__.x', /is no name of a lab/],
    ['seed.x', /there is nothing below "seed"/],
    ['', /it is empty/],
  ])('complains about %s', (path, message) => {
    expect(() => withValueAt(sampleDocument(), path, 1)).toThrow(message);
  });
});

describe('cost presets', () => {
  it('say unit, source, mark and help of every parameter, with the value inside its range', () => {
    for (const { id } of COST_PRESETS)
      for (const parameter of costParameters({
        costs: { preset: id, overrides: {} },
        kernelProfile: '7.3',
        workloads: [],
      })) {
        expect(parameter.source, parameter.name).not.toBe('');
        expect(parameter.help, parameter.name).not.toBe('');
        expect(['measured', 'derived', 'assumed']).toContain(parameter.mark);
        const [low, high] = parameter.range ?? [0, Number.POSITIVE_INFINITY];
        expect(parameter.value, parameter.name).toBeGreaterThanOrEqual(low);
        expect(parameter.value, parameter.name).toBeLessThanOrEqual(high);
      }
  });

  it('have the same hardware parameters, so that presets can be compared', () => {
    const names = COST_PRESETS.map((preset) => Object.keys(preset.parameters).sort());
    for (const other of names) expect(other).toEqual(names[0]);
  });

  it('add up to a one-level miss of about 229 ns, as Haswell was measured (pcie-bench)', () => {
    const { hardware } = resolveCosts({ preset: 'default', overrides: {} }, '7.3');
    const miss = hardware.iotlbHit + hardware.pagingCacheLookup + hardware.walkOverhead + hardware.tableRead;
    expect(miss).toBe(229_000);
  });

  it('give way to overrides by name', () => {
    const costs = { preset: 'default', overrides: { tableRead: 130, nvmeInterrupt: 1 } };
    expect(resolveCosts(costs, '7.3').hardware.tableRead).toBe(130_000);
    expect(resolveCosts(costs, '7.3').nvme.nvmeInterrupt).toBe(1_000);
    expect(
      costParameters({ costs, kernelProfile: '7.3', workloads: [] }).filter((parameter) => parameter.overridden),
    ).toHaveLength(2);
  });
});

describe('the schema', () => {
  it('is published as JSON Schema with its descriptions', () => {
    const schema = canonicalJson(labJsonSchema());
    expect(schema).toContain('json-schema.org/draft/2020-12');
    expect(schema).toContain('An I/O generator in the manner of fio.');
  });

  it('writes a document in one key order, whatever order it came in', () => {
    const { format, name, ...rest } = sampleDocument();
    expect(canonicalJson(parseLab({ ...rest, name, format }, 'x'))).toBe(canonicalJson(sampleLab()));
    expect(canonicalJson({ b: 1, a: [{ d: Number.NaN, c: undefined }] })).toBe(
      '{\n  "a": [\n    {\n      "d": null\n    }\n  ],\n  "b": 1\n}\n',
    );
  });
});
