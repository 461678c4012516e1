/**
 * NVMe reads of 4 KiB under strict, lazy, passthrough and premapped buffers, where the CPU is the limit and where the drive is
 * (linux-nvme, November 2025, Optane and t/io_uring on one CPU; zhzh2001/nvme-iommu, fio with 4 jobs of depth 128). Each mode is
 * one column of an ordinary lab, run as any other: the rates come from what the DMA API, the queue of invalidations, the driver
 * and the drive take, by a preset of costs and nothing else.
 * The first measurement compares ratios to strict, since the CPU's clock is not known; the second compares rates, since the
 * drive sets them.
 * Leaves out: the program that submits; block sizes and drives that nobody published.
 */
import nvmeModesPreset from '../../../fixtures/presets/nvme-modes.json' with { type: 'json' };
import { parseLab } from '../../lab/check.ts';
import { LabRun } from '../../lab/run.ts';
import { PICOSECONDS_PER_SECOND } from '../../time/picoseconds.ts';
import type { NvmeModesReference } from './referenceFile.ts';
import type { ReproducedPoint, ReproducedSeries } from './report.ts';
import type { ReproduceOptions } from './reproduce.ts';

interface Mode {
  readonly id: string;
  readonly scheme: 'two_step' | 'premapped';
  readonly domain: 'strict' | 'lazy' | 'passthrough';
}

const MODES: readonly Mode[] = [
  { id: 'strict', scheme: 'two_step', domain: 'strict' },
  { id: 'lazy', scheme: 'two_step', domain: 'lazy' },
  { id: 'passthrough', scheme: 'two_step', domain: 'passthrough' },
  { id: 'premapped-strict', scheme: 'premapped', domain: 'strict' },
  { id: 'premapped-lazy', scheme: 'premapped', domain: 'lazy' },
];

/** What the two measurements differ in. */
interface Bench {
  readonly name: string;
  readonly cpus: number;
  readonly queueDepth: number;
  readonly maxIops: number;
  readonly ioCount: number;
}

export function reproduceNvmeModes(reference: NvmeModesReference, options: ReproduceOptions): void {
  const { parameters } = nvmeModesPreset;
  const cpuBound: Bench = {
    name: 'CPU-bound',
    cpus: 1,
    queueDepth: parameters.fastDriveDepth.value,
    maxIops: parameters.fastDriveIops.value,
    ioCount: 20_000,
  };
  const deviceBound: Bench = {
    name: 'device-bound',
    cpus: 4,
    queueDepth: 4 * 128,
    maxIops: parameters.slowDriveIops.value,
    ioCount: 20_000,
  };
  for (const series of [ratioSeries(cpuBound, reference), rateSeries(deviceBound, reference)]) {
    if (series.points.length === 0) continue;
    if (options.system !== null && !series.name.startsWith(options.system)) continue;
    options.onSeries(series);
  }
}

function ratioSeries(bench: Bench, { optane_t_io_uring_kiops: measured }: NvmeModesReference): ReproducedSeries {
  const points: ReproducedPoint[] = [];
  if (measured !== undefined && measured.strict > 0) {
    const strict = ratePerSecond(bench, 'strict');
    const compare = (id: string, kiops: number | undefined): void => {
      if (kiops === undefined) return;
      points.push({ x: id, model: ratePerSecond(bench, id) / strict, reference: kiops / measured.strict });
    };
    compare('lazy', measured.lazy);
    compare('passthrough', measured.pt);
    compare('premapped-strict', measured.premapped_any);
    compare('premapped-lazy', measured.premapped_any);
  }
  return { name: bench.name, unit: 'times the strict rate', xName: 'mode', counted: true, points };
}

function rateSeries(bench: Bench, { nvme_qd128x4_4k_randread_iops: measured }: NvmeModesReference): ReproducedSeries {
  const points: ReproducedPoint[] = [];
  const compare = (id: string, iops: number | undefined): void => {
    if (iops !== undefined) points.push({ x: id, model: ratePerSecond(bench, id), reference: iops });
  };
  compare('strict', measured?.strict);
  compare('lazy', measured?.lazy);
  compare('passthrough', measured?.pt);
  return { name: bench.name, unit: 'reads a second', xName: 'mode', counted: true, points };
}

/** Requests a second of virtual time. */
function ratePerSecond(bench: Bench, id: string): number {
  const run = LabRun.prepare(modesLab(bench), id, new Map());
  while (run.advance(100_000) === 'running');
  const { progress } = run.result();
  return (progress.completed * PICOSECONDS_PER_SECOND) / progress.virtualTimePs;
}

function modesLab(bench: Bench) {
  const { parameters } = nvmeModesPreset;
  return parseLab(
    {
      format: 1,
      name: `NVMe modes, ${bench.name}`,
      kernelProfile: nvmeModesPreset.kernelProfile,
      costs: {
        preset: 'default',
        overrides: {
          invalidationWait: parameters.invalidationWait.value,
          nvmeInterrupt: parameters.nvmeInterrupt.value,
          nvmeSubmitRequest: parameters.nvmeSubmitRequest.value,
          nvmeCompleteRequest: parameters.nvmeCompleteRequest.value,
          nvmeDoorbell: parameters.nvmeDoorbell.value,
        },
      },
      topology: {
        parts: [
          { id: 'cpu0', kind: 'socket', cpus: bench.cpus },
          { id: 'dram0', kind: 'memory', parent: 'cpu0', sizeGiB: 16 },
          { id: 'iommu0', kind: 'iommu', parent: 'cpu0' },
          { id: 'port0', kind: 'rootPort', parent: 'cpu0', generation: 5, lanes: 16 },
          {
            id: 'nvme0',
            kind: 'nvme',
            parent: 'port0',
            queueDepth: 1024,
            channels: 4096,
            readLatencyUs: parameters.readLatency.value,
            maxReadMBps: 1_000_000,
            maxIops: bench.maxIops,
          },
        ],
      },
      workloads: [
        {
          id: 'reads',
          kind: 'bio',
          device: 'nvme0',
          rw: 'randread',
          blockSize: 4096,
          queueDepth: bench.queueDepth,
          ioCount: bench.ioCount,
          regionMiB: 65_536,
          cpus: bench.cpus,
        },
      ],
      comparison: MODES,
    },
    'nvme-modes',
  );
}
