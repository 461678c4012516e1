import { describe, expect, it } from 'vitest';
import { NvmeDataPointerWalk } from './nvmeDataPointer.ts';
import {
  NVME_CMD_SGL_METABUF,
  NVME_SC_INVALID_FIELD,
  NVME_SC_PRP_INVALID_OFFSET,
  NVME_SC_SGL_INVALID_DATA,
  NVME_SC_SGL_INVALID_TYPE,
  NVME_SC_SUCCESS,
  NVME_SGL_FMT_DATA_DESC,
  NVME_SGL_FMT_LAST_SEG_DESC,
  NVME_SGL_FMT_SEG_DESC,
  SQE_DPTR,
} from './nvmeSpecification.ts';

/** Dwords of 64-bit values, low half first. */
function prps(...values: number[]): number[] {
  return values.flatMap((value) => [value % 2 ** 32, Math.floor(value / 2 ** 32)]);
}

function descriptor(address: number, length: number, type: number): number[] {
  return [...prps(address), length, (type << 28) >>> 0];
}

function entry(flags: number, pointer: readonly number[]): Uint32Array {
  const dwords = new Uint32Array(16);
  dwords[0] = flags << 8;
  dwords.set(pointer, SQE_DPTR);
  return dwords;
}

/** Walks with `memory` as the dwords that the bus returns for an address. */
function walk(flags: number, pointer: readonly number[], bytes: number, memory: Map<number, readonly number[]>) {
  const result = new NvmeDataPointerWalk();
  const fetches: [number, number][] = [];
  result.start(entry(flags, pointer), 0, bytes, true);
  while (result.fetchBytes > 0) {
    fetches.push([result.fetchAddress, result.fetchBytes]);
    result.consume(Uint32Array.from(memory.get(result.fetchAddress) ?? []));
  }
  const ranges = Array.from({ length: result.count }, (_, index) => [result.address[index], result.length[index]]);
  return { status: result.status, fetches, ranges };
}

const NOTHING = new Map<number, readonly number[]>();

describe('PRP entries (NVM Express Base 4.1.1)', () => {
  it('takes an offset in PRP1 and the rest from PRP2', () => {
    const { ranges, status } = walk(0, prps(0x1_0000_0e00, 0x9000), 0x1000, NOTHING);
    expect(status).toBe(NVME_SC_SUCCESS);
    expect(ranges).toEqual([
      [0x1_0000_0e00, 0x200],
      [0x9000, 0xe00],
    ]);
  });

  it('follows a list, joins neighbours, and fetches no more entries than it needs', () => {
    const memory = new Map([[0x5000, prps(0x20000, 0x21000, 0x40000)]]);
    const { ranges, fetches } = walk(0, prps(0x10000, 0x5000), 4 * 4096, memory);
    expect(fetches).toEqual([[0x5000, 24]]);
    expect(ranges).toEqual([
      [0x10000, 4096],
      [0x20000, 8192],
      [0x40000, 4096],
    ]);
  });

  it('follows the last entry of a full page to the next page', () => {
    const pages = Array.from({ length: 513 }, (_, index) => 0x100_0000 + index * 8192);
    const memory = new Map<number, readonly number[]>([
      [0x5000, prps(...pages.slice(0, 511), 0x7000)],
      [0x7000, prps(...pages.slice(511))],
    ]);
    const { ranges, fetches, status } = walk(0, prps(0x10000, 0x5000), 514 * 4096, memory);
    expect(status).toBe(NVME_SC_SUCCESS);
    expect(fetches).toEqual([
      [0x5000, 4096],
      [0x7000, 16],
    ]);
    expect(ranges.slice(1).map(([address]) => address)).toEqual(pages);
  });

  it('refuses an entry with an offset', () => {
    expect(walk(0, prps(0x10000, 0x9200), 8192, NOTHING).status).toBe(NVME_SC_PRP_INVALID_OFFSET);
    const memory = new Map([[0x5000, prps(0x20000, 0x21200)]]);
    expect(walk(0, prps(0x10000, 0x5000), 3 * 4096, memory).status).toBe(NVME_SC_PRP_INVALID_OFFSET);
  });
});

describe('SGLs (NVM Express Base 4.1.2)', () => {
  const SGL = NVME_CMD_SGL_METABUF;

  it('takes one inline data block of any alignment', () => {
    const { ranges } = walk(SGL, descriptor(0x1_2345_6789, 131_072, NVME_SGL_FMT_DATA_DESC), 131_072, NOTHING);
    expect(ranges).toEqual([[0x1_2345_6789, 131_072]]);
  });

  it('follows segments to the last one', () => {
    const memory = new Map([
      [
        0x5000,
        [...descriptor(0x10000, 1024, NVME_SGL_FMT_DATA_DESC), ...descriptor(0x6000, 16, NVME_SGL_FMT_LAST_SEG_DESC)],
      ],
      [0x6000, descriptor(0x20200, 512, NVME_SGL_FMT_DATA_DESC)],
    ]);
    const { ranges, fetches } = walk(SGL, descriptor(0x5000, 32, NVME_SGL_FMT_SEG_DESC), 1536, memory);
    expect(fetches).toEqual([
      [0x5000, 32],
      [0x6000, 16],
    ]);
    expect(ranges).toEqual([
      [0x10000, 1024],
      [0x20200, 512],
    ]);
  });

  it('refuses a list that is longer or shorter than the transfer, and unknown descriptors', () => {
    const data = (length: number) => descriptor(0x10000, length, NVME_SGL_FMT_DATA_DESC);
    expect(walk(SGL, data(1024), 512, NOTHING).status).toBe(NVME_SC_SGL_INVALID_DATA);
    expect(walk(SGL, data(512), 1024, NOTHING).status).toBe(NVME_SC_SGL_INVALID_DATA);
    expect(walk(SGL, descriptor(0x10000, 512, 4), 512, NOTHING).status).toBe(NVME_SC_SGL_INVALID_TYPE);
  });

  it('refuses SGLs where the drive has none', () => {
    const drive = new NvmeDataPointerWalk();
    drive.start(entry(SGL, descriptor(0, 512, NVME_SGL_FMT_DATA_DESC)), 0, 512, false);
    expect(drive.status).toBe(NVME_SC_INVALID_FIELD);
  });
});
