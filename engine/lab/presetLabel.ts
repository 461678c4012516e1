/** Which presets a lab is computed with, in a few words: what charts, results and the window are labelled with. */
import { presetName, presetParameters } from './partPreset.ts';
import type { LabDocument } from './schema.ts';

export function presetLabel({ costs, topology }: LabDocument): string {
  const hardware = topology.parts
    .filter((part) => part.kind === 'iommu')
    .map((part) => withChanges(presetName(part), presetParameters(part).filter(({ changed }) => changed).length));
  return [
    `costs: ${withChanges(costs.preset, Object.keys(costs.overrides).length)}`,
    ...(hardware.length === 0 ? [] : [`hardware: ${[...new Set(hardware)].join('; ')}`]),
  ].join(' · ');
}

function withChanges(text: string, changes: number): string {
  return changes === 0 ? text : `${text}, ${changes} changed`;
}
