/**
 * When the medium of a drive is ready: parallel channels with a latency each, under a cap of commands and of bytes per second.
 * A published drive is described by exactly these figures; without the caps an emulated drive would hide nothing and every
 * cost of mapping would show (the NVMe figures at queue depth 512 say the opposite).
 * Leaves out: dependence on the address, garbage collection, write caches that fill up.
 */
import { PICOSECONDS_PER_SECOND, picoseconds, type Picoseconds } from '../time/picoseconds.ts';

export interface NvmeMediaTimingOptions {
  readonly channels: number;
  readonly readLatency: Picoseconds;
  readonly writeLatency: Picoseconds;
  readonly maxReadBytesPerSecond: number;
  readonly maxWriteBytesPerSecond: number;
  readonly maxIops: number;
}

export class NvmeMediaTiming {
  private readonly options: NvmeMediaTimingOptions;
  private readonly channelFreeAt: Float64Array;
  private nextCommandAt = 0;
  private readBusyUntil = 0;
  private writeBusyUntil = 0;

  constructor(options: NvmeMediaTimingOptions) {
    this.options = options;
    this.channelFreeAt = new Float64Array(options.channels);
  }

  /** Takes a command of `bytes` that reaches the medium at `at`; returns when the medium has done its part. */
  access(write: boolean, bytes: number, at: Picoseconds): Picoseconds {
    const { options } = this;
    const channel = this.earliestChannel();
    const start = Math.max(at, this.channelFreeAt[channel]!, this.nextCommandAt);
    this.nextCommandAt = start + Math.round(PICOSECONDS_PER_SECOND / options.maxIops);
    const end = start + (write ? options.writeLatency : options.readLatency);
    this.channelFreeAt[channel] = end;
    const rate = write ? options.maxWriteBytesPerSecond : options.maxReadBytesPerSecond;
    const transfer = Math.round((bytes / rate) * PICOSECONDS_PER_SECOND);
    const busyUntil = Math.max(start, write ? this.writeBusyUntil : this.readBusyUntil) + transfer;
    if (write) this.writeBusyUntil = busyUntil;
    else this.readBusyUntil = busyUntil;
    return picoseconds(Math.max(end, busyUntil));
  }

  private earliestChannel(): number {
    let earliest = 0;
    for (let channel = 1; channel < this.channelFreeAt.length; channel += 1) {
      if (this.channelFreeAt[channel]! < this.channelFreeAt[earliest]!) earliest = channel;
    }
    return earliest;
  }
}
