/**
 * One direction of the interconnect between two sockets (QPI, UPI, Infinity Fabric, CCIX): cache lines cross it one after the other,
 * so that beyond its rate they wait. Those who ask do so for moments that do not come in order, since a walk is priced as a whole
 * before the next request arrives; so time is cut into short windows, each with room for as many lines as pass in it, and a
 * request takes the first room at or after its moment.
 * Leaves out: the coherence traffic of the CPUs, and messages without data.
 */

/** Lines that fit a window: enough that few windows are looked at, few enough that a line never waits long for nothing. */
const LINES_PER_WINDOW = 16;
/** Windows that are remembered. Requests for moments that are so many windows apart share the later one. */
const WINDOWS = 4096;

export class SocketLink {
  private readonly perLine: number;
  private readonly window: number;
  /** Of each remembered window, its number and the lines in it, in a ring. */
  private readonly numbers = new Float64Array(WINDOWS).fill(-1);
  private readonly taken = new Uint8Array(WINDOWS);

  /** `perLine`: picoseconds for which a cache line takes the link; 0: as wide as it must be. */
  constructor(perLine: number) {
    this.perLine = perLine;
    this.window = perLine * LINES_PER_WINDOW;
  }

  /** When the last of so many lines, ready at `at`, has crossed, without the way itself. */
  cross(lines: number, at: number): number {
    const { perLine, window, numbers, taken } = this;
    if (perLine === 0) return at;
    let number = Math.floor(at / window);
    let left = lines;
    let end = at;
    while (left > 0) {
      const slot = number % WINDOWS;
      if (numbers[slot]! > number) number = numbers[slot]!;
      else if (numbers[slot]! < number) {
        numbers[slot] = number;
        taken[slot] = 0;
      }
      const room = LINES_PER_WINDOW - taken[slot]!;
      const crossing = left < room ? left : room;
      if (crossing > 0) {
        const start = Math.max(end, number * window + taken[slot]! * perLine);
        taken[slot]! += crossing;
        left -= crossing;
        end = start + crossing * perLine;
      }
      number += 1;
    }
    return end;
  }
}
