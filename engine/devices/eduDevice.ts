/**
 * A plain DMA engine with a buffer of its own, as in the `edu` device of QEMU (docs/specs/edu.rst, "DMA controller"): it
 * copies between its buffer of 4 KiB and the bus, one transfer at a time. For measurements of what a device really reaches.
 * Leaves out: the factorial unit, interrupts, the 28-bit default of its DMA mask.
 */
import { dmaAddr, PAGE_SIZE } from '../memory/addresses.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import type { EventHandler } from '../time/eventQueue.ts';

export const EDU_BUFFER_BYTES = PAGE_SIZE;

const MOVED = 0;

export class EduDevice implements EventHandler {
  readonly buffer = new Uint8Array(EDU_BUFFER_BYTES);
  /** A transfer is under way, as bit 0 of its command register says. */
  busy = false;
  /** Of the last transfer: some part was refused. A refused read gave zeros, a refused write was dropped. */
  refused = false;
  private readonly port: DmaPort;

  constructor(port: DmaPort) {
    this.port = port;
  }

  /** Reads `count` bytes at a bus address into the beginning of the buffer. */
  fetch(address: number, count: number): void {
    this.begin(count);
    this.port.read(dmaAddr(address), count, this.buffer, 0, this, MOVED, 0);
  }

  /** Writes the first `count` bytes of the buffer to a bus address. */
  store(address: number, count: number): void {
    this.begin(count);
    this.port.write(dmaAddr(address), count, this.buffer, 0, this, MOVED, 0);
  }

  handleEvent(): void {
    this.busy = false;
    this.refused = this.port.lastStatus !== 0;
  }

  private begin(count: number): void {
    if (this.busy) throw new Error('the DMA engine was started while a transfer was under way');
    if (!(count >= 1 && count <= EDU_BUFFER_BYTES)) {
      throw new RangeError(`a transfer of ${String(count)} bytes does not fit the buffer`);
    }
    this.busy = true;
  }
}
