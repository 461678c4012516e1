/**
 * The files of a recording, and what its run.json says: kernel, command line, CPUs. The kernel's release picks the kernel
 * profile, the command line the kind of domain (Linux drivers/iommu/iommu.c `iommu_set_def_domain_type`,
 * `iommu_dma_setup`; x86 kernels are lazy unless told otherwise).
 * Input may be hostile: what a gzip'd file inflates to is bounded.
 * Leaves out: traces behind AMD's IOMMU or in caching mode, and every kernel without a profile; each is refused by name.
 */
import { LabError } from '../time/labError.ts';
import { inflatedBounded } from './boundedFile.ts';
import { commandLineWords, isOn, lastValue, parseRunJson, runJsonSchema } from './runJson.ts';
import type { RecordedDomain, RecordedKernel, RecordingFiles } from '../workloads/recordedRequest.ts';

/** Of a recording, as text: ten times the largest that a default trace buffer can hold. */
export const LARGEST_RECORDING_BYTES = 128 * 1024 * 1024;

const PROFILES: readonly RecordedKernel[] = ['6.12', '6.16', '6.17', '6.18', '7.2', '7.3'];

export interface RecordedSystem {
  readonly kernelRelease: string;
  readonly kernelProfile: RecordedKernel;
  readonly domain: RecordedDomain;
  readonly cpus: number;
  /** `iommu.forcedac=1`: IOVAs are not sought below 4 GiB first. */
  readonly forceDac: boolean;
}

/** The text of a trace, gzip'd or plain. */
export function traceText(name: string, bytes: Uint8Array): string {
  const plain = inflatedBounded(name, bytes, { limit: LARGEST_RECORDING_BYTES, remedy: 'Record a shorter stretch.' });
  if (plain.subarray(0, 4096).includes(0)) {
    throw new LabError(
      name,
      'this is binary data, not the text of a kernel trace.',
      'Give the text of /sys/kernel/tracing/trace.',
    );
  }
  // Latin-1 keeps every byte and is several times faster than UTF-8; the fields that are read are ASCII.
  return Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString('latin1');
}

function domainOf(commandLine: string): RecordedDomain {
  const words = commandLineWords(commandLine);
  if (isOn(lastValue(words, 'iommu.passthrough'))) return 'passthrough';
  if (words.includes('iommu=pt') || words.includes('intel_iommu=off') || words.includes('iommu=off')) {
    // Without an IOMMU the DMA API takes the same direct path as in passthrough.
    return 'passthrough';
  }
  const strict = lastValue(words, 'iommu.strict');
  if (strict !== null) return isOn(strict) ? 'strict' : 'lazy';
  return words.some((word) => word.startsWith('intel_iommu=') && word.includes('strict')) ? 'strict' : 'lazy';
}

export function readRunJson(name: string, text: string): RecordedSystem {
  const where = `${name} (run.json)`;
  const { kernel, commandLine, iommu, cpus } = parseRunJson(where, text, runJsonSchema);
  const profile = PROFILES.find((candidate) => kernel === candidate || kernel.startsWith(`${candidate}.`));
  if (profile === undefined) {
    throw new LabError(where, `there is no kernel profile for Linux ${kernel}.`, `Profiles: ${PROFILES.join(', ')}.`);
  }
  if (iommu?.startsWith('amd') === true) {
    throw new LabError(
      where,
      `traces of requests behind ${iommu} are not replayed.`,
      'Record behind VT-d (intel-iommu).',
    );
  }
  if (iommu?.includes('caching-mode=on') === true) {
    throw new LabError(where, 'traces of requests in caching mode are not replayed.', 'Record with caching-mode=off.');
  }
  return {
    kernelRelease: kernel,
    kernelProfile: profile,
    domain: domainOf(commandLine),
    cpus,
    forceDac: isOn(lastValue(commandLineWords(commandLine), 'iommu.forcedac')),
  };
}

/** Both at once, for whoever has a RecordingFiles. */
export function openRecording(files: RecordingFiles): { readonly system: RecordedSystem; readonly text: string } {
  return { system: readRunJson(files.name, files.runJson), text: traceText(files.name, files.trace) };
}
