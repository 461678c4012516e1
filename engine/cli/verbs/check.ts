/** `lab check`: whether a lab holds together and every run of it can be prepared, its recordings included, and what is in it. */
import { checkRuns } from '../../lab/checkRuns.ts';
import { isDevice } from '../../lab/deviceFunctions.ts';
import { kernelProfileSheet, kernelProfileTitle } from '../../lab/kernelProfiles.ts';
import { pciPlaces, type PciPlace } from '../../lab/pciTree.ts';
import { readRecording } from '../../lab/recording.ts';
import type { Part } from '../../lab/schema.ts';
import { openLab } from '../openLab.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

export async function checkVerb(path: string, options: { readonly json?: true }): Promise<ExitStatus> {
  const { lab, recordings, runs, unknown } = await openLab(path);
  const recorded = new Map([...recordings].map(([id, files]) => [id, readRecording(files)]));
  checkRuns(lab, recordings, recorded, path);
  const read = [...recorded].map(([id, recording]) => ({ id, ...summary(recording) }));
  const places = pciPlaces(lab.topology.parts);
  if (options.json) {
    printJson({
      lab: lab.name,
      format: lab.format,
      seed: lab.seed,
      kernelProfile: lab.kernelProfile,
      kernelBehaviours: kernelProfileSheet(lab.kernelProfile),
      parts: lab.topology.parts.map(({ id, kind }) => ({ id, kind, ...places.get(id) })),
      workloads: lab.workloads.map(({ id, kind }) => ({ id, kind })),
      comparison: lab.comparison,
      recordings: read,
      runs: [...runs.keys()],
      otherEntries: [...unknown.keys()],
    });
    return EXIT.fine;
  }
  print(`${path}: the lab is fine`);
  print(`  ${lab.name}${lab.question === undefined ? '' : `: ${lab.question}`}`);
  print(`  kernel profile ${lab.kernelProfile}, seed ${lab.seed}, cost preset ${lab.costs.preset}`);
  const assumed = kernelProfileSheet(lab.kernelProfile).filter(({ mark }) => mark === 'assumed');
  const names = assumed.map(({ behaviour }) => behaviour).join(', ');
  if (assumed.length > 0) print(`  assumed of ${kernelProfileTitle(lab.kernelProfile)}: ${names}`);
  const parts = lab.topology.parts.map(({ id, kind }) => `${id} (${[kind, places.get(id)?.address].join(' ').trim()})`);
  print(`  topology: ${parts.join(', ')}`);
  for (const devices of sharedGroups(places, lab.topology.parts)) {
    print(`  one IOMMU group, and so one IOVA space: ${devices.join(', ')}`);
  }
  print(`  workloads: ${lab.workloads.map((workload) => `${workload.id} (${workload.kind})`).join(', ')}`);
  print(`  comparison: ${lab.comparison.map((run) => `${run.scheme} ${run.domain}`).join(', ')}`);
  for (const { id, set = [] } of lab.comparison)
    if (set.length > 0)
      print(`  ${id} sets ${set.map(({ path, value }) => `${path}=${JSON.stringify(value)}`).join(', ')}`);
  const conclusions = lab.experiment?.conclusions ?? [];
  for (const { claim } of conclusions) print(`  concludes: ${claim}`);
  for (const { id, requests, kernel, queueDepth } of read)
    print(`  recording ${id}: ${requests} requests, at most ${queueDepth} in flight, Linux ${kernel}`);
  if (runs.size > 0) print(`  runs: ${[...runs.values()].map((run) => `${run.id} (${run.label})`).join(', ')}`);
  return EXIT.fine;
}

/** Devices that access control does not keep apart. */
function sharedGroups(places: ReadonlyMap<string, PciPlace>, parts: readonly Part[]): string[][] {
  const groups = new Map<number, string[]>();
  for (const part of parts) {
    const { id } = part;
    const group = isDevice(part) ? (places.get(id)?.iommuGroup ?? null) : null;
    if (group !== null) groups.set(group, [...(groups.get(group) ?? []), id]);
  }
  return [...groups.values()].filter((devices) => devices.length > 1);
}

function summary(recording: ReturnType<typeof readRecording>): {
  requests: number;
  kernel: string;
  queueDepth: number;
} {
  return { requests: recording.requests.length, kernel: recording.kernelRelease, queueDepth: recording.queueDepth };
}
