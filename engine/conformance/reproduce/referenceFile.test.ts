import { describe, expect, it } from 'vitest';
import {
  fandsReference,
  PUBLISHED_CURVES,
  pageFaultsReference,
  pcieBenchReference,
  readReferenceFile,
} from './referenceFile.ts';

describe('a file of curves', () => {
  it('that we ship has what every reproduction asks for', () => {
    expect(Object.keys(pcieBenchReference(PUBLISHED_CURVES).fit).length).toBeGreaterThan(2);
    expect(fandsReference(PUBLISHED_CURVES).flows?.x).toEqual([5, 40]);
    expect(pageFaultsReference(PUBLISHED_CURVES).npf_asplos17_us).toBeDefined();
  });

  it('may hold other systems, and nothing else', () => {
    const file = readReferenceFile(
      'mine.json',
      '{"pcie_bench":{"systems":{"A":{"lat_cmd_rd8":[[4096,400,399]],"other":1}},"fit":{"A":{"b":400,"m":200,"K":64}}}}',
    );
    expect(pcieBenchReference(file).systems['A']?.lat_cmd_rd8).toEqual([[4096, 400, 399]]);
    expect(() => fandsReference(file)).toThrow('mine.json: it has no "fands_sosp24"');
  });

  it('is refused with the place of a wrong value', () => {
    const wrong = readReferenceFile('a.json', '{"pcie_bench":{"systems":{},"fit":{"A":{"b":"x","m":1,"K":1}}}}');
    expect(() => pcieBenchReference(wrong)).toThrow('a.json: pcie_bench.fit.A.b');
    const uneven = readReferenceFile('b.json', '{"fands_sosp24":{"flows":{"x":[1,2],"l1":[0.5]}}}');
    expect(() => fandsReference(uneven)).toThrow('the columns have different lengths');
    const unbound = readReferenceFile('c.json', '{"iopf":{"npf_asplos17_us":{"4KiB":"about 3"}}}');
    expect(() => pageFaultsReference(unbound)).toThrow('neither a number nor a bound');
    expect(() => readReferenceFile('d.json', '[]')).toThrow('this is no file of curves');
    expect(() => readReferenceFile('e.json', '{"__proto__":{}}')).toThrow('not allowed');
  });
});
