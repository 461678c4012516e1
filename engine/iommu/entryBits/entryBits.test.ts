/** Names of bits: every bit of every format once, and values as the format itself writes them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AMD_V1 } from '../formats/amdV1.ts';
import { READ_WRITE, type PageTableFormat } from '../formats/pageTableFormat.ts';
import { RISCV_SV } from '../formats/riscvSv.ts';
import { VTD_FIRST_STAGE } from '../formats/vtdFirstStage.ts';
import { VTD_SECOND_STAGE } from '../formats/vtdSecondStage.ts';
import { entryText } from './bitField.ts';
import { entryFields, NAMED_FORMATS } from './entryBits.ts';

const word = fc.integer({ min: 0, max: 0xffff_ffff });

describe.each(NAMED_FORMATS)('%s', (format) => {
  it('names each of the 64 bits once, from the highest down, with the value that stands there', () => {
    fc.assert(
      fc.property(word, word, fc.boolean(), fc.boolean(), fc.nat(4), (low, high, present, leaf, level) => {
        const whole = BigInt(entryText(low, high));
        let next = 63;
        let again = 0n;
        for (const field of entryFields(format, low, high, { present, leaf, level })) {
          expect(field.high).toBe(next);
          expect(field.low).toBeLessThanOrEqual(field.high);
          again |= BigInt(field.value) << BigInt(field.low);
          next = field.low - 1;
        }
        expect(next).toBe(-1);
        expect(again).toBe(whole);
      }),
      { seed: 4, numRuns: 300 },
    );
  });
});

const FORMATS: readonly (readonly [PageTableFormat, string])[] = [
  [VTD_SECOND_STAGE, 'ADDR'],
  [VTD_FIRST_STAGE, 'ADDR'],
  [AMD_V1, 'ADDR'],
  [RISCV_SV, 'PPN'],
];

describe.each(FORMATS)('$name', (format, address) => {
  const meanings = (low: number, high: number, leaf: boolean, level: number): Record<string, string> =>
    Object.fromEntries(
      entryFields(format.name, low, high, { present: true, leaf, level }).map(({ name, meaning }) => [name, meaning]),
    );

  it('says where a leaf lies that the format wrote, and that both directions are allowed', () => {
    const low = format.leafLow(0x1_2345, 0, 1, READ_WRITE);
    const high = format.leafHigh(0x1_2345, 0, 1, READ_WRITE);
    const said = meanings(low, high, true, 0);
    expect(said[address]).toBe('page at 0x12345000');
    expect(Object.values(said).filter((meaning) => meaning.startsWith('no reads') || meaning === 'no writes')).toEqual(
      [],
    );
  });

  it('says where a table lies that the format points at', () => {
    const said = meanings(format.tableLow(0x77, 2), format.tableHigh(0x77), false, 2);
    expect(said[address]).toBe('table at 0x77000');
  });

  it('says of an absent entry only that it is absent', () => {
    const said = entryFields(format.name, 0, 0, { present: false, leaf: true, level: 0 });
    const meanings = said.map(({ meaning }) => meaning).filter((meaning) => meaning !== '');
    expect(meanings.length).toBeGreaterThan(0);
    for (const meaning of meanings) expect(meaning).toMatch(/^(not present|not valid|no reads|no writes)/);
  });
});
