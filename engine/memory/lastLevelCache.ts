/**
 * The last-level cache of one socket, as far as devices meet it: which lines of data it holds (Intel Data Direct I/O technology
 * brief, 2012). A device's read finds a line or goes to memory, and leaves none behind; a device's write updates a line that is
 * there, and else takes one of the few ways that are set aside for devices, or goes to memory where DDIO is off. The CPU's
 * accesses may take any way. Least recently used gives way.
 * Leaves out: dirty lines and their write-back, slices and their hash. What other sockets write is forgotten here when
 * memorySystem.ts says so.
 */
const LINE_BYTES = 64;
const EMPTY = -1;

export interface LastLevelCacheOptions {
  readonly bytes: number;
  readonly ways: number;
  /** Ways that writes of devices may fill; 0: DDIO is off. */
  readonly deviceWays: number;
}

export class LastLevelCache {
  private readonly sets: number;
  private readonly ways: number;
  private readonly deviceWays: number;
  private readonly lines: Float64Array;
  private readonly used: Float64Array;
  private clock = 0;

  constructor({ bytes, ways, deviceWays }: LastLevelCacheOptions) {
    this.ways = ways;
    this.deviceWays = deviceWays;
    this.sets = Math.max(1, Math.floor(bytes / LINE_BYTES / ways));
    this.lines = new Float64Array(this.sets * ways).fill(EMPTY);
    this.used = new Float64Array(this.sets * ways);
  }

  /** DDIO: what devices write may land here. */
  get takesDeviceWrites(): boolean {
    return this.deviceWays > 0;
  }

  /** Whether the line of a byte is here; nobody notices that this was asked. */
  holds(phys: number): boolean {
    const line = Math.floor(phys / LINE_BYTES);
    const first = (line % this.sets) * this.ways;
    return this.lines.subarray(first, first + this.ways).includes(line);
  }

  /** A CPU reads or writes the byte at a physical address. */
  cpuAccess(phys: number): boolean {
    return this.access(phys, this.ways);
  }

  /** A device reads: true when every line of the range is here. */
  deviceRead(phys: number, bytes: number): boolean {
    let all = true;
    const last = Math.floor((phys + bytes - 1) / LINE_BYTES);
    for (let line = Math.floor(phys / LINE_BYTES); line <= last; line += 1) {
      if (this.access(line * LINE_BYTES, 0)) continue;
      all = false;
    }
    return all;
  }

  /** A device writes. With DDIO off, what was here of the range is gone. */
  deviceWrite(phys: number, bytes: number): void {
    const last = Math.floor((phys + bytes - 1) / LINE_BYTES);
    for (let line = Math.floor(phys / LINE_BYTES); line <= last; line += 1) {
      if (this.deviceWays > 0) this.access(line * LINE_BYTES, this.deviceWays);
      else this.drop(line);
    }
  }

  /** Whatever is here of a range is gone: somebody wrote it elsewhere, or flushed it. */
  forget(phys: number, bytes: number): void {
    const last = Math.floor((phys + bytes - 1) / LINE_BYTES);
    for (let line = Math.floor(phys / LINE_BYTES); line <= last; line += 1) this.drop(line);
  }

  /** Whether the line was here; else one of the first `fillWays` ways of its set takes it. */
  private access(phys: number, fillWays: number): boolean {
    const line = Math.floor(phys / LINE_BYTES);
    const first = (line % this.sets) * this.ways;
    this.clock += 1;
    let victim = EMPTY;
    for (let entry = first; entry < first + this.ways; entry += 1) {
      if (this.lines[entry] === line) {
        this.used[entry] = this.clock;
        return true;
      }
      if (entry - first >= fillWays) continue;
      if (victim === EMPTY || this.used[entry]! < this.used[victim]!) victim = entry;
    }
    if (victim === EMPTY) return false;
    this.lines[victim] = line;
    this.used[victim] = this.clock;
    return false;
  }

  private drop(line: number): void {
    const first = (line % this.sets) * this.ways;
    for (let entry = first; entry < first + this.ways; entry += 1) {
      if (this.lines[entry] !== line) continue;
      this.lines[entry] = EMPTY;
      this.used[entry] = 0;
    }
  }
}
