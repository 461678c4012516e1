/**
 * The machine on which DMA API calls were recorded: kernel, command line, IOMMU, CPUs and devices from run.json, RAM and
 * reserved windows from /proc/iomem (iomem.txt), and how the device's domain was set up from the first word of the file name
 * (`DMA` strict, `DMA-FQ` lazy, `identity` passthrough, `keep` whatever the boot gave: here no IOMMU).
 * Command line: Linux Documentation/admin-guide/kernel-parameters.txt (`iommu.forcedac`, `swiotlb`, `intel_iommu`, `amd_iommu`).
 */
import { z } from 'zod';
import type { DomainType, ReservedRegion } from '../dma/device.ts';
import { KERNEL_PROFILE_NAMES, type KernelProfileName } from '../dma/kernels/profiles.ts';
import { commandLineWords, isOn, lastValue, parseRunJson, runJsonSchema } from '../lab/runJson.ts';
import { LabError } from '../time/labError.ts';

const LONGEST_TABLE = 4 * 1024 * 1024;
/** `IO_TLB_DEFAULT_SIZE`: 64 MiB in slots of 2 KiB. */
const DEFAULT_SWIOTLB_SLOTS = 32_768;
const MOST_SWIOTLB_SLOTS = 2 ** 20;
const HIGHEST_ADDRESS = 2 ** 52;
const FOUR_GIB = 2 ** 32;

const apiRunSchema = runJsonSchema.extend({
  cpus: z.int().min(1).max(64),
  memory: z.string().max(32).optional(),
  devices: z.array(z.string().max(200)).max(64).optional(),
});

export interface ApiSystem {
  readonly kernelRelease: string;
  readonly profile: KernelProfileName;
  readonly domain: DomainType;
  readonly iommu: 'vtd' | 'amd' | null;
  readonly cachingMode: boolean;
  /** Levels of VT-d's tables: 3 for an address width of 39 bits, 5 for one of 57. */
  readonly levels: 3 | 4 | 5;
  readonly forceDac: boolean;
  readonly swiotlbForce: boolean;
  readonly swiotlbSlots: number;
  /** Whether the kernel keeps a pool of bounce buffers: where RAM lies above 4 GiB, or by force. */
  readonly swiotlbActive: boolean;
  readonly cpus: number;
  /** PCI devices of the machine that stand before the recorded one and have a domain of their own. */
  readonly devicesBefore: number;
  /** `bus:slot.function` of the device that the calls were made for. */
  readonly address: string;
  readonly iomem: IomemTable;
}

export interface IomemTable {
  /** Physical memory, in order, end inclusive. */
  readonly ram: readonly ReservedRegion[];
  /** Windows of the host bridge: addresses there never come to the IOMMU. */
  readonly windows: readonly ReservedRegion[];
  /** What firmware keeps for itself. */
  readonly reserved: readonly ReservedRegion[];
  /** First window of the recorded device (BAR0), null: it has none. */
  readonly bar0: number | null;
}

const IOMMU_DEVICES = /^(nvme|edu|virtio|e1000)/;
const RECORDED_DEVICE = 'edu';

export function readApiSystem(file: string, runJson: string, iomem: string): ApiSystem {
  const where = `${file} (run.json)`;
  const run = parseRunJson(where, runJson, apiRunSchema);
  const words = commandLineWords(run.commandLine);
  const iommu = iommuOf(where, run.iommu ?? null, words);
  const devices = run.devices ?? [];
  const position = devices.findIndex((device) => device.startsWith(RECORDED_DEVICE));
  const address = /(?:^|,)addr=([0-9a-f]{2}\.[0-7])(?:,|$)/.exec(devices[position] ?? '')?.[1] ?? '04.0';
  const swiotlb = lastValue(words, 'swiotlb')?.split(',') ?? [];
  const table = readIomem(`${file} (iomem.txt)`, iomem, address);
  const highRam = (table.ram.at(-1)?.end ?? 0) >= FOUR_GIB;
  const cachingMode = run.iommu?.includes('caching-mode=on') === true;
  return {
    kernelRelease: run.kernel,
    profile: nearestProfile(where, run.kernel),
    domain: domainOf(file, iommu !== null, words, cachingMode),
    iommu,
    cachingMode,
    levels: levelsOf(run.iommu ?? ''),
    forceDac: isOn(lastValue(words, 'iommu.forcedac')),
    swiotlbForce: swiotlb.includes('force'),
    swiotlbSlots: swiotlbSlots(swiotlb[0]),
    swiotlbActive: !swiotlb.includes('noforce') && (highRam || swiotlb.includes('force')),
    cpus: run.cpus,
    devicesBefore: devices.slice(0, Math.max(position, 0)).filter((device) => IOMMU_DEVICES.test(device)).length,
    address,
    iomem: table,
  };
}

