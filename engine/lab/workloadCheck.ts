/**
 * What the workloads of a lab demand of its machine: a device of their kind for each, memory and CPUs that exist, queues and media that
 * are large enough, peers whose memory is laid out.
 */
import type { LabProblem } from './check.ts';
import { deviceFunctions, type DeviceFunction } from './deviceFunctions.ts';
import { LIMITS } from './limits.ts';
import { suggestNames } from './nearestNames.ts';
import { ADAPTER_WORKLOADS } from './workloadSchemas.ts';
import { namesPeer } from '../workloads/memoryChangeNames.ts';
import type {
  BioWorkload,
  DmabufWorkload,
  LabDocument,
  LabWorkload,
  OdpWorkload,
  Part,
  PartOf,
  RdmaWorkload,
} from './schema.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

export function workloadProblems(lab: LabDocument, recordings: ReadonlySet<string> | null): LabProblem[] {
  const { parts } = lab.topology;
  const functions = deviceFunctions(parts);
  const users = new Map<string, string>();
  return lab.workloads.flatMap((workload): LabProblem[] => {
    const path = `workloads[${workload.id}]`;
    const other = users.get(workload.device);
    users.set(workload.device, workload.id);
    return [
      ...deviceProblems(workload, functions, path),
      ...(other === undefined
        ? []
        : [
            {
              path: `${path}.device`,
              problem: `"${workload.device}" already serves the workload "${other}"; a device serves one.`,
              remedy: 'Remove one of the two.',
            },
          ]),
      ...ownProblems(lab, workload, recordings, path),
    ];
  });
}

function ownProblems(
  lab: LabDocument,
  workload: LabWorkload,
  recordings: ReadonlySet<string> | null,
  path: string,
): LabProblem[] {
  const { parts } = lab.topology;
  switch (workload.kind) {
    case 'replay':
      return [...depthProblems(parts, workload, path), ...replayProblems(lab, workload, recordings, path)];
    case 'bio':
      return [...depthProblems(parts, workload, path), ...bioProblems(parts, workload, path)];
    case 'rdma':
      return [...messageProblems(parts, workload, path), ...layoutProblems(parts, workload, path)];
    case 'odp':
      return [...messageProblems(parts, workload, path), ...changeProblems(parts, workload, path)];
    case 'dmabuf':
      return [
        ...messageProblems(parts, workload, path),
        ...peerProblems(parts, workload.exporter, true, `${path}.exporter`, ''),
        ...roomProblems(parts, workload, path),
      ];
  }
}

function deviceProblems(workload: LabWorkload, functions: readonly DeviceFunction[], path: string): LabProblem[] {
  const wanted = ADAPTER_WORKLOADS.includes(workload.kind) ? 'nic' : 'nvme';
  const [what, add] = wanted === 'nic' ? ['adapter', 'Add a part of the kind nic.'] : ['drive', 'Add an NVMe drive.'];
  const fitting = functions.filter(({ part }) => part.kind === wanted).map(({ id }) => id);
  if (fitting.includes(workload.device)) return [];
  const found = functions.find(({ id }) => id === workload.device);
  const problem =
    found === undefined
      ? `no such ${what} "${workload.device}".`
      : `"${workload.device}" is a ${found.part.kind}, and a workload of the kind ${workload.kind} needs an ${wanted}.`;
  const named = found === undefined ? suggestNames(workload.device, fitting) : `Use ${fitting.join(' or ')}.`;
  return [{ path: `${path}.device`, problem, remedy: fitting.length === 0 || named === '' ? add : named }];
}

function driveOf(parts: readonly Part[], { device }: LabWorkload): PartOf<'nvme'> | undefined {
  const part = deviceFunctions(parts).find(({ id }) => id === device)?.part;
  return part?.kind === 'nvme' ? part : undefined;
}

function depthProblems(
  parts: readonly Part[],
  workload: Extract<LabWorkload, { kind: 'bio' | 'replay' }>,
  path: string,
): LabProblem[] {
  const drive = driveOf(parts, workload);
  if (drive === undefined || workload.queueDepth === undefined || workload.queueDepth < drive.queueDepth) return [];
  return [
    {
      path: `${path}.queueDepth`,
      problem: `${workload.queueDepth} requests do not fit a submission queue of ${drive.queueDepth} entries, one of which stays free.`,
      remedy: `Use at most ${drive.queueDepth - 1}, or a deeper topology.parts[${drive.id}].queueDepth.`,
    },
  ];
}

function replayProblems(
  lab: LabDocument,
  workload: Extract<LabWorkload, { kind: 'replay' }>,
  recordings: ReadonlySet<string> | null,
  path: string,
): LabProblem[] {
  const problems: LabProblem[] = [];
  if (recordings !== null && !recordings.has(workload.recording))
    problems.push({
      path: `${path}.recording`,
      problem: `the lab carries no recording "${workload.recording}".`,
      remedy: suggestNames(workload.recording, [...recordings]) || 'Make the lab with "import".',
    });
  const first = lab.workloads.find(({ kind }) => kind === 'replay');
  if (first !== undefined && workload !== first)
    problems.push({
      path,
      problem: `workloads[${first.id}] replays a recording already, and both would name the same physical memory.`,
      remedy: 'Use a workload of the kind bio for this drive.',
    });
  return problems;
}

