/*
 * Computes a run up to the moment that is asked for, in slices of a few milliseconds with a look at the next wish between
 * them. The machine is kept: a later moment goes on from there, an earlier one begins anew.
 */
import type { MomentSnapshot, WalkRequest } from '../../engine/lab/momentNames.ts';
import type { InspectCommand, InspectReport } from './inspectProtocol.ts';

/** What the loop asks of an inspection: the public face of RunInspection. */
export interface SteppedInspection {
  advance(maxEvents: number): 'running' | 'done';
  /** False: the moment has passed. */
  moveTo(at: number): boolean;
  readonly reached: number;
  snapshot(walk: WalkRequest | null, device: string | null): MomentSnapshot;
}

export interface InspectSurroundings {
  readonly prepare: (at: number) => SteppedInspection;
  readonly now: () => number;
  readonly yieldToMessages: () => Promise<void>;
  readonly report: (report: InspectReport) => void;
}

const sliceMilliseconds = 8;
const progressMilliseconds = 100;
const sliceEvents = 1024;

export class InspectLoop {
  private readonly surroundings: InspectSurroundings;
  private inspection: SteppedInspection | null = null;
  private wanted: InspectCommand | null = null;
  private working = false;

  constructor(surroundings: InspectSurroundings) {
    this.surroundings = surroundings;
  }

  /** Resolves when nothing is wished for any more. */
  async inspect(command: InspectCommand): Promise<void> {
    this.wanted = command;
    if (this.working) return;
    this.working = true;
    try {
      for (let next: InspectCommand | null = command; next !== null; next = this.wish()) await this.answer(next);
    } finally {
      this.working = false;
    }
  }

  /** May have changed while something else was awaited. */
  private wish(): InspectCommand | null {
    return this.wanted;
  }

  private async answer(command: InspectCommand): Promise<void> {
    const { wish, at, walk, device } = command;
    const { prepare, now, yieldToMessages, report } = this.surroundings;
    let inspection = this.inspection;
    if (inspection?.moveTo(at) !== true) {
      inspection = prepare(at);
      this.inspection = inspection;
    }
    let told = now();
    for (;;) {
      const end = now() + sliceMilliseconds;
      let state: 'running' | 'done';
      do state = inspection.advance(sliceEvents);
      while (state === 'running' && now() < end);
      if (state === 'done') break;
      if (now() - told >= progressMilliseconds) {
        told = now();
        report({ kind: 'progress', wish, reached: inspection.reached });
      }
      await yieldToMessages();
      if (this.wish() !== command) return;
    }
    this.wanted = null;
    report({ kind: 'snapshot', wish, snapshot: inspection.snapshot(walk, device) });
  }
}
