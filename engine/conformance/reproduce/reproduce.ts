/**
 * The published measurements that can be rerun, by name. Each runs the emulator under a preset of its own and never reads a
 * measured value but to compare with it. Leaves out: what each of them is, which stands in its file.
 */
import { suggestNames } from '../../lab/nearestNames.ts';
import { LabError } from '../../time/labError.ts';
import {
  fandsReference,
  nvmeModesReference,
  pageFaultsReference,
  smmuScalingReference,
  type ReferenceFile,
} from './referenceFile.ts';
import { judgeSeries, reproduction, type JudgedSeries, type ReproducedSeries, type Reproduction } from './report.ts';

export interface ReproduceOptions {
  /** Only systems whose names begin so; null: all. */
  readonly system: string | null;
  /** Told of each series when it is finished. */
  readonly onSeries: (series: ReproducedSeries) => void;
  /** Told of each run that begins and takes long. */
  readonly onProgress?: (run: string) => void;
}

type Rerun = (options: ReproduceOptions) => void;

/** Reads what a measurement needs of a file, and all that can be wrong with it; what it gives runs. */
type Prepare = (file: ReferenceFile, system: string | null) => Promise<Rerun>;

const MEASUREMENTS: Readonly<Record<string, Prepare>> = {
  'pcie-bench': async (file, system) => {
    const { pcieBenchSystems, reproducePcieBench } = await import('./pcieBench.ts');
    const systems = pcieBenchSystems(file, system);
    return (options) => {
      reproducePcieBench(systems, options);
    };
  },
  fands: async (file) => {
    const { reproduceFands } = await import('./fands.ts');
    const reference = fandsReference(file);
    return (options) => {
      reproduceFands(reference, options);
    };
  },
  'nvme-modes': async (file) => {
    const { reproduceNvmeModes } = await import('./nvmeModes.ts');
    const reference = nvmeModesReference(file);
    return (options) => {
      reproduceNvmeModes(reference, options);
    };
  },
  'odp-faults': async (file) => {
    const { reproduceOdpFaults } = await import('./odpFaults.ts');
    const reference = pageFaultsReference(file);
    return (options) => {
      reproduceOdpFaults(reference, options);
    };
  },
  'smmu-scaling': async (file) => {
    const { reproduceSmmuScaling } = await import('./smmuScaling.ts');
    const reference = smmuScalingReference(file);
    return (options) => {
      reproduceSmmuScaling(reference, options);
    };
  },
};

export const REPRODUCTION_NAMES: readonly string[] = Object.keys(MEASUREMENTS);

/** A measurement whose file is read and found sound; nothing has run yet. */
export type PreparedReproduction = (
  onSeries: (series: JudgedSeries) => void,
  onProgress?: (run: string) => void,
) => Reproduction;

export async function prepareReproduction(
  name: string,
  file: ReferenceFile,
  system: string | null,
): Promise<PreparedReproduction> {
  const prepare = Object.hasOwn(MEASUREMENTS, name) ? MEASUREMENTS[name] : undefined;
  if (prepare === undefined) {
    throw new LabError(name, 'there is no such measurement.', suggestNames(name, REPRODUCTION_NAMES));
  }
  const rerun = await prepare(file, system);
  return (onSeries, onProgress = () => undefined) => {
    const judged: JudgedSeries[] = [];
    rerun({
      system,
      onProgress,
      onSeries: (series) => {
        const one = judgeSeries(series);
        judged.push(one);
        onSeries(one);
      },
    });
    if (judged.length === 0) {
      throw new LabError(
        system === null ? file.name : `--system ${system}`,
        'nothing of this measurement is there to compare with.',
        system === null
          ? 'Name a file that has points of it.'
          : 'Name the beginning of a system of the reference file.',
      );
    }
    return reproduction(name, judged);
  };
}
