/**
 * The decomposed costs against the recorded table: every cell is made by the calls that the recorder made, on a warm
 * machine whose hardware costs nothing, and read off the CPU's clock.
 */
import { describe, expect, test } from 'vitest';
import { dmaCostParameters, resolveDmaCosts, DMA_COST_NAMES, DMA_COST_PRESETS } from './costs.ts';
import table from '../executedInstructions.fixture.json' with { type: 'json' };
import { KERNEL_PROFILE_NAMES, type KernelProfileName } from './profiles.ts';
import { ScatterList } from '../scatterList.ts';
import { TestMachine } from '../testMachine.ts';
import { DmaIovaState } from '../twoStep.ts';

const PICOSECONDS_PER_INSTRUCTION = 140;
const PAGE = 4096;
/** What the recorder's own loop adds to every cell, seen where n calls cost n times the same: 45 to 48, and 56 to 57. */
const RECORDER = { map: 46, unmap: 57 } as const;

type Calls = 'map' | 'sg' | 'link' | 'alloc';

interface Cell {
  readonly kernel: string;
  readonly mode: string;
  readonly pages: string;
  readonly n: number;
  readonly map?: readonly number[];
  readonly sg?: readonly number[];
  readonly link?: readonly number[];
  readonly alloc?: readonly number[];
}

/** Executed instructions of one round of calls, mapping and unmapping apart. */
function measure(machine: TestMachine, calls: Calls, n: number, scattered: boolean): readonly [number, number] {
  const { api, cpu, device } = machine;
  const phys = (index: number): number => 0x1000_0000 + index * (scattered ? 3 : 1) * PAGE;
  const start = cpu.now;
  let between: number;
  if (calls === 'map') {
    const addresses: number[] = [];
    for (let index = 0; index < n; index += 1) addresses.push(api.dmaMapPhys(cpu, device, phys(index), PAGE, 2, 0));
    between = cpu.now;
    for (const address of addresses) api.dmaUnmapPhys(cpu, device, address, PAGE, 2, 0);
  } else if (calls === 'sg') {
    const list = new ScatterList(n);
    for (let index = 0; index < n; index += 1) list.add(phys(index), PAGE);
    expect(api.dmaMapSg(cpu, device, list, 2, 0)).toBeGreaterThan(0);
    between = cpu.now;
    api.dmaUnmapSg(cpu, device, list, 2, 0);
  } else {
    const state = new DmaIovaState();
    expect(api.dmaIovaTryAlloc(cpu, device, state, 0, n * PAGE)).toBe(true);
    if (calls === 'link') {
      for (let index = 0; index < n; index += 1) {
        expect(api.dmaIovaLink(cpu, device, state, phys(index), index * PAGE, PAGE, 2, 0)).toBe(0);
      }
      expect(api.dmaIovaSync(cpu, device, state, 0, n * PAGE)).toBe(0);
      between = cpu.now;
      api.dmaIovaDestroy(cpu, device, state, n * PAGE, 2, 0);
    } else {
      between = cpu.now;
      api.dmaIovaFree(cpu, device, state);
    }
  }
  return [(between - start) / PICOSECONDS_PER_INSTRUCTION, (cpu.now - between) / PICOSECONDS_PER_INSTRUCTION];
}

/** The cheapest of several rounds, as the recorder took the minimum of 300. */
function cheapest(machine: TestMachine, calls: Calls, n: number, scattered: boolean): readonly [number, number] {
  let map = Infinity;
  let unmap = Infinity;
  for (let round = 0; round < 4; round += 1) {
    const [roundMap, roundUnmap] = measure(machine, calls, n, scattered);
    map = Math.min(map, roundMap);
    unmap = Math.min(unmap, roundUnmap);
    machine.api.flushQueueTimer(machine.cpu, machine.device);
  }
  return [map, unmap];
}

