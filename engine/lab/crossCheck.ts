/**
 * What one place of a lab demands of another: parents that exist, an IOMMU where a domain translates, a device for every
 * workload, a kernel that has the API of the scheme. Runs on a document that the schema has accepted.
 */
import { architectureOf } from '../iommu/architectures.ts';
import { kernelProfile, kernelProfileTitle } from '../dma/kernels/profiles.ts';
import { DRIVER_FAULTS, type DriverFault } from '../dma/checker/driverFaults.ts';
import { isOfNoKernel, needsTwoStep } from '../schemes/schemes.ts';
import type { LabProblem } from './check.ts';
import { atsProblems } from './atsCheck.ts';
import { conclusionProblems } from './conclusions.ts';
import { deviceFunctions } from './deviceFunctions.ts';
import { HARDWARE_PRESET_IDS } from './hardwarePresets.ts';
import { suggestNames } from './nearestNames.ts';
import { curveFlaw } from './partPreset.ts';
import { overrideProblems } from './presets.ts';
import type { LabDocument, Part } from './schema.ts';
import { socketOf, topologyProblems } from './topologyCheck.ts';

export function crossCheck(lab: LabDocument, recordings: ReadonlySet<string> | null): LabProblem[] {
  const sameIds = uniqueIds(lab.topology.parts, 'topology.parts');
  return [
    ...sameIds,
    ...uniqueIds(lab.workloads, 'workloads'),
    ...uniqueIds(lab.comparison, 'comparison'),
    ...(sameIds.length > 0 ? [] : topologyProblems(lab.topology.parts)),
    ...workloadProblems(lab, recordings),
    ...comparisonProblems(lab),
    ...bounceProblems(lab),
    ...iommuProblems(lab.topology.parts),
    ...cacheProblems(lab.topology.parts),
    ...atsProblems(lab),
    ...driverFaultProblems(lab),
    ...overrideProblems(lab.costs, lab.kernelProfile),
    ...conclusionProblems(lab),
  ];
}

function uniqueIds(elements: readonly { id: string }[], path: string): LabProblem[] {
  const seen = new Set<string>();
  return elements.flatMap((element, index) => {
    if (!seen.has(element.id)) {
      seen.add(element.id);
      return [];
    }
    return [
      { path: `${path}[${index}].id`, problem: `"${element.id}" is taken.`, remedy: 'Give each element its own id.' },
    ];
  });
}

