/** Page faults of devices rerun (ASPLOS'17; Kunpeng 920): published points, points in between, and points that name nothing. */
import { describe, expect, it } from 'vitest';
import { reproduceOdpFaults } from './odpFaults.ts';
import { onDemandPaging, pageRequests, stalledFaults } from './pageFaultHosts.ts';
import { pageFaultsReference, PUBLISHED_CURVES, readReferenceFile } from './referenceFile.ts';
import { judgeSeries, type JudgedSeries } from './report.ts';

const PAGE = 4096;
const KIB = 1024;

function rerun(system: string | null): JudgedSeries[] {
  const judged: JudgedSeries[] = [];
  const onSeries = (series: Parameters<typeof judgeSeries>[0]): void => {
    judged.push(judgeSeries(series));
  };
  reproduceOdpFaults(pageFaultsReference(PUBLISHED_CURVES), { system, onSeries });
  return judged;
}

describe('page faults of devices', () => {
  it('take what was published, within a tenth, and the right side of the bound', () => {
    const judged = rerun(null);
    expect(judged.flatMap(({ points }) => points).length).toBe(4);
    for (const { worst } of judged) expect(worst).toBeLessThan(0.1);
    expect(rerun('Kunpeng').map(({ name }) => name)).toEqual(['Kunpeng 920']);
  });

  it('take longer for more pages, and much longer the fewer of them one fault brings', () => {
    const sizes = [4, 16, 64, 256, 1024, 4096].map((size) => onDemandPaging(size * KIB, 1024));
    for (const { faults } of sizes) expect(faults).toBe(1);
    const times = sizes.map(({ microseconds }) => microseconds);
    expect(times).toEqual([...times].sort((left, right) => left - right));
    const batches = [1024, 64, 16, 4].map((pages) => onDemandPaging(1024 * KIB, pages));
    expect(batches.map(({ faults }) => faults)).toEqual([1, 4, 16, 64]);
    for (let index = 1; index < batches.length; index += 1) {
      expect(batches[index]!.microseconds).toBeGreaterThan(3 * batches[index - 1]!.microseconds);
    }
  });

  it('come one a page by page requests and by stalls, and each costs the same', () => {
    for (const faulting of [(bytes: number) => pageRequests(bytes, 1), stalledFaults]) {
      const few = faulting(16 * PAGE);
      const many = faulting(256 * PAGE);
      expect([few.faults, many.faults]).toEqual([16, 256]);
      expect(many.microseconds / many.faults / (few.microseconds / few.faults)).toBeCloseTo(1, 1);
    }
  });

  it.each(['4KB', '1GiB', '0KiB', 'ats_pri_4KiB', '4KiB_batch_0'])('refuse a point that names no message: %s', (x) => {
    const file = readReferenceFile('a.json', JSON.stringify({ iopf: { npf_asplos17_us: { [x]: 1 } } }));
    expect(() => pageFaultsReference(file)).toThrow(/^a\.json: iopf\.npf_asplos17_us.*: names no message/);
  });
});
