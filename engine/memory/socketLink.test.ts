/** Cache lines over one direction of the interconnect between sockets: nobody waits without need, and its rate is never exceeded. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SocketLink } from './socketLink.ts';

const LINE = 3000;
const PER_WINDOW = 16;
const WINDOW = PER_WINDOW * LINE;

/** Line by line, with a count for every window that there ever was. */
class NaiveLink {
  readonly counts = new Map<number, number>();

  cross(lines: number, at: number): number {
    let end = at;
    for (let line = 0; line < lines; line += 1) {
      let window = Math.floor(at / WINDOW);
      while ((this.counts.get(window) ?? 0) === PER_WINDOW) window += 1;
      const before = this.counts.get(window) ?? 0;
      end = Math.max(end, window * WINDOW + before * LINE) + LINE;
      this.counts.set(window, before + 1);
    }
    return end;
  }
}

describe('the interconnect between two sockets', () => {
  it('lets lines pass as a count of lines for every window says, for moments in any order', () => {
    const request = fc.tuple(fc.integer({ min: 1, max: 70 }), fc.nat(60 * WINDOW));
    fc.assert(
      fc.property(fc.array(request, { maxLength: 150 }), (requests) => {
        const link = new SocketLink(LINE);
        const naive = new NaiveLink();
        for (const [lines, at] of requests) expect(link.cross(lines, at)).toBe(naive.cross(lines, at));
        expect(Math.max(0, ...naive.counts.values())).toBeLessThanOrEqual(PER_WINDOW);
      }),
      { seed: 7, numRuns: 400 },
    );
  });

  it('keeps nobody waiting who comes after all before have crossed', () => {
    const link = new SocketLink(LINE);
    let at = 0;
    for (let round = 1; round < 2000; round += 1) {
      const lines = (round % 40) + 1;
      const end = link.cross(lines, at);
      expect(end).toBe(at + lines * LINE);
      at = end + WINDOW;
    }
  });

  it('passes no more than its rate, however much there is to pass', () => {
    const link = new SocketLink(LINE);
    let end = 0;
    for (let round = 0; round < 20_000; round += 1) end = Math.max(end, link.cross(1, 0));
    expect(end).toBe(20_000 * LINE);
  });

  it('is as wide as it must be when a line takes no time', () => {
    expect(new SocketLink(0).cross(1000, 7)).toBe(7);
  });
});