function workloadProblems(lab: LabDocument, recordings: ReadonlySet<string> | null): LabProblem[] {
  const drives = deviceFunctions(lab.topology.parts);
  const sockets = lab.topology.parts.filter((part) => part.kind === 'socket');
  const memories = lab.topology.parts.filter((part) => part.kind === 'memory');
  const cpus = sockets.reduce((sum, socket) => sum + socket.cpus, 0);
  const replays = lab.workloads.filter((workload) => workload.kind === 'replay');
  const users = new Map<string, string>();
  return lab.workloads.flatMap((workload): LabProblem[] => {
    const path = `workloads[${workload.id}]`;
    const drive = drives.find((candidate) => candidate.id === workload.device)?.part;
    const problems: LabProblem[] = [];
    if (!drive)
      problems.push({
        path: `${path}.device`,
        problem: `no such drive "${workload.device}".`,
        remedy:
          suggestNames(
            workload.device,
            drives.map((candidate) => candidate.id),
          ) || 'Add an NVMe drive.',
      });
    const other = users.get(workload.device);
    if (other !== undefined)
      problems.push({
        path: `${path}.device`,
        problem: `"${workload.device}" already serves the workload "${other}"; a drive serves one.`,
        remedy: 'Remove one of the two.',
      });
    users.set(workload.device, workload.id);
    if (drive && workload.queueDepth !== undefined && workload.queueDepth >= drive.queueDepth)
      problems.push({
        path: `${path}.queueDepth`,
        problem: `${workload.queueDepth} requests do not fit a submission queue of ${drive.queueDepth} entries, one of which stays free.`,
        remedy: `Use at most ${drive.queueDepth - 1}, or a deeper topology.parts[${drive.id}].queueDepth.`,
      });
    if (workload.kind === 'replay' && recordings !== null && !recordings.has(workload.recording))
      problems.push({
        path: `${path}.recording`,
        problem: `the lab carries no recording "${workload.recording}".`,
        remedy: suggestNames(workload.recording, [...recordings]) || 'Make the lab with "import".',
      });
    const [replay] = replays;
    if (workload.kind === 'replay' && replay !== undefined && workload !== replay)
      problems.push({
        path,
        problem: `workloads[${replay.id}] replays a recording already, and both would name the same physical memory.`,
        remedy: 'Use a workload of the kind bio for this drive.',
      });
    if (workload.kind === 'bio') {
      if (cpus > 0 && workload.cpus > cpus)
        problems.push({
          path: `${path}.cpus`,
          problem: `${sockets.length === 1 ? 'the socket has' : 'the sockets have'} ${cpus} CPUs.`,
          remedy: `Use at most ${cpus}, or more topology.parts[${sockets[0]?.id ?? ''}].cpus.`,
        });
      const { memory } = workload;
      if (memory !== undefined && !memories.some((part) => part.id === memory)) {
        const ids = memories.map((part) => part.id);
        problems.push({
          path: `${path}.memory`,
          problem: `no such memory "${memory}".`,
          remedy: suggestNames(memory, ids) || 'Leave it out.',
        });
      }
      const largest = Math.max(workload.blockSize, ...(workload.blockSizeMix ?? []).map((size) => size.bytes));
      if (largest > workload.regionMiB * 1_048_576)
        problems.push({
          path: `${path}.regionMiB`,
          problem: `an I/O of ${largest} bytes does not fit a region of ${workload.regionMiB} MiB.`,
          remedy: 'Use a larger region or smaller blocks.',
        });
      if (drive && workload.regionMiB > drive.capacityGiB * 1024)
        problems.push({
          path: `${path}.regionMiB`,
          problem: `the drive holds ${drive.capacityGiB} GiB.`,
          remedy: 'Use a smaller region or a larger drive.',
        });
    }
    return problems;
  });
}

function comparisonProblems(lab: LabDocument): LabProblem[] {
  const { parts } = lab.topology;
  const iommus = parts.filter((part) => part.kind === 'iommu');
  const behindNone = parts.find((part) => {
    if (part.kind !== 'nvme') return false;
    const socket = socketOf(parts, part.id);
    return socket !== undefined && !iommus.some((iommu) => iommu.parent === socket.id);
  });
  return lab.comparison.flatMap((run): LabProblem[] => {
    const path = `comparison[${run.id}]`;
    if (run.domain !== 'passthrough' && iommus.length === 0)
      return [
        {
          path: `${path}.domain`,
          problem: `${run.domain} needs an IOMMU, and the topology has none.`,
          remedy: 'Add a part of the kind iommu below the socket, or use passthrough.',
        },
      ];
    if (run.domain !== 'passthrough' && behindNone !== undefined) {
      const socket = socketOf(parts, behindNone.id)?.id ?? '';
      return [
        {
          path: `${path}.domain`,
          problem: `${run.domain} needs an IOMMU above every drive, and the socket "${socket}" of "${behindNone.id}" has none.`,
          remedy: `Add a part of the kind iommu with the parent "${socket}", or use passthrough.`,
        },
      ];
    }
    const replayed = lab.workloads.find((workload) => workload.kind === 'replay');
    if (run.scheme === 'premapped' && replayed !== undefined)
      return [
        {
          path: `${path}.scheme`,
          problem: `workloads[${replayed.id}] replays a recording, which registers no buffers that could be mapped beforehand.`,
          remedy: 'Use the scheme map_sg or two_step, or a workload of the kind bio.',
        },
      ];
    if (isOfNoKernel(run.scheme) && lab.apiChecker !== undefined && lab.apiChecker !== 'off')
      return [
        {
          path: `${path}.scheme`,
          problem: `${run.scheme} is made of calls that no kernel has, so the checker of the kernel's API knows nothing of them.`,
          remedy: 'Set apiChecker to "off", or use another scheme.',
        },
      ];
    if (needsTwoStep(run.scheme) && !kernelProfile(lab.kernelProfile).twoStepAvailable)
      return [
        {
          path: `${path}.scheme`,
          problem: `${kernelProfileTitle(lab.kernelProfile)} has no dma_iova_* calls.`,
          remedy: 'Use the scheme map_sg or map_phys, or a kernelProfile from 6.16 on.',
        },
      ];
    return [];
  });
}

