/**
 * What the runs under comparison demand of the machine: an IOMMU where a domain translates, bounce buffers for those who reach no other
 * memory, a kernel that has the API of the scheme, and a driver that can make the mistakes that it is told to make.
 */
import { DRIVER_FAULTS, type DriverFault } from '../dma/checker/driverFaults.ts';
import { kernelProfile, kernelProfileTitle } from '../dma/kernels/profiles.ts';
import { isOfNoKernel, needsTwoStep } from '../schemes/schemes.ts';
import type { LabProblem } from './check.ts';
import { isDevice } from './deviceFunctions.ts';
import type { LabDocument } from './schema.ts';
import { socketOf } from './topologyCheck.ts';
import { ADAPTER_WORKLOADS } from './workloadSchemas.ts';

export function comparisonProblems(lab: LabDocument): LabProblem[] {
  return [...runProblems(lab), ...bounceProblems(lab), ...driverFaultProblems(lab)];
}

function runProblems(lab: LabDocument): LabProblem[] {
  const { parts } = lab.topology;
  const iommus = parts.filter((part) => part.kind === 'iommu');
  const behindNone = parts.find((part) => {
    if (!isDevice(part)) return false;
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
          problem: `${run.domain} needs an IOMMU above every device, and the socket "${socket}" of "${behindNone.id}" has none.`,
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
    const onDemand = lab.workloads.find((workload) => workload.kind === 'odp');
    if (run.scheme === 'premapped' && onDemand !== undefined)
      return [
        {
          path: `${path}.scheme`,
          problem: `workloads[${onDemand.id}] pins nothing, so nothing can be mapped beforehand.`,
          remedy: 'Use another scheme, such as two_step_per_page, or a workload of the kind rdma.',
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

/** A device that can't be mapped without bounce buffers needs a pool of them. */
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
    if (part.kind !== 'nvme' && part.kind !== 'nic') return [];
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

/** Mistakes with calls that only one scheme makes. */
const SCHEME_OF_FAULT: Readonly<Partial<Record<DriverFault, LabDocument['comparison'][number]['scheme']>>> = {
  forgetSync: 'two_step',
  linkTwice: 'two_step',
  unmapWrongFunction: 'map_sg',
};

function driverFaultProblems(lab: LabDocument): LabProblem[] {
  const registering = lab.workloads.find(({ kind }) => ADAPTER_WORKLOADS.includes(kind));
  const faulty = lab.comparison.find(({ driverFaults }) => driverFaults !== undefined);
  if (registering !== undefined && faulty !== undefined) {
    const path = `comparison[${faulty.id}].driverFaults`;
    const problem = `only the driver of a drive makes mistakes on purpose, and workloads[${registering.id}] is an adapter's.`;
    return [{ path, problem, remedy: 'Leave them out, or use workloads of the kinds bio and replay.' }];
  }
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
