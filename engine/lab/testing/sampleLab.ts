/** A small whole lab, a recording and a result, for tests. */
import { Metrics } from '../../metrics/metrics.ts';
import { ENGINE_VERSION } from '../engineVersion.ts';
import { parseLab } from '../check.ts';
import type { LabFile } from '../container.ts';
import type { RunResult } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';
import { summarize } from '../summary.ts';

export function sampleDocument(): Record<string, unknown> {
  return {
    format: 1,
    name: 'Sample',
    seed: 7,
    kernelProfile: '7.3',
    topology: {
      parts: [
        { id: 'cpu0', kind: 'socket', cpus: 2 },
        { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 4 },
        { id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
        { id: 'port0', kind: 'rootPort', parent: 'cpu0' },
        { id: 'nvme0', kind: 'nvme', parent: 'port0' },
      ],
    },
    workloads: [{ id: 'reads', kind: 'bio', device: 'nvme0', ioCount: 200, queueDepth: 8, regionMiB: 64 }],
    comparison: [
      { id: 'sg-strict', scheme: 'map_sg', domain: 'strict' },
      { id: 'two-strict', label: 'two_step, strict', scheme: 'two_step', domain: 'strict' },
    ],
  };
}

export function sampleLab(change: Record<string, unknown> = {}): LabDocument {
  return parseLab({ ...sampleDocument(), ...change }, 'sample');
}

/** A result with plausible series, without running a machine. */
export function sampleResult(id: string, comparisonId: string, requests = 500): RunResult {
  const metrics = new Metrics({ windows: 32, windowPs: 1_000_000 });
  for (let index = 0; index < requests; index += 1) {
    const at = index * 2_000_000;
    metrics.beginEvent(at);
    metrics.counters.add('iotlbLookups', 256);
    metrics.counters.add('iotlbMisses4K', 17 + (index % 3));
    metrics.recordMapLatency(at, 2_000_000 + (index % 10) * 100_000);
    metrics.recordUnmapLatency(at, 1_500_000);
    metrics.recordIoLatency(at, 90_000_000, 65_536);
    metrics.addBookkeeping(at, index % 2 === 0 ? 512 : -512);
  }
  metrics.credit();
  metrics.log.add(5, 'info', 'nvme0', 'ready');
  const progress = {
    runId: id,
    virtualTimePs: metrics.series.endPs,
    completed: requests,
    total: requests,
    events: requests,
  };
  return {
    id,
    comparisonId,
    label: comparisonId,
    engineVersion: ENGINE_VERSION,
    seed: 7,
    partial: false,
    progress,
    summary: summarize(metrics),
    counters: metrics.counters.toRecord(),
    series: metrics.series.snapshot(),
    histograms: {
      mapLatency: metrics.mapLatency.serialize(),
      unmapLatency: metrics.unmapLatency.serialize(),
      ioLatency: metrics.ioLatency.serialize(),
    },
    log: metrics.log.entries(),
  };
}

export function sampleFile(): LabFile {
  const trace = new TextEncoder().encode('# tracer: nop\n');
  const first = sampleResult('0123456789abcdef', 'sg-strict');
  const second = sampleResult('fedcba9876543210', 'two-strict', 300);
  return {
    lab: sampleLab(),
    recordings: new Map([['rec', { name: 'some/folder/w64k.txt', trace, runJson: '{"kernel":"7.3.4"}\n' }]]),
    runs: new Map([
      [first.id, first],
      [second.id, second],
    ]),
    unknown: new Map([['thumb.svg', new TextEncoder().encode('<svg/>')]]),
  };
}