/** A drive that can't be mapped without bounce buffers needs a pool of them. */
function bounceProblems(lab: LabDocument): LabProblem[] {
  const { parts } = lab.topology;
  const first = parts.find((part) => part.kind === 'socket');
  const memories = parts.filter((part) => part.kind === 'memory');
  const memory = memories.find((part) => part.parent === first?.id);
  if (memory === undefined) return [];
  const wholeGiB = memories.reduce((sum, { sizeGiB }) => sum + sizeGiB, 0);
  const size = memory.swiotlb?.sizeMiB ?? 0;
  if (size * 2 ** 20 > (memory.sizeGiB * 2 ** 30) / 2) {
    return [
      {
        path: `topology.parts[${memory.id}].swiotlb.sizeMiB`,
        problem: `${size} MiB are more than half of the ${memory.sizeGiB} GiB that they lie in.`,
        remedy: 'Use a smaller size, or more sizeGiB.',
      },
    ];
  }
  const remedy = `Add topology.parts[${memory.id}].swiotlb, such as { "sizeMiB": 64 }.`;
  const untranslated = lab.comparison.find((run) => run.domain === 'passthrough');
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind !== 'nvme') return [];
    const path = `topology.parts[${part.id}]`;
    const { untrusted = false, dmaMaskBits = 64 } = part;
    const reach = 2 ** dmaMaskBits;
    if (size > 0) {
      if (untranslated === undefined || reach >= 2 * size * 2 ** 20) return [];
      const problem = `${dmaMaskBits} bits do not reach ${size} MiB of bounce buffers and the queues beside them.`;
      return [{ path: `${path}.dmaMaskBits`, problem, remedy: 'Use more bits, or fewer bounce buffers.' }];
    }
    if (untrusted && lab.comparison.some((run) => run.domain !== 'passthrough')) {
      return [{ path: `${path}.untrusted`, problem: 'there are no bounce buffers for its partial pages.', remedy }];
    }
    if (untranslated === undefined || reach >= wholeGiB * 2 ** 30) return [];
    const problem = `in comparison[${untranslated.id}] ${dmaMaskBits} bits do not reach all of ${wholeGiB} GiB, and there are no bounce buffers.`;
    return [{ path: `${path}.dmaMaskBits`, problem, remedy }];
  });
}

function cacheProblems(parts: readonly Part[]): LabProblem[] {
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind !== 'socket' || part.lastLevelCache === undefined) return [];
    const { ways, deviceWays } = part.lastLevelCache;
    if (deviceWays <= ways) return [];
    const path = `topology.parts[${part.id}].lastLevelCache.deviceWays`;
    return [{ path, problem: `the cache has ${ways} ways.`, remedy: `Use at most ${ways}, or more ways.` }];
  });
}

