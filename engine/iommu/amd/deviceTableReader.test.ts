/**
 * Requests through the device table and the GCR3 tables (AMD specification 48882, 2.2.2 and 2.2.6), against a lookup written from the bit
 * tables on whole words.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PhysicalMemory } from '../../memory/physicalMemory.ts';
import { NO_PASID } from '../../pcie/translator.ts';
import { naiveFirstStage, naiveNestedWalk, type NaiveStage } from '../formats/naiveNested.ts';
import { naiveWalk, writeEntry } from '../formats/naiveTables.ts';
import { FunctionalTranslation } from '../functionalTranslation.ts';
import { DeviceTableReader } from './deviceTableReader.ts';

const PAGES = 2 ** 12;
const DEVICE_TABLE = 512;
const DEVICE = 0x0123;
const GUEST = [200, 201, 202, 203] as const;
const HOST = [210, 211, 212, 213] as const;
const GCR3 = [220, 221, 222] as const;

interface Setup {
  readonly mode: bigint;
  readonly glx: bigint;
  readonly guest: boolean;
  readonly guestIo: boolean;
  readonly allowed: bigint;
  readonly valid: bigint;
}

function placeDevice(memory: PhysicalMemory, setup: Setup): void {
  const { mode, glx, guest, guestIo, allowed, valid } = setup;
  const table = BigInt(GCR3[0]);
  const low =
    valid |
    (mode << 9n) |
    (BigInt(HOST[0]) << 12n) |
    (guestIo ? 1n << 54n : 0n) |
    (guest ? 1n << 55n : 0n) |
    (glx << 56n) |
    ((table & 7n) << 58n) |
    (allowed << 61n);
  const page = DEVICE_TABLE + (DEVICE >> 7);
  const at = (DEVICE & 127) * 4;
  writeEntry(memory, page, at, low);
  writeEntry(memory, page, at + 1, 0xbeefn | (((table >> 3n) & 0xffffn) << 16n) | ((table >> 19n) << 43n));
}

/** Leads one PASID to the guest's root through so many levels. */
function placePasid(memory: PhysicalMemory, pasid: number, levels: number): void {
  for (let level = levels - 1; level >= 0; level -= 1) {
    const next = level === 0 ? GUEST[0] : GCR3[levels - level]!;
    writeEntry(memory, GCR3[levels - 1 - level]!, (pasid >> (9 * level)) & 511, (BigInt(next) << 12n) | 1n);
  }
}

/** Random 4-KiB leaves in both stages; the guest's tables lie where guest and host addresses agree. */
function placeTables(memory: PhysicalMemory, seed: number): void {
  let state = seed;
  const below = (limit: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * limit);
  };
  const full = 1n | (3n << 61n);
  for (let at = 0; at < 3; at += 1) {
    writeEntry(memory, GUEST[at]!, 0, (BigInt(GUEST[at + 1]!) << 12n) | 7n);
    writeEntry(memory, HOST[at]!, 0, (BigInt(HOST[at + 1]!) << 12n) | (BigInt(3 - at) << 9n) | full);
  }
  for (let index = 0; index < 512; index += 1) {
    writeEntry(memory, GUEST[3], index, (BigInt(below(512)) << 12n) | [7n, 7n, 5n, 0n, 3n][below(5)]!);
    const own = GUEST.includes(index as 200);
    const host = BigInt(own ? index : 1024 + below(1024)) << 12n;
    writeEntry(memory, HOST[3], index, host | (own ? full : [full, full, 1n | (1n << 61n), 0n][below(4)]!));
  }
}

/** Host tables of 4-KiB leaves whose pointers skip no level. */
const HOST_STAGE: NaiveStage = {
  widthBits: 48n,
  signed: false,
  levels: 4,
  step: (entry, level) => {
    if ((entry & 1n) === 0n) return 'fault';
    const target = entry & 0xf_ffff_ffff_f000n;
    const permitted = { read: ((entry >> 61n) & 1n) === 1n, write: ((entry >> 62n) & 1n) === 1n };
    return level > 0 ? { table: target, ...permitted } : { leaf: target, ...permitted };
  },
};

/** The page, or minus the stage that refuses; -0.5 where it is not a matter of tables. */
function naive(
  memory: PhysicalMemory,
  setup: Setup,
  known: number,
  pasid: number,
  page: number,
  write: boolean,
): number {
  const { mode, glx, guest, guestIo, allowed, valid } = setup;
  if ((valid & 1n) === 0n) return page;
  if (valid !== 3n || mode > 6n) return -0.5;
  const plain = pasid === NO_PASID;
  if (!plain && !guest) return -0.5;
  const usesGuest = guest && (!plain || guestIo);
  const process = plain ? 0 : pasid;
  if (usesGuest && (glx === 3n || process !== known || process >= 512 ** (Number(glx) + 1))) return -0.5;
  if ((allowed & (write ? 2n : 1n)) === 0n) return -0.5;
  const address = BigInt(page) << 12n;
  if (!usesGuest) {
    if (mode === 0n) return page;
    const found = naiveWalk(memory, 'amd-v1', HOST[0], 4, address, write);
    return found === null ? -2 : Number(found >> 12n);
  }
  if (mode === 0n) {
    const found = naiveWalk(memory, 'vtd-first-stage', GUEST[0], 4, address, write);
    return found === null ? -1 : Number(found >> 12n);
  }
  const roots = [BigInt(GUEST[0]) << 12n, BigInt(HOST[0]) << 12n] as const;
  const found = naiveNestedWalk(memory, naiveFirstStage(4), roots[0], HOST_STAGE, roots[1], address, write);
  return typeof found === 'number' ? -found : Number(found.phys >> 12n);
}

