import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../time/eventQueue.ts';
import { picoseconds, PICOSECONDS_PER_MILLISECOND } from '../../time/picoseconds.ts';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import { EDEADLK, ENODEV, EOPNOTSUPP, ETIMEDOUT } from '../errno.ts';
import type { ScatterList } from '../scatterList.ts';
import { BarExporter } from './barExporter.ts';
import type { DmaBufAttachment, DmaBufImporter } from './dmaBuf.ts';
import { DmaFence } from './fence.ts';
import { RESERVATION_USAGE } from './reservation.ts';
import { BRIDGE_PEER, BRIDGE_WINDOW, PeerMachine } from './testPeers.ts';

const PAGE = 4096;
const IGNORING: DmaBufImporter = { allowPeer2peer: true, invalidateMappings: () => undefined };

/** A driver that imports the buffer, stops its device when told, and unmaps now or later. */
class Importer implements DmaBufImporter {
  readonly allowPeer2peer = true;
  readonly machine: PeerMachine;
  list: ScatterList | number | null = null;
  told = 0;
  /** Work of its device that is under way. */
  fence: DmaFence | null = null;

  constructor(machine: PeerMachine) {
    this.machine = machine;
  }

  map(attachment: DmaBufAttachment): number {
    const { buffer } = attachment;
    this.list = buffer.reservation.withLock(() =>
      buffer.mapAttachment(this.machine.cpu, attachment, DMA_BIDIRECTIONAL),
    );
    return typeof this.list === 'number' ? this.list : this.list.dmaAddress[0]!;
  }

  unmap(attachment: DmaBufAttachment): void {
    const { list } = this;
    if (list === null || typeof list === 'number') throw new Error('nothing is mapped');
    const { buffer } = attachment;
    buffer.reservation.withLock(() => {
      buffer.unmapAttachment(this.machine.cpu, attachment, list, DMA_BIDIRECTIONAL);
    });
    this.list = null;
  }

  invalidateMappings(): void {
    this.told += 1;
  }
}

function exportBar(machine: PeerMachine, events: EventQueue | null): BarExporter {
  const vectors = [
    { phys: BRIDGE_WINDOW, length: 4 * PAGE },
    { phys: BRIDGE_WINDOW + 16 * PAGE, length: 2 * PAGE },
  ];
  return new BarExporter({ name: 'bar2', provider: BRIDGE_PEER, vectors, events, log: machine.log });
}

function attached(bar: BarExporter, machine: PeerMachine, importer: DmaBufImporter): DmaBufAttachment {
  const attachment = bar.buffer.attach(machine.api, machine.device, importer);
  if (typeof attachment === 'number') throw new Error(`refused: ${String(attachment)}`);
  return attachment;
}

describe('a BAR as dma-buf (drivers/vfio/pci/vfio_pci_dmabuf.c)', () => {
  test('takes importers only that reach peers and can let go', () => {
    const machine = new PeerMachine();
    const { buffer } = exportBar(machine, null);
    const attach = (importer: DmaBufImporter | null): unknown => buffer.attach(machine.api, machine.device, importer);
    expect(attach(null)).toBe(EOPNOTSUPP);
    expect(attach({ ...IGNORING, allowPeer2peer: false })).toBe(EOPNOTSUPP);
    expect(attach({ allowPeer2peer: true })).toBe(EOPNOTSUPP);
    expect(typeof attach(IGNORING)).toBe('object');
    expect(buffer.attachments).toHaveLength(1);
  });

  test('an importer sees the whole buffer as one run, and gives it back', () => {
    const machine = new PeerMachine();
    const bar = exportBar(machine, null);
    const importer = new Importer(machine);
    const attachment = attached(bar, machine, importer);
    const address = importer.map(attachment);
    expect([3, 4, 5].map((page) => machine.deviceSees(address + page * PAGE))).toEqual(
      [3, 16, 17].map((page) => BRIDGE_WINDOW / PAGE + page),
    );
    importer.unmap(attachment);
    expect(machine.deviceSees(address)).toBeNull();
    bar.buffer.detach(attachment);
    bar.buffer.release(machine.cpu);
  });

  test('a reset waits for the device’s fences, then for the unmap, and refuses everybody until it is over', () => {
    const events = new EventQueue();
    const machine = new PeerMachine();
    const bar = exportBar(machine, events);
    const importer = new Importer(machine);
    const attachment = attached(bar, machine, importer);
    const address = importer.map(attachment);
    const work = new DmaFence(1, 1, 'a transfer');
    bar.buffer.reservation.withLock(() => {
      bar.buffer.reservation.addFence(work, RESERVATION_USAGE.bookkeep);
    });
    const seen: (number | null)[] = [];
    events.schedule(
      picoseconds(1000),
      {
        handleEvent() {
          seen.push(machine.deviceSees(address));
          work.signal(events.now);
        },
      },
      0,
    );
    events.schedule(picoseconds(5000), { handleEvent: () => importer.unmap(attachment) }, 0);

    expect(bar.setRevoked(machine.cpu, true)).toBe(0);
    expect(importer.told).toBe(1);
    // its device worked on until the fence
    expect(seen).toEqual([BRIDGE_WINDOW / PAGE]);
    expect(machine.deviceSees(address)).toBeNull();
    expect(machine.cpu.now).toBeGreaterThanOrEqual(5000);
    expect(importer.map(attachment)).toBe(ENODEV);
    expect(bar.buffer.attach(machine.api, machine.device, IGNORING)).toBe(ENODEV);
    bar.buffer.reservation.withLock(() => {
      expect(bar.buffer.getRanges(machine.cpu, attachment)).toBe(ENODEV);
    });

    expect(bar.setRevoked(machine.cpu, false)).toBe(0);
    expect(importer.told).toBe(2);
    expect(importer.map(attachment)).toBeGreaterThan(0);
  });

  test('an importer that never unmaps is waited for one second, and named in the log', () => {
    const events = new EventQueue();
    const machine = new PeerMachine();
    const bar = exportBar(machine, events);
    const importer = new Importer(machine);
    importer.map(attached(bar, machine, importer));
    const start = machine.cpu.now;
    events.schedule(picoseconds(1e15), { handleEvent: () => undefined }, 0);
    expect(bar.setRevoked(machine.cpu, true)).toBe(ETIMEDOUT);
    expect(machine.cpu.now - start).toBe(1000 * PICOSECONDS_PER_MILLISECOND);
    expect(machine.log.entries().map((entry) => entry.message)).toEqual([
      'revoked, and importers still hold 1 mappings',
    ]);
    expect(bar.revoked).toBe(true);
  });

  test('a fence that nothing can signal is a deadlock, not an end of the wait', () => {
    const machine = new PeerMachine();
    const bar = exportBar(machine, null);
    attached(bar, machine, new Importer(machine));
    bar.buffer.reservation.withLock(() => {
      bar.buffer.reservation.addFence(new DmaFence(1, 1, 'forgotten'), RESERVATION_USAGE.bookkeep);
    });
    expect(bar.setRevoked(machine.cpu, true)).toBe(EDEADLK);
    expect(bar.buffer.reservation.locked).toBe(false);
  });
});
