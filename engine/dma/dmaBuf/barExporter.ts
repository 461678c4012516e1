/**
 * The exporter of a device's own memory: ranges of a BAR, peer to peer only, taken away when the device is reset or its memory
 * decoding is switched off (Linux drivers/vfio/pci/vfio_pci_dmabuf.c). Revoking tells every importer, waits until no device
 * works on the buffer any more, and then until nobody maps it.
 * Leaves out: mmap of the buffer, steering tags.
 */
import type { P2pdmaProvider } from '../../memory/pageKinds.ts';
import type { EventLog } from '../../metrics/eventLog.ts';
import type { Cpu } from '../../time/cpu.ts';
import type { EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, PICOSECONDS_PER_MILLISECOND, type Picoseconds } from '../../time/picoseconds.ts';
import type { DmaDirection } from '../attributes.ts';
import { ENODEV, EOPNOTSUPP } from '../errno.ts';
import type { ScatterList } from '../scatterList.ts';
import { DmaBuf, errorOfWait, type DmaBufAttachment, type DmaBufExporter } from './dmaBuf.ts';
import { totalLength, type PhysicalRange, type PhysVec } from './physicalRange.ts';
import { dmaBufFreeSgt, dmaBufPhysVecToSgt, PhysVecScatterList } from './physVec.ts';
import { RESERVATION_USAGE, runEventsUntil } from './reservation.ts';

/** An importer that says it can let go has this long to unmap, before the kernel complains of it. */
const UNMAP_TIMEOUT = picoseconds(1000 * PICOSECONDS_PER_MILLISECOND);

export interface BarExporterOptions {
  readonly name: string;
  readonly provider: P2pdmaProvider;
  readonly vectors: readonly PhysVec[];
  readonly events: EventQueue | null;
  readonly log: EventLog | null;
}

export class BarExporter implements DmaBufExporter {
  readonly buffer: DmaBuf;
  private readonly provider: P2pdmaProvider;
  private readonly vectors: readonly PhysVec[];
  private readonly ranges: readonly PhysicalRange[];
  private readonly log: EventLog | null;
  private taken = false;
  private users = 0;

  constructor(options: BarExporterOptions) {
    const { name, provider, vectors, events } = options;
    this.provider = provider;
    this.vectors = vectors;
    this.ranges = vectors.map(({ phys, length }) => ({ phys, length, provider }));
    this.log = options.log;
    this.buffer = new DmaBuf({ name, size: totalLength(vectors), exporter: this, events });
  }

  get revoked(): boolean {
    return this.taken;
  }

  attach(attachment: DmaBufAttachment): number {
    if (!attachment.peer2peer) return EOPNOTSUPP;
    if (this.taken) return ENODEV;
    return attachment.revocable ? 0 : EOPNOTSUPP;
  }

  map(cpu: Cpu, attachment: DmaBufAttachment, direction: DmaDirection): ScatterList | number {
    if (this.taken) return ENODEV;
    const { provider, vectors, buffer } = this;
    const list = dmaBufPhysVecToSgt(cpu, attachment, provider, vectors, buffer.size, direction);
    if (typeof list !== 'number') this.users += 1;
    return list;
  }

  unmap(cpu: Cpu, attachment: DmaBufAttachment, list: ScatterList, direction: DmaDirection): void {
    if (!(list instanceof PhysVecScatterList))
      throw new Error(`a list that ${this.buffer.name} never gave is unmapped`);
    dmaBufFreeSgt(cpu, attachment, list, direction);
    this.users -= 1;
  }

  getRanges(): readonly PhysicalRange[] | number {
    if (this.taken) return ENODEV;
    this.users += 1;
    return this.ranges;
  }

  putRanges(): void {
    this.users -= 1;
  }

  /**
   * `vfio_pci_dma_buf_move`: the device's memory goes, or comes back. 0, or the errno of the wait that did not end; the buffer
   * is revoked all the same.
   */
  setRevoked(cpu: Cpu, revoked: boolean): number {
    if (revoked === this.taken) return 0;
    const { buffer } = this;
    const { reservation, events } = buffer;
    const error = reservation.withLock(() => {
      this.taken = revoked;
      buffer.invalidateMappings(cpu);
      return errorOfWait(reservation.wait(cpu, RESERVATION_USAGE.bookkeep, events));
    });
    if (!revoked || error !== 0) return error;
    // without the lock: importers need it to unmap
    const deadline = (cpu.now + UNMAP_TIMEOUT) as Picoseconds;
    const outcome = runEventsUntil(() => this.users === 0, events, deadline);
    if (outcome !== 'signalled') {
      this.log?.add(
        cpu.now,
        'warning',
        buffer.name,
        `revoked, and importers still hold ${String(this.users)} mappings`,
      );
    }
    cpu.waitUntil(outcome === 'timed_out' ? deadline : (events?.now ?? cpu.now));
    return errorOfWait(outcome);
  }
}
