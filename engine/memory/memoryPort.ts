/**
 * The one way from a root complex to memory. Page walks and reads of data pass it one after the other, so that beyond a rate
 * both wait, however many walkers there are: in published curves all-miss traffic ends at 18.5 to 22 million walks a second on
 * hosts whose misses take 228, 267 and 289 ns alike (pcie-bench, SIGCOMM'18, raw data). Writes of data are posted and leave by
 * another way.
 * Leaves out: which of the stations on the way (IIO, ring, cache) is the narrow one; nobody has published that.
 */
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';

export interface MemoryPortCosts {
  /** The port is taken for so long by a page walk. */
  readonly walk: Picoseconds;
  /** ... by a read of data, and for each cache line of it on top. */
  readonly dataRead: Picoseconds;
  readonly dataReadPerLine: Picoseconds;
}

const LINE_BYTES = 64;

export class MemoryPort {
  private readonly costs: MemoryPortCosts;
  private busyUntil = 0;

  constructor(costs: MemoryPortCosts) {
    this.costs = costs;
  }

  /** When a walk that is ready at `at` can begin. */
  walk(at: Picoseconds): Picoseconds {
    return this.take(at, this.costs.walk);
  }

  /** When a read of data that is ready at `at` has passed. */
  dataRead(at: Picoseconds, bytes: number): Picoseconds {
    const { dataRead, dataReadPerLine } = this.costs;
    const duration = dataRead + dataReadPerLine * Math.ceil(bytes / LINE_BYTES);
    return picoseconds(this.take(at, duration) + duration);
  }

  private take(at: Picoseconds, duration: number): Picoseconds {
    const start = Math.max(at, this.busyUntil);
    this.busyUntil = start + duration;
    return picoseconds(start);
  }
}
