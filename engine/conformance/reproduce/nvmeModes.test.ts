import { describe, expect, it } from 'vitest';
import { nvmeModesReference, PUBLISHED_CURVES } from './referenceFile.ts';
import { reproduceNvmeModes } from './nvmeModes.ts';
import { judgeSeries, type JudgedSeries } from './report.ts';

function rerun(system: string | null = null): JudgedSeries[] {
  const judged: JudgedSeries[] = [];
  reproduceNvmeModes(nvmeModesReference(PUBLISHED_CURVES), {
    system,
    onSeries: (series) => judged.push(judgeSeries(series)),
  });
  return judged;
}

describe('NVMe modes (linux-nvme, November 2025; zhzh2001/nvme-iommu)', () => {
  it('stand in the measured ratios where the CPU is the limit, and at the rate of the drive where that is', () => {
    const [cpuBound, deviceBound] = rerun();
    expect(cpuBound!.points.map(({ x }) => x)).toEqual(['lazy', 'passthrough', 'premapped-strict', 'premapped-lazy']);
    expect(cpuBound!.worst).toBeLessThan(0.1);
    expect(deviceBound!.points).toHaveLength(3);
    expect(deviceBound!.worst).toBeLessThan(0.1);
  });

  it('compare only what the file has, and only what was asked for', () => {
    const none = { onSeries: () => expect.unreachable(), system: null };
    reproduceNvmeModes({}, none);
    expect(rerun('nothing')).toEqual([]);
  });
});