/** The newest profile that is not newer than the kernel; the oldest for what is older still. */
export function nearestProfile(where: string, release: string): KernelProfileName {
  const version = /^(\d{1,4})\.(\d{1,4})(?:\D|$)/.exec(release);
  if (version === null) {
    throw new LabError(where, `"${release.slice(0, 80)}" is no kernel release.`, 'It begins like 6.12.107.');
  }
  const rank = (major: number, minor: number): number => major * 10_000 + minor;
  const wanted = rank(Number(version[1]), Number(version[2]));
  const versions = KERNEL_PROFILE_NAMES.filter((name) => /^\d+\.\d+$/.test(name)).map((name) => {
    const [major = 0, minor = 0] = name.split('.').map(Number);
    return { name, rank: rank(major, minor) };
  });
  versions.sort((a, b) => a.rank - b.rank);
  const found = versions.findLast((version) => version.rank <= wanted) ?? versions[0];
  if (found === undefined) throw new Error('there is no kernel profile');
  return found.name;
}

function iommuOf(where: string, text: string | null, words: readonly string[]): ApiSystem['iommu'] {
  if (text === null || words.includes('iommu=off')) return null;
  if (text.startsWith('intel-iommu')) return words.includes('intel_iommu=off') ? null : 'vtd';
  if (text.startsWith('amd-iommu')) return words.includes('amd_iommu=off') ? null : 'amd';
  throw new LabError(
    where,
    `there is no IOMMU like "${text}" here.`,
    'Known: intel-iommu, amd-iommu, or null for none.',
  );
}

function levelsOf(iommu: string): ApiSystem['levels'] {
  if (iommu.includes('aw-bits=39')) return 3;
  return iommu.includes('aw-bits=57') ? 5 : 4;
}

function domainOf(file: string, translated: boolean, words: readonly string[], cachingMode: boolean): DomainType {
  const name = file.split(/[/\\]/).at(-1) ?? file;
  const mode = name.split('.')[0] ?? '';
  switch (mode) {
    case 'DMA':
    case 'DMA-FQ':
      if (!translated) {
        throw new LabError(
          file,
          `the mode ${mode} needs an IOMMU, and run.json names none.`,
          'Put the run.json of its run beside it.',
        );
      }
      return mode === 'DMA' ? 'strict' : 'lazy';
    case 'identity':
      return translated ? 'passthrough' : 'none';
    case 'keep':
      if (!translated) return 'none';
      if (words.includes('iommu=pt') || isOn(lastValue(words, 'iommu.passthrough'))) return 'passthrough';
      // "IOMMU batching disallowed due to virtualization" (intel_iommu_init)
      return cachingMode || isOn(lastValue(words, 'iommu.strict')) ? 'strict' : 'lazy';
    default:
      throw new LabError(
        file,
        'its name does not begin with the mode of the domain.',
        'Names are MODE.SCRIPT.jsonl.gz with DMA, DMA-FQ, identity or keep.',
      );
  }
}

/** `swiotlb=<slots>`: rounded up to whole segments of 128 slots. */
function swiotlbSlots(word: string | undefined): number {
  const slots = word !== undefined && /^\d{1,9}$/.test(word) ? Number(word) : 0;
  if (slots === 0) return DEFAULT_SWIOTLB_SLOTS;
  return Math.min(Math.ceil(slots / 128) * 128, MOST_SWIOTLB_SLOTS);
}

function readIomem(where: string, text: string, address: string): IomemTable {
  if (text.length > LONGEST_TABLE) throw new LabError(where, 'it is too large.', 'It is the text of /proc/iomem.');
  const ram: ReservedRegion[] = [];
  const windows: ReservedRegion[] = [];
  const reserved: ReservedRegion[] = [];
  let bar0: number | null = null;
  for (const line of text.split('\n')) {
    const match = /^(\s*)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.*)$/.exec(line);
    if (match === null) continue;
    const region = { start: Number.parseInt(match[2] ?? '', 16), end: Number.parseInt(match[3] ?? '', 16) };
    const label = match[4] ?? '';
    if (region.end < region.start || region.end >= HIGHEST_ADDRESS) continue;
    if (label === 'System RAM') ram.push(region);
    else if (label.startsWith('PCI Bus ')) windows.push(region);
    else if (label === 'Reserved') reserved.push(region);
    else if (label.endsWith(`:${address}`)) bar0 ??= region.start;
  }
  if (ram.length === 0) throw new LabError(where, 'it names no System RAM.', 'It is the text of /proc/iomem.');
  return { ram: ram.sort((a, b) => a.start - b.start), windows, reserved, bar0 };
}
