/**
 * Files of curves from strangers: whatever is wrong with one is said with its place in the file, before anything runs. No simulation
 * runs here: a file that is found sound gives a function, which is not called.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LabError } from '../../time/labError.ts';
import { prepareReproduction, REPRODUCTION_NAMES } from './reproduce.ts';
import { PUBLISHED_CURVES, readReferenceFile } from './referenceFile.ts';

type Members = Record<string, unknown>;

const KEYS: Readonly<Record<string, string>> = {
  'pcie-bench': 'pcie_bench',
  fands: 'fands_sosp24',
  'nvme-modes': 'nvme_modes',
  'odp-faults': 'iopf',
  'smmu-scaling': 'smmuv3_kunpeng_strict_mapunmap_per_cpu_per_s',
};

/** Null: it would run. */
async function refusal(name: string, text: string): Promise<LabError | null> {
  try {
    await prepareReproduction(name, readReferenceFile('a.json', text), null);
    return null;
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
}

/** A file in which one measurement is `value`. */
function holding(name: string, value: string): string {
  return `{"${KEYS[name] ?? ''}":${value}}`;
}

describe('a file of curves that we ship', () => {
  it.each(REPRODUCTION_NAMES)('runs: %s', async (name) => {
    expect(KEYS[name]).toBeDefined();
    expect(await refusal(name, JSON.stringify(PUBLISHED_CURVES.value))).toBeNull();
  });
});

describe('a file of curves with something wrong', () => {
  const everywhere: [string, RegExp][] = [
    ['null', /^a\.json: KEY$/],
    ['[]', /^a\.json: KEY$/],
    ['"x"', /^a\.json: KEY$/],
    [`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /^a\.json: KEY\.a\[0\]/],
    [`{"a":[${'0,'.repeat(1_000_000)}0]}`, /^a\.json: KEY\.a$/],
    ['{"__proto__":{"a":1}}', /^a\.json: KEY$/],
    ['{"a":{"constructor":1}}', /^a\.json: KEY\.a$/],
  ];
  it.each(REPRODUCTION_NAMES.flatMap((name) => everywhere.map(([value, place]) => [name, place, value] as const)))(
    '%s is refused by its place, as in %s',
    async (name, place, value) => {
      const found = await refusal(name, holding(name, value));
      expect(found?.where).toMatch(new RegExp(place.source.replace('KEY', KEYS[name] ?? '')));
    },
  );

  const pcie = (curve: string, fit = '{"b":420,"m":240,"K":100}', system = 'A') =>
    `{"systems":{"${system}":{"lat_cmd_rd8":${curve}}},"fit":{"${system}":${fit}}}`;
  const CURVE = '[[4096,400]]';
  it.each<[string, string, string]>([
    ['pcie-bench', 'pcie_bench.systems', '{"fit":{}}'],
    ['pcie-bench', 'pcie_bench.fit', '{"systems":{}}'],
    ['pcie-bench', 'pcie_bench.systems.A', '{"systems":{"A":[]},"fit":{}}'],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8', pcie('[]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][0]', pcie('[[]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][1]', pcie('[[4096]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][1]', pcie('[[4096,"400"]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[1][1]', pcie('[[4096,400],[4096,-1]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][1]', pcie('[[4096,null]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][1]', pcie('[[4096,1e999]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][1]', pcie('[[4096,5e-324]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][0]', pcie('[[4096.5,400]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8[0][0]', pcie('[[0,400]]')],
    ['pcie-bench', 'pcie_bench.systems.A.lat_cmd_rd8', pcie(`[${'[4096,400],'.repeat(10_000)}[4096,400]]`)],
    ['pcie-bench', 'pcie_bench.fit.A.K', pcie(CURVE, '{"b":420,"m":240}')],
    ['pcie-bench', 'pcie_bench.fit.A.m', pcie(CURVE, '{"b":420,"m":-1,"K":1}')],
    ['pcie-bench', 'pcie_bench.fit.A.K', pcie(CURVE, '{"b":420,"m":240,"K":1.5}')],
    ['pcie-bench', 'pcie_bench.fit.A.b', pcie(CURVE, '{"b":10,"m":240,"K":100}')],
    ['pcie-bench', 'pcie_bench.fit.A', pcie(CURVE, 'null')],
    ['pcie-bench', 'pcie_bench.systems[]', pcie(CURVE, undefined, '')],
    ['pcie-bench', 'pcie_bench.systems[?[2J]', pcie(CURVE, undefined, '\\u001b[2J')],
    ['fands', 'fands_sosp24.flows.x', '{"flows":{}}'],
    ['fands', 'fands_sosp24.flows.x', '{"flows":{"x":[]}}'],
    ['fands', 'fands_sosp24.flows.l1', '{"flows":{"x":[5],"l1":[]}}'],
    ['fands', 'fands_sosp24.flows', '{"flows":{"x":[5],"l1":[0.1,0.2]}}'],
    ['fands', 'fands_sosp24.flows.x[0]', '{"flows":{"x":["5"]}}'],
    ['fands', 'fands_sosp24.flows.l1[0]', '{"flows":{"x":[5],"l1":["much"]}}'],
    ['fands', 'fands_sosp24.ring.x[0]', '{"ring":{"x":[1e9]}}'],
    ['fands', 'fands_sosp24.ring.x[0]', '{"ring":{"x":[63]}}'],
    ['nvme-modes', 'nvme_modes.optane_t_io_uring_kiops.strict', '{"optane_t_io_uring_kiops":{}}'],
    ['nvme-modes', 'nvme_modes.optane_t_io_uring_kiops.strict', '{"optane_t_io_uring_kiops":{"strict":0}}'],
    ['nvme-modes', 'nvme_modes.nvme_qd128x4_4k_randread_iops.pt', '{"nvme_qd128x4_4k_randread_iops":{"pt":-1}}'],
    ['odp-faults', 'iopf.npf_asplos17_us', '{"npf_asplos17_us":[]}'],
    ['odp-faults', 'iopf.npf_asplos17_us[4KiB]', '{"npf_asplos17_us":{"4KiB":null}}'],
    ['odp-faults', 'iopf.npf_asplos17_us[4KiB]', '{"npf_asplos17_us":{"4KiB":">"}}'],
    ['odp-faults', 'iopf.npf_asplos17_us[4KiB]', '{"npf_asplos17_us":{"4KiB":">1e999"}}'],
    ['odp-faults', 'iopf.npf_asplos17_us[?4KiB]', '{"npf_asplos17_us":{"\\u00074KiB":1}}'],
    [
      'odp-faults',
      `iopf.npf_asplos17_us[${'9'.repeat(100)}...]`,
      `{"npf_asplos17_us":{"${'9'.repeat(100_000)}KiB":1}}`,
    ],
    [
      'odp-faults',
      'iopf.kunpeng920_sva_stall_us_per_fault_derived',
      '{"kunpeng920_sva_stall_us_per_fault_derived":"10"}',
    ],
    ['smmu-scaling', 'smmuv3_kunpeng_strict_mapunmap_per_cpu_per_s.after', '{"cpus":[8],"after":[]}'],
    ['smmu-scaling', 'smmuv3_kunpeng_strict_mapunmap_per_cpu_per_s', '{"cpus":[8],"after":[1,2]}'],
    ['smmu-scaling', 'smmuv3_kunpeng_strict_mapunmap_per_cpu_per_s.cpus[0]', '{"cpus":[0],"after":[1]}'],
    ['smmu-scaling', 'smmuv3_kunpeng_strict_mapunmap_per_cpu_per_s.after', '{"cpus":[8]}'],
  ])('%s is refused by its place, as in %s', async (name, place, value) => {
    const found = await refusal(name, holding(name, value));
    expect(found?.where).toBe(`a.json: ${place}`);
    expect(found?.message.length).toBeLessThan(1000);
  });

  it('is refused where it lacks the measurement, and by name where it is not JSON', async () => {
    for (const name of REPRODUCTION_NAMES) {
      expect((await refusal(name, '{}'))?.message).toContain(`a.json: it has no "${KEYS[name] ?? ''}"`);
      expect((await refusal(name, '{"a":'))?.message).toContain('a.json: this is not JSON');
      expect((await refusal(name, ''))?.message).toContain('a.json: this is not JSON');
    }
  });
});

describe('a file of curves with anything changed', () => {
  const evil = fc.constantFrom<unknown>(
    null,
    true,
    'x',
    '',
    '>5',
    '<',
    -1,
    0,
    0.5,
    1e-320,
    1e15,
    1e300,
    [],
    {},
    [[]],
    [1, 2],
    { x: 1 },
    { toString: 1 },
    'y'.repeat(5000),
  );
  const change = fc.record({
    path: fc.array(fc.nat(20), { minLength: 1, maxLength: 5 }),
    how: fc.constantFrom('put', 'remove', 'double', 'rename'),
    value: evil,
    name: fc.constantFrom('toString', 'valueOf', 'hasOwnProperty', ' ', '\u0000', 'length', '0'),
  });

  it('is refused by its place, or would run', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const document = structuredClone(PUBLISHED_CURVES.value) as Members;
        for (const one of changes) apply(document, one);
        const text = JSON.stringify(document);
        for (const name of REPRODUCTION_NAMES) {
          const found = await refusal(name, text);
          if (found !== null) expect(found.where).toMatch(/^a\.json(: \w+|$)/);
        }
      }),
      { seed: 5, numRuns: 1500 },
    );
  });

  interface Change {
    readonly path: readonly number[];
    readonly how: string;
    readonly value: unknown;
    readonly name: string;
  }

  /** Follows the numbers from member to member as far as there are any, and changes the one that they lead to. */
  function apply(document: Members, { path, how, value, name }: Change): void {
    let holder: Members = document;
    for (const [depth, number] of path.entries()) {
      const keys: string[] = Object.keys(holder);
      const key = keys[number % Math.max(1, keys.length)];
      if (key === undefined) return;
      const next = holder[key];
      if (depth < path.length - 1 && typeof next === 'object' && next !== null) {
        holder = next as Members;
        continue;
      }
      if (how === 'put') holder[key] = value;
      else if (how === 'double') holder[`${key}2`] = next ?? null;
      else {
        Reflect.deleteProperty(holder, key);
        if (how === 'rename' && !Array.isArray(holder))
          Object.defineProperty(holder, name, { value: next, enumerable: true, writable: true, configurable: true });
      }
      return;
    }
  }
});