function bioProblems(parts: readonly Part[], workload: BioWorkload, path: string): LabProblem[] {
  const drive = driveOf(parts, workload);
  const sockets = parts.filter((part) => part.kind === 'socket');
  const cpus = sockets.reduce((sum, socket) => sum + socket.cpus, 0);
  const problems: LabProblem[] = [];
  if (cpus > 0 && workload.cpus > cpus)
    problems.push({
      path: `${path}.cpus`,
      problem: `${sockets.length === 1 ? 'the socket has' : 'the sockets have'} ${cpus} CPUs.`,
      remedy: `Use at most ${cpus}, or more topology.parts[${sockets[0]?.id ?? ''}].cpus.`,
    });
  problems.push(...memoryProblems(parts, workload.memory, path));
  const largest = Math.max(workload.blockSize, ...(workload.blockSizeMix ?? []).map((size) => size.bytes));
  if (largest > workload.regionMiB * MIB)
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
  return problems;
}

function memoryProblems(parts: readonly Part[], memory: string | undefined, path: string): LabProblem[] {
  const ids = parts.filter((part) => part.kind === 'memory').map(({ id }) => id);
  if (memory === undefined || ids.includes(memory)) return [];
  const remedy = suggestNames(memory, ids) || 'Leave it out.';
  return [{ path: `${path}.memory`, problem: `no such memory "${memory}".`, remedy }];
}

function messageProblems(
  parts: readonly Part[],
  workload: RdmaWorkload | OdpWorkload | DmabufWorkload,
  path: string,
): LabProblem[] {
  const { regions, regionKiB, messageBytes, queuePairs } = workload;
  const problems = memoryProblems(parts, 'memory' in workload ? workload.memory : undefined, path);
  const refuse = (field: string, problem: string, remedy: string): void => {
    problems.push({ path: `${path}.${field}`, problem, remedy });
  };
  if (messageBytes > regionKiB * KIB)
    refuse(
      'regionKiB',
      `a message of ${messageBytes} bytes does not fit a region of ${regionKiB} KiB.`,
      'Use larger regions or smaller messages.',
    );
  if (regions * regionKiB > LIMITS.registeredGiB * 2 ** 20) {
    const problem = `${regions} regions of ${regionKiB} KiB are more than ${LIMITS.registeredGiB} GiB, the most that is emulated.`;
    refuse('regionKiB', problem, 'Use fewer or smaller regions.');
  }
  if (messageBytes * queuePairs > GIB) {
    const problem = `${queuePairs} messages of ${messageBytes} bytes under way are more than 1 GiB, the most that is emulated.`;
    refuse('queuePairs', problem, 'Use fewer queue pairs or smaller messages.');
  }
  return problems;
}

function layoutProblems(parts: readonly Part[], { layout }: RdmaWorkload, path: string): LabProblem[] {
  return layout.flatMap(({ kind, peer }, index) =>
    peerProblems(parts, peer, kind === 'peer', `${path}.layout[${index}].peer`, 'Leave it out, or use the kind peer.'),
  );
}

function changeProblems(parts: readonly Part[], { changes }: OdpWorkload, path: string): LabProblem[] {
  return changes.flatMap(({ kind, peer }, index) =>
    peerProblems(parts, peer, namesPeer(kind), `${path}.changes[${index}].peer`, 'Leave it out.'),
  );
}

function roomProblems(parts: readonly Part[], workload: DmabufWorkload, path: string): LabProblem[] {
  const { regions, regionKiB, messagesPerRegion, exporter } = workload;
  const gpu = parts.find((part) => part.id === exporter);
  const buffers = regions + (messagesPerRegion > 0 ? 1 : 0);
  if (gpu?.kind !== 'gpu' || buffers * regionKiB <= gpu.memoryMiB * KIB) return [];
  const problem = `${buffers} buffers of ${regionKiB} KiB do not fit into the ${gpu.memoryMiB} MiB of "${gpu.id}".`;
  const remedy = `Use smaller buffers, or more topology.parts[${gpu.id}].memoryMiB.`;
  return [{ path: `${path}.regionKiB`, problem, remedy }];
}

function peerProblems(
  parts: readonly Part[],
  peer: string | undefined,
  wanted: boolean,
  path: string,
  without: string,
): LabProblem[] {
  const gpus = parts.filter((part) => part.kind === 'gpu').map(({ id }) => id);
  if (!wanted) return peer === undefined ? [] : [{ path, problem: "RAM is no peer's.", remedy: without }];
  if (peer === undefined) {
    const remedy = gpus.length === 0 ? 'Add a part of the kind gpu, and name it.' : `Name ${gpus.join(' or ')}.`;
    return [{ path, problem: 'it is missing: whose memory is it?', remedy }];
  }
  if (gpus.includes(peer)) return [];
  const remedy = suggestNames(peer, gpus) || 'Add a part of the kind gpu.';
  return [{ path, problem: `there is no GPU "${peer}".`, remedy }];
}
