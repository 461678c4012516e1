/**
 * pcie-bench (Neugebauer et al., SIGCOMM'18): latency and rate of small reads and writes at random places of a window, over sizes of
 * the window. Each system is set up from `fit` alone, and every curve of it is measured on the emulated host, access by access.
 * A system whose few walks in parallel collapse at some windows (Sandy Bridge) is reported and does not count: its quirk is not modelled.
 */
import { RandomStream } from '../../time/random.ts';
import { LabError } from '../../time/labError.ts';
import { fitProblem, PcieBenchHost } from './pcieBenchHost.ts';
import {
  pcieBenchReference,
  placeText,
  type MeasuredFit,
  type PcieBenchSystem,
  type ReferenceFile,
} from './referenceFile.ts';
import type { ReproducedSeries } from './report.ts';
import type { ReproduceOptions } from './reproduce.ts';

type CurveName = keyof PcieBenchSystem;

interface Curve {
  readonly name: string;
  readonly unit: string;
  readonly bytes: number;
  readonly measure: (host: PcieBenchHost, count: number, next: () => number) => number;
}

const PICOSECONDS_PER_NANOSECOND = 1000;
const PER_MICROSECOND = 1e6;

function latency(engine: 'command' | 'dma', bytes: number) {
  return (host: PcieBenchHost, count: number, next: () => number): number =>
    host.card.readLatency(engine, bytes, count, next) / PICOSECONDS_PER_NANOSECOND;
}

function readRate(bytes: number) {
  return (host: PcieBenchHost, count: number, next: () => number): number =>
    host.card.readRate(bytes, count, next) / PER_MICROSECOND;
}

function writeRate(bytes: number) {
  return (host: PcieBenchHost, count: number, next: () => number): number =>
    host.card.writeRate(bytes, count, next) / PER_MICROSECOND;
}

const CURVES: Readonly<Record<CurveName, Curve>> = {
  lat_cmd_rd8: { name: 'lat_cmd_rd8', unit: 'ns', bytes: 8, measure: latency('command', 8) },
  lat_cmd_rd64: { name: 'lat_cmd_rd64', unit: 'ns', bytes: 64, measure: latency('command', 64) },
  lat_dma_rd64: { name: 'lat_dma_rd64', unit: 'ns', bytes: 64, measure: latency('dma', 64) },
  bw_rd64_Mtps: { name: 'bw_rd64', unit: 'M/s', bytes: 64, measure: readRate(64) },
  bw_wr64_Mtps: { name: 'bw_wr64', unit: 'M/s', bytes: 64, measure: writeRate(64) },
  bw_rd256_Mtps: { name: 'bw_rd256', unit: 'M/s', bytes: 256, measure: readRate(256) },
  bw_wr256_Mtps: { name: 'bw_wr256', unit: 'M/s', bytes: 256, measure: writeRate(256) },
};

const CURVE_NAMES = Object.keys(CURVES) as CurveName[];
const LARGEST_WINDOW = 64 * 1024 * 1024;
/** Accesses before the caches are as they stay, and accesses that count. */
const WARM_UP = 4_000;
const MEASURED = 24_000;
/** Systems with a quirk that is not modelled, by the beginning of their names. */
const QUIRKS = /^SNB\b/i;

/** A system with its curves, and the figures of its host. */
export interface MeasuredSystem {
  readonly name: string;
  readonly fit: MeasuredFit;
  readonly curves: PcieBenchSystem;
}

/** The systems of a file whose names begin so (null: all). One that no host can be set up for is refused. */
export function pcieBenchSystems(file: ReferenceFile, prefix: string | null): MeasuredSystem[] {
  const { systems, fit: fits } = pcieBenchReference(file);
  return Object.entries(systems).flatMap(([name, curves]) => {
    if (prefix !== null && !name.startsWith(prefix)) return [];
    const place = placeText(file, ['pcie_bench', 'fit', name]);
    const fit = Object.hasOwn(fits, name) ? fits[name] : undefined;
    if (fit === undefined) throw new LabError(place, 'this system has curves and no fit.', 'Give b, m and K for it.');
    const problem = fitProblem(fit);
    if (problem !== null) throw new LabError(`${place}.b`, problem.problem, problem.remedy);
    return [{ name, fit, curves }];
  });
}

export function reproducePcieBench(systems: readonly MeasuredSystem[], options: ReproduceOptions): void {
  for (const { name: system, fit, curves } of systems) {
    for (const name of CURVE_NAMES) {
      const series = measureCurve(system, fit, CURVES[name], curves[name] ?? []);
      if (series.points.length > 0) options.onSeries(series);
    }
  }
}

function measureCurve(
  system: string,
  fit: MeasuredFit,
  curve: Curve,
  measured: NonNullable<PcieBenchSystem[CurveName]>,
): ReproducedSeries {
  const points = measured.flatMap(([window, reference]) => {
    if (window > LARGEST_WINDOW) return [];
    return [{ x: String(window), model: measurePoint(system, fit, curve, window), reference }];
  });
  const { name, unit } = curve;
  return { name: `${system} ${name}`, unit, xName: 'window', counted: !QUIRKS.test(system), points };
}

/** Every point has a host of its own, so that none depends on those before it. */
function measurePoint(system: string, fit: MeasuredFit, curve: Curve, window: number): number {
  const host = new PcieBenchHost(fit);
  host.openWindow(window);
  const random = new RandomStream(1).fork(`${system} ${curve.name} ${String(window)}`);
  const next = host.randomPlaces(curve.bytes, window, random);
  curve.measure(host, WARM_UP, next);
  const figure = curve.measure(host, MEASURED, next);
  if (host.card.refused > 0) throw new Error('the host refused accesses to its window');
  return figure;
}
