/**
 * What one place of a lab demands of another, collected from the checks of its sections. Runs on a document that the schema has accepted.
 */
import type { LabProblem } from './check.ts';
import { atsProblems } from './atsCheck.ts';
import { comparisonProblems } from './comparisonCheck.ts';
import { conclusionProblems } from './conclusions.ts';
import { cacheProblems, iommuProblems } from './iommuCheck.ts';
import { overrideProblems } from './presets.ts';
import type { LabDocument } from './schema.ts';
import { topologyProblems } from './topologyCheck.ts';
import { workloadProblems } from './workloadCheck.ts';

export function crossCheck(lab: LabDocument, recordings: ReadonlySet<string> | null): LabProblem[] {
  const sameIds = uniqueIds(lab.topology.parts, 'topology.parts');
  return [
    ...sameIds,
    ...uniqueIds(lab.workloads, 'workloads'),
    ...uniqueIds(lab.comparison, 'comparison'),
    ...(sameIds.length > 0 ? [] : topologyProblems(lab.topology.parts)),
    ...workloadProblems(lab, recordings),
    ...comparisonProblems(lab),
    ...iommuProblems(lab.topology.parts),
    ...cacheProblems(lab.topology.parts),
    ...atsProblems(lab),
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
