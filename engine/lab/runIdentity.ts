/**
 * The identity of a run: a hash of everything that its numbers depend on, and of nothing else. Names, notes and the view do
 * not count; the value of every cost does, so that a preset that changes makes another run.
 */
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { canonicalJson } from './canonicalJson.ts';
import { columnLab } from './columnLab.ts';
import { ENGINE_VERSION } from './engineVersion.ts';
import { costParameters } from './presets.ts';
import { sha256 } from './sha256.ts';
import type { Comparison, LabDocument, Part } from './schema.ts';

const ID_DIGITS = 16;

export function runInputs(
  document: LabDocument,
  comparison: Comparison,
  recordings: ReadonlyMap<string, RecordingFiles>,
): Record<string, unknown> {
  const lab = columnLab(document, comparison);
  const used = lab.workloads.flatMap((workload) => (workload.kind === 'replay' ? [workload.recording] : []));
  const costs = costParameters(lab).map(({ name, value }): [string, number] => [name, value]);
  return {
    engineVersion: ENGINE_VERSION,
    seed: lab.seed,
    kernelProfile: lab.kernelProfile,
    comparison: {
      id: comparison.id,
      scheme: comparison.scheme,
      domain: comparison.domain,
      ...(comparison.driverFaults === undefined ? {} : { driverFaults: comparison.driverFaults }),
    },
    ...(lab.apiChecker === undefined || lab.apiChecker === 'off' ? {} : { apiChecker: lab.apiChecker }),
    costs: Object.fromEntries(costs),
    topology: lab.topology.parts.map(withoutNames),
    workloads: lab.workloads,
    recordings: Object.fromEntries(
      [...new Set(used)].map((id) => {
        const files = recordings.get(id);
        return [id, files ? { trace: sha256(files.trace), runJson: sha256(files.runJson) } : null];
      }),
    ),
  };
}

/** A part without what it is called, and without where its values come from. */
function withoutNames({ label: _label, ...part }: Part): Record<string, unknown> {
  return Object.fromEntries(Object.entries(part).filter(([field]) => field !== 'measured' && field !== 'preset'));
}

export function runId(
  lab: LabDocument,
  comparison: Comparison,
  recordings: ReadonlyMap<string, RecordingFiles>,
): string {
  return sha256(canonicalJson(runInputs(lab, comparison, recordings))).slice(0, ID_DIGITS);
}
