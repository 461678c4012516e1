/** For tests: an IOMMU that does nothing but write down what it is told. */
import type { IommuVendor } from '../../iommu/architectures.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { RemappingHardware } from '../remappingHardware.ts';

const COMMAND_WORDS = 4;

interface RecordingHardware {
  readonly iommu: RemappingHardware & { readonly rootPage: number };
  /** The commands of each submission, without the wait behind them: 128 bits each. */
  readonly submissions: bigint[][];
}

export function recordingHardware(vendor: IommuVendor, rangeInvalidation = false): RecordingHardware {
  const submissions: bigint[][] = [];
  const iommu = {
    rootPage: -1,
    vendor,
    scalableMode: false,
    rangeInvalidation,
    setRootTable(page: number): void {
      this.rootPage = page;
    },
    invalidationQueue: {
      submit: (words: Uint32Array, count: number, at: Picoseconds): Picoseconds => {
        submissions.push(Array.from({ length: count }, (_, index) => commandAt(words, index)));
        return at;
      },
    },
  };
  return { iommu, submissions };
}

function commandAt(words: Uint32Array, index: number): bigint {
  let command = 0n;
  for (let word = COMMAND_WORDS - 1; word >= 0; word -= 1) {
    command = (command << 32n) | BigInt(words[index * COMMAND_WORDS + word]!);
  }
  return command;
}