function iommuProblems(parts: readonly Part[]): LabProblem[] {
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind !== 'iommu') return [];
    const path = `topology.parts[${part.id}]`;
    const problems: LabProblem[] = [];
    const refuse = (field: string, problem: string, remedy: string): void => {
      problems.push({ path: `${path}.${field}`, problem, remedy });
    };
    const { preset, iotlbReserved = 0, iotlbWays, iotlbEntries4K } = part;
    if (preset !== undefined && !HARDWARE_PRESET_IDS.includes(preset)) {
      refuse('preset', `there is no hardware preset "${preset}".`, suggestNames(preset, HARDWARE_PRESET_IDS));
    }
    const { measured } = part;
    const flaw = measured === undefined ? null : curveFlaw(measured);
    if (flaw !== null) refuse(`measured.${flaw.where}`, flaw.problem, flaw.remedy);
    if (iotlbReserved >= iotlbEntries4K) {
      refuse('iotlbReserved', `none of ${iotlbEntries4K} entries are left.`, 'Use fewer, or more iotlbEntries4K.');
    }
    const ways = Math.min(iotlbWays, iotlbEntries4K - iotlbReserved);
    if (part.iotlbReplacement === 'plru' && !Number.isInteger(Math.log2(ways))) {
      refuse(
        'iotlbReplacement',
        `pseudo-LRU needs a power of two of ways, not ${ways}.`,
        'Change iotlbWays, or use lru.',
      );
    }
    if (part.vendor !== undefined && part.vendor !== 'vtd') {
      const remedy = 'Use the vendor vtd, or leave the field out.';
      if (part.cachingMode === true) refuse('cachingMode', "caching mode is VT-d's.", remedy);
      if (part.scalableMode === true) refuse('scalableMode', "scalable mode is VT-d's.", remedy);
      if (part.coherent === false && part.vendor !== 'smmuv3') {
        const who = part.vendor === 'amd' ? "AMD's walkers look" : "Linux takes it that RISC-V's walkers look";
        refuse('coherent', `${who} into CPU caches, always.`, 'Use the vendor vtd or smmuv3, or leave the field out.');
      }
    }
    if (part.vendor !== 'smmuv3' && part.rangeInvalidation === true) {
      const remedy = 'Use the vendor smmuv3, or leave the field out.';
      refuse('rangeInvalidation', "commands for ranges of any length are the SMMU's.", remedy);
    }
    if ((part.vendor === 'smmuv3' || part.vendor === 'riscv') && part.superpages === false) {
      const remedy = 'Use the vendor vtd or amd, or leave the field out.';
      refuse('superpages', 'every page-table walker of this vendor knows large leaves.', remedy);
    }
    const { levels, dynamicTop } = architectureOf(part.vendor ?? 'vtd', part.scalableMode === true).format;
    if (!dynamicTop && !levels.includes(part.levels)) {
      const whose = part.scalableMode === true ? 'first-stage tables' : `tables of the vendor ${part.vendor ?? 'vtd'}`;
      refuse(
        'levels',
        `${whose} have ${levels.join(' or ')} levels, not ${part.levels}.`,
        `Use ${levels.join(' or ')}.`,
      );
    }
    return problems;
  });
}

/** Mistakes with calls that only one scheme makes. */
const SCHEME_OF_FAULT: Readonly<Partial<Record<DriverFault, LabDocument['comparison'][number]['scheme']>>> = {
  forgetSync: 'two_step',
  linkTwice: 'two_step',
  unmapWrongFunction: 'map_sg',
};

function driverFaultProblems(lab: LabDocument): LabProblem[] {
  return lab.comparison.flatMap(({ id, scheme, driverFaults = [] }) =>
    driverFaults.flatMap(({ kind }, index): LabProblem[] => {
      const wanted = SCHEME_OF_FAULT[kind];
      if (wanted === undefined || wanted === scheme) return [];
      return [
        {
          path: `comparison[${id}].driverFaults[${index}].kind`,
          problem: `a driver with the scheme ${scheme} has no occasion for it: it ${DRIVER_FAULTS[kind]}.`,
          remedy: `Use the scheme ${wanted}, or another mistake.`,
        },
      ];
    }),
  );
}