test('host, guest, both or neither, by GCR3 tables of one to three levels: as the bit tables say', () => {
  const often = fc.constantFrom(true, true, false);
  const setups = fc.record({
    mode: fc.constantFrom(0n, 4n, 4n, 7n),
    glx: fc.bigInt({ min: 0n, max: 3n }),
    guest: often,
    guestIo: often,
    allowed: fc.constantFrom(3n, 3n, 3n, 1n, 2n, 0n),
    valid: fc.constantFrom(3n, 3n, 3n, 3n, 3n, 1n, 0n),
  });
  const pasids = fc.oneof(fc.constant(0), fc.nat(511), fc.nat(2 ** 18 - 1), fc.nat(2 ** 20 - 1));
  const outcomes = new Map<string, number>();
  fc.assert(
    fc.property(setups, pasids, fc.nat(2 ** 30), (setup, known, seed) => {
      const memory = new PhysicalMemory(PAGES * 4096);
      placeDevice(memory, setup);
      // a PASID that its levels cannot tell from another must not be found by what they share
      if (setup.glx < 3n) placePasid(memory, known, Number(setup.glx) + 1);
      placeTables(memory, seed);
      const iommu = new FunctionalTranslation(memory, new DeviceTableReader(memory));
      iommu.setRootTable(DEVICE_TABLE);
      for (let request = 0; request < 40; request += 1) {
        const pasid = [known, known, NO_PASID, (known + 1) % 2 ** 20][request % 4]!;
        const page = (seed + request * 37) % 512;
        const write = request % 3 === 0;
        const wanted = naive(memory, setup, known, pasid, page, write);
        const found = iommu.translate(DEVICE, pasid, page, write);
        expect(found ? iommu.physPage : -iommu.faultStage || -0.5).toBe(wanted);
        const stages = `${setup.mode === 4n ? 'host' : ''}${setup.guest ? `guest${setup.glx}` : ''} ${wanted >= 0 ? 'page' : wanted}`;
        outcomes.set(stages, (outcomes.get(stages) ?? 0) + 1);
      }
    }),
    { numRuns: 600, seed: 11 },
  );
  for (const levels of [0, 1, 2]) {
    for (const outcome of ['page', '-1', '-2'])
      expect(outcomes.get(`hostguest${levels} ${outcome}`)).toBeGreaterThan(20);
    for (const outcome of ['page', '-1']) expect(outcomes.get(`guest${levels} ${outcome}`)).toBeGreaterThan(20);
  }
});

test('a lookup reads the device entry and one entry for each level of the GCR3 table; the tags are domain and PASID', () => {
  for (const levels of [1, 2, 3]) {
    const memory = new PhysicalMemory(PAGES * 4096);
    placeDevice(memory, {
      mode: 0n,
      glx: BigInt(levels - 1),
      guest: true,
      guestIo: false,
      allowed: 1n,
      valid: 3n,
    });
    placePasid(memory, 300, levels);
    placeTables(memory, 1);
    writeEntry(memory, GUEST[3], 5, (77n << 12n) | 7n);
    const reader = new DeviceTableReader(memory);
    const iommu = new FunctionalTranslation(memory, reader);
    iommu.setRootTable(DEVICE_TABLE);
    expect(iommu.translate(DEVICE, 300, 5, false)).toBe(true);
    const { lookupReads, domainId, space } = reader;
    const { tableReads, physPage, permissions } = iommu;
    expect({ lookupReads, tableReads, domainId, space, physPage, permissions }).toEqual({
      lookupReads: 1 + levels,
      tableReads: 4,
      domainId: 0xbeef,
      space: 300,
      physPage: 77,
      permissions: 1,
    });
  }
});

test('GuestPagingMode, bits 183:182 of the entry, says how many levels the guest tables have: 0 four, 1 five, others none (2.2.2.1)', () => {
  for (const [mode, levels] of [
    [0n, 4],
    [1n, 5],
    [2n, null],
    [3n, null],
  ] as const) {
    const memory = new PhysicalMemory(PAGES * 4096);
    placeDevice(memory, { mode: 0n, glx: 0n, guest: true, guestIo: false, allowed: 3n, valid: 3n });
    placePasid(memory, 7, 1);
    writeEntry(memory, DEVICE_TABLE + (DEVICE >> 7), (DEVICE & 127) * 4 + 2, mode << (182n - 128n));
    const reader = new DeviceTableReader(memory);
    expect(reader.read(DEVICE_TABLE, DEVICE, 7)).toBe(levels !== null);
    if (levels !== null) expect(reader.levels).toBe(levels);
  }
});
