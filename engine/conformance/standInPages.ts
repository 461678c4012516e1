/**
 * Pages of the recorded machine that the emulated one has no reason to have: queues, descriptor pools, data of requests that
 * are not replayed. Each gets a mapped page of the emulated machine, so that an access to it looks up, hits and fills as the
 * recorded one did. Which page stands for which is settled at the first use.
 */
import { LabError } from '../time/labError.ts';

export class StandInPages {
  readonly #first: number;
  readonly #count: number;
  readonly #emulated = new Map<number, number>();
  readonly #recorded = new Map<number, number>();
  #used = 0;

  /** `count` mapped pages from bus page `first` on. */
  constructor(first: number, count: number) {
    this.#first = first;
    this.#count = count;
  }

  /** The emulated bus page for a recorded one. */
  of(recorded: number): number {
    const known = this.#emulated.get(recorded);
    if (known !== undefined) return known;
    if (this.#used === this.#count) {
      throw new LabError('device.log', 'it names more pages than it has translations.', 'Copy the file again.');
    }
    const page = this.#first + this.#used;
    this.#used += 1;
    this.tie(recorded, page);
    return page;
  }

  /** A page that the emulated machine has mapped by itself for the same purpose. */
  tie(recorded: number, emulated: number): void {
    this.#emulated.set(recorded, emulated);
    this.#recorded.set(emulated, recorded);
  }

  recordedPage(emulated: number): number | undefined {
    return this.#recorded.get(emulated);
  }

  /** Emulated pages that stand for recorded ones in [first, last]. */
  *within(first: number, last: number): Generator<number, void, undefined> {
    if (last - first < this.#emulated.size) {
      for (let page = first; page <= last; page += 1) {
        const emulated = this.#emulated.get(page);
        if (emulated !== undefined) yield emulated;
      }
      return;
    }
    for (const [recorded, emulated] of this.#emulated) if (recorded >= first && recorded <= last) yield emulated;
  }
}
