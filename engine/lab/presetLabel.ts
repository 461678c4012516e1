/** Which presets a lab is computed with, in a few words: what charts and results are labelled with. */
import { hardwarePreset, partParameters } from './hardwarePresets.ts';
import type { LabDocument } from './schema.ts';

export function presetLabel({ costs, topology }: LabDocument): string {
  const iommus = topology.parts
    .filter((part) => part.kind === 'iommu')
    .map((part) => {
      const changes = partParameters(part).filter(({ changed }) => changed).length;
      return withChanges(`IOMMU ${hardwarePreset(part.preset).id}`, changes);
    });
  return [withChanges(`costs ${costs.preset}`, Object.keys(costs.overrides).length), ...iommus].join(' · ');
}

function withChanges(text: string, changes: number): string {
  return changes === 0 ? text : `${text}, ${changes} changed`;
}
