/** The tree of the outline: machine, memory, workloads and runs of a lab, each with what it selects. */
import type { LabDocument, Part } from '../../engine/lab/schema.ts';
import type { Column } from '../stores/lab.ts';
import type { Selected } from '../stores/selection.ts';
import { strings } from '../strings.ts';
import { nodeLines, partName } from '../topology/partFacts.ts';
import type { IconName } from './icons.ts';

export interface OutlineItem {
  readonly key: string;
  readonly title: string;
  readonly detail: string | null;
  readonly icon: IconName | null;
  /** In place of the detail, which is then only spoken. */
  readonly status?: IconName;
  /** Place of a run among the columns, for its mark. */
  readonly slot: number | null;
  readonly target: Selected | null;
  readonly children?: OutlineItem[];
}

function group(key: string, title: string, children: OutlineItem[]): OutlineItem {
  return { key: `group/${key}`, title, detail: null, icon: null, slot: null, target: null, children };
}

/** A part that has a name of its own needs no kind beside it: the icon says it. */
function partDetail(part: Part): string | null {
  if (part.kind === 'socket' || part.kind === 'memory') return nodeLines(part)[0] ?? null;
  return part.label === undefined ? strings.partKinds[part.kind] : null;
}

function partItem(part: Part, parts: readonly Part[]): OutlineItem {
  const children = parts
    .filter((child) => child.kind !== 'socket' && child.kind !== 'memory' && child.parent === part.id)
    .map((child) => partItem(child, parts));
  return {
    key: `part/${part.id}`,
    title: partName(part),
    detail: partDetail(part),
    icon: part.kind,
    slot: null,
    target: { kind: 'part', id: part.id },
    ...(children.length > 0 ? { children } : {}),
  };
}

/** How a run stands, where a word would take too much room. */
export const RUN_ICONS: Readonly<Partial<Record<Column['run']['status'], IconName>>> = {
  done: 'done',
  failed: 'error',
  cancelled: 'stop',
  paused: 'pause',
};

/** How a run stands, in one word or its percentage. */
export function runDetail({ run }: Column): string {
  const { progress, status } = run;
  if (status === 'running' && progress !== null && progress.total > 0)
    return `${Math.floor((100 * progress.completed) / progress.total)}\u202f%`;
  return run.outdated ? strings.run.outdated : status === 'idle' ? '' : strings.runStatus[status];
}

function statusIcon({ run }: Column): { status?: IconName } {
  const icon = RUN_ICONS[run.status];
  return icon === undefined || run.outdated ? {} : { status: icon };
}

export function outlineItems(lab: LabDocument, columns: readonly Column[]): OutlineItem[] {
  const { parts } = lab.topology;
  const ids = new Set(parts.map(({ id }) => id));
  const roots = parts.filter((part) => part.kind === 'socket' || (part.kind !== 'memory' && !ids.has(part.parent)));
  return [
    group(
      'topology',
      strings.outline.topology,
      roots.map((part) => partItem(part, parts)),
    ),
    group(
      'memory',
      strings.outline.memory,
      parts.filter(({ kind }) => kind === 'memory').map((part) => partItem(part, parts)),
    ),
    group(
      'workloads',
      strings.outline.workloads,
      lab.workloads.map((workload) => ({
        key: `workload/${workload.id}`,
        title: workload.id,
        detail: workload.kind,
        icon: 'workload',
        slot: null,
        target: { kind: 'workload', id: workload.id },
      })),
    ),
    group(
      'runs',
      strings.outline.runs,
      columns.map((column) => ({
        key: `run/${column.comparison.id}`,
        title: column.label,
        detail: runDetail(column),
        icon: null,
        ...statusIcon(column),
        slot: column.slot,
        target: { kind: 'run', id: column.comparison.id },
      })),
    ),
  ];
}
