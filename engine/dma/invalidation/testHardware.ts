/** For tests: an IOMMU that does nothing but write down what it is told. */
import type { IommuVendor } from '../../iommu/architectures.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { RemappingHardware } from '../remappingHardware.ts';

const COMMAND_WORDS = 4;
/** VT-d's in scalable mode. */
const WIDE_COMMAND_WORDS = 8;

interface RecordingHardware {
  readonly iommu: RemappingHardware & { readonly rootPage: number };
  /** The commands of each submission, without the wait behind them: 128 bits each, or 256. */
  readonly submissions: bigint[][];
}

export function recordingHardware(
  vendor: IommuVendor,
  rangeInvalidation = false,
  scalableMode = false,
): RecordingHardware {
  const submissions: bigint[][] = [];
  const commandWords = scalableMode ? WIDE_COMMAND_WORDS : COMMAND_WORDS;
  const iommu = {
    rootPage: -1,
    vendor,
    scalableMode,
    rangeInvalidation,
    setRootTable(page: number): void {
      this.rootPage = page;
    },
    invalidationQueue: {
      submit: (words: Uint32Array, count: number, at: Picoseconds): Picoseconds => {
        submissions.push(Array.from({ length: count }, (_, index) => commandAt(words, index, commandWords)));
        return at;
      },
    },
  };
  return { iommu, submissions };
}

function commandAt(words: Uint32Array, index: number, commandWords: number): bigint {
  let command = 0n;
  for (let word = commandWords - 1; word >= 0; word -= 1) {
    command = (command << 32n) | BigInt(words[index * commandWords + word]!);
  }
  return command;
}