/** Relative errors of all cells of one kernel, worst first. */
function errors(
  kernel: KernelProfileName,
  cells: readonly Cell[],
): readonly { readonly cell: string; error: number }[] {
  const found: { cell: string; error: number }[] = [];
  for (const row of cells) {
    const domain = row.mode as 'strict' | 'lazy' | 'passthrough';
    for (const calls of ['map', 'sg', 'link', 'alloc'] as const) {
      const recorded = row[calls];
      if (recorded === undefined) continue;
      const machine = new TestMachine({ profile: kernel, domain, traced: false });
      const [map, unmap] = cheapest(machine, calls, row.n, row.pages === 'scattered');
      const name = `${kernel} ${row.mode} ${row.pages} n=${row.n} ${calls}`;
      found.push({ cell: `${name} map`, error: Math.abs(map + RECORDER.map - recorded[0]!) / recorded[0]! });
      found.push({ cell: `${name} unmap`, error: Math.abs(unmap + RECORDER.unmap - recorded[1]!) / recorded[1]! });
    }
  }
  return found.sort((left, right) => right.error - left.error);
}

describe('costs of the DMA API', () => {
  // 6.12: worst cell 3.5 % off (unmap of a list of 64 pages), 0.4 % on average; 7.3: 4.3 % (contiguous list of 2), 1.0 %.
  test.each(['6.12', '7.3'] as const)('add up to the instructions that kernel %s executed', (kernel) => {
    const cells = (table.cells as readonly Cell[]).filter((cell) => cell.kernel === kernel);
    expect(cells.length).toBe(42);
    const found = errors(kernel, cells);
    const mean = found.reduce((total, { error }) => total + error, 0) / found.length;
    expect(found[0]!.error, `worst cell: ${found[0]!.cell}`).toBeLessThan(0.045);
    expect(mean).toBeLessThan(0.012);
  });

  test('of a link and of destroy in 6.17 lie between those of 6.12 and the recorded two-step calls', () => {
    const machine = new TestMachine({ profile: '6.17', traced: false });
    const [map, unmap] = cheapest(machine, 'link', 32, true);
    const newer = (table.cells as readonly Cell[]).find(
      (cell) => cell.kernel === '7.2' && cell.mode === 'strict' && cell.n === 32 && cell.pages === 'scattered',
    );
    expect(map).toBeLessThan(newer!.link![0]!);
    expect(map).toBeGreaterThan(16_000);
    expect(Math.abs(unmap - newer!.link![1]!) / newer!.link![1]!).toBeLessThan(0.15);
  });

  test.each(DMA_COST_PRESETS)('of preset %s name a source for every parameter of every kernel', (preset) => {
    for (const profile of KERNEL_PROFILE_NAMES) {
      const parameters = dmaCostParameters(preset, profile);
      expect(parameters.map((parameter) => parameter.name)).toEqual(DMA_COST_NAMES);
      for (const parameter of parameters) {
        expect(parameter.source, parameter.name).not.toBe('');
        expect(parameter.value, parameter.name).toBeGreaterThanOrEqual(0);
      }
    }
  });

  test.each(['6.16', '6.17', '6.18', '7.2', 'ideal'] as const)('of %s are never called measured', (profile) => {
    const marks = dmaCostParameters('recorded-instructions', profile).map((parameter) => parameter.mark);
    expect(marks).not.toContain('measured');
  });

  test('of a kernel without values of its own say whose they are', () => {
    const [borrowed] = dmaCostParameters('recorded-instructions', '6.18');
    const [own] = dmaCostParameters('recorded-instructions', '6.17');
    expect(borrowed!.value).toBe(own!.value);
    expect(borrowed!.source).toBe(`${own!.source}; value of kernel 6.17, the nearest one known`);
  });

  test("turn instructions and nanoseconds into whole picoseconds, overrides in the parameter's own unit", () => {
    const parameters = dmaCostParameters('recorded-instructions', '7.3');
    expect(resolveDmaCosts(parameters).iovaSyncCall).toBe(57 * 140);
    expect(resolveDmaCosts(parameters).tablePageAllocate).toBe(400_000);
    expect(resolveDmaCosts(parameters, { iovaSyncCall: 100 }).iovaSyncCall).toBe(14_000);
    expect(resolveDmaCosts(parameters, { instructionTime: 0.28 }).iovaSyncCall).toBe(57 * 280);
  });

  test('refuse a negative override and say which one', () => {
    const parameters = dmaCostParameters('recorded-instructions', '7.3');
    expect(() => resolveDmaCosts(parameters, { mapSgCall: -1 })).toThrow('costs.overrides.mapSgCall: -1 is no cost.');
  });
});
