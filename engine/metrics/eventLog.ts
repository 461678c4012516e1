/**
 * The log of a run: a bounded ring that keeps the newest entries and counts what it dropped. Bounded, so that a run that
 * faults on every access holds no more memory than one that never does.
 */
export type LogSeverity = 'info' | 'warning' | 'error';

export interface LogEntry {
  /** Virtual time, picoseconds. */
  readonly at: number;
  readonly severity: LogSeverity;
  /** The part that speaks, such as `iommu0` or `nvme0`. */
  readonly source: string;
  readonly message: string;
  /** The number, from 1, of the API misuse that this entry speaks of. */
  readonly misuse?: number;
}

export class EventLog {
  readonly capacity: number;
  private readonly ring: LogEntry[] = [];
  private oldest = 0;
  private total = 0;

  constructor(capacity = 1_000) {
    this.capacity = capacity;
  }

  add(at: number, severity: LogSeverity, source: string, message: string, misuse?: number): void {
    const entry: LogEntry =
      misuse === undefined ? { at, severity, source, message } : { at, severity, source, message, misuse };
    this.total += 1;
    if (this.ring.length < this.capacity) {
      this.ring.push(entry);
      return;
    }
    this.ring[this.oldest] = entry;
    this.oldest = (this.oldest + 1) % this.capacity;
  }

  /** Entries that were overwritten. */
  get dropped(): number {
    return this.total - this.ring.length;
  }

  /** What the log holds, oldest first. */
  entries(): LogEntry[] {
    return [...this.ring.slice(this.oldest), ...this.ring.slice(0, this.oldest)];
  }
}
