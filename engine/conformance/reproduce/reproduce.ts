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
  pcieBenchReference,
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

type Rerun = (file: ReferenceFile, options: ReproduceOptions) => void;

const RERUNS: Readonly<Record<string, () => Promise<Rerun>>> = {
  'pcie-bench': async () => {
    const { reproducePcieBench } = await import('./pcieBench.ts');
    return (file, options) => {
      reproducePcieBench(pcieBenchReference(file), options);
    };
  },
  fands: async () => {
    const { reproduceFands } = await import('./fands.ts');
    return (file, options) => {
      reproduceFands(fandsReference(file), options);
    };
  },
  'nvme-modes': async () => {
    const { reproduceNvmeModes } = await import('./nvmeModes.ts');
    return (file, options) => {
      reproduceNvmeModes(nvmeModesReference(file), options);
    };
  },
  'odp-faults': async () => {
    const { reproduceOdpFaults } = await import('./odpFaults.ts');
    return (file, options) => {
      reproduceOdpFaults(pageFaultsReference(file), options);
    };
  },
  'smmu-scaling': async () => {
    const { reproduceSmmuScaling } = await import('./smmuScaling.ts');
    return (file, options) => {
      reproduceSmmuScaling(smmuScalingReference(file), options);
    };
  },
};

const REPRODUCTION_NAMES: readonly string[] = Object.keys(RERUNS);

export async function reproduce(
  name: string,
  file: ReferenceFile,
  system: string | null,
  onSeries: (series: JudgedSeries) => void,
  onProgress: (run: string) => void = () => undefined,
): Promise<Reproduction> {
  const load = Object.hasOwn(RERUNS, name) ? RERUNS[name] : undefined;
  if (load === undefined) {
    throw new LabError(name, 'there is no such measurement.', suggestNames(name, REPRODUCTION_NAMES));
  }
  const rerun = await load();
  const judged: JudgedSeries[] = [];
  rerun(file, {
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
      system === null ? 'Name a file that has points of it.' : 'Name the beginning of a system of the reference file.',
    );
  }
  return reproduction(name, judged);
}
