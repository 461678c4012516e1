/**
 * What a lab says about itself: its question, what to look for, its conclusions. From the object `experiment` where it has one, and from
 * the lab's own question and description where not. Read without trust in its shape, since labs of other versions have others.
 */
import type { LabDocument } from '../schema.ts';

export interface ExperimentText {
  readonly question: string | null;
  readonly lookFor: readonly string[];
  readonly conclusions: readonly string[];
}

export function experimentText(lab: LabDocument): ExperimentText {
  const experiment: unknown = Reflect.get(lab, 'experiment');
  const member = (name: string): unknown =>
    typeof experiment === 'object' && experiment !== null ? Reflect.get(experiment, name) : undefined;
  return {
    question: texts(member('question'))[0] ?? lab.question ?? null,
    lookFor: texts(member('lookFor')),
    conclusions: texts(member('conclusions')),
  };
}

/** A text, several of them, or objects that have one. */
function texts(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  if (Array.isArray(value)) return value.flatMap(texts);
  return typeof value === 'object' && value !== null ? texts(Reflect.get(value, 'text')) : [];
}
