import { describe, expect, test } from 'vitest';
import { EventQueue } from '../../time/eventQueue.ts';
import { picoseconds } from '../../time/picoseconds.ts';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import { EBUSY, EDEADLK, ENOMEM, EOPNOTSUPP } from '../errno.ts';
import { ScatterList } from '../scatterList.ts';
import { DmaBuf, type DmaBufAttachment, type DmaBufExporter, type DmaBufImporter } from './dmaBuf.ts';
import { DmaFence } from './fence.ts';
import { RESERVATION_USAGE } from './reservation.ts';
import { PeerMachine } from './testPeers.ts';

/** Writes down what it is asked for. */
class RecordingExporter implements DmaBufExporter {
  readonly calls: string[] = [];
  mapResult = 0;
  pinResult = 0;

  pin(): number {
    this.calls.push('pin');
    return this.pinResult;
  }

  unpin(): void {
    this.calls.push('unpin');
  }

  map(): ScatterList | number {
    this.calls.push('map');
    return this.mapResult === 0 ? new ScatterList() : this.mapResult;
  }

  unmap(): void {
    this.calls.push('unmap');
  }
}

const DYNAMIC: DmaBufImporter = { allowPeer2peer: true, invalidateMappings: () => undefined };

function shared(events: EventQueue | null = null): {
  exporter: RecordingExporter;
  buffer: DmaBuf;
  machine: PeerMachine;
  attach: (importer: DmaBufImporter | null) => DmaBufAttachment;
} {
  const exporter = new RecordingExporter();
  const buffer = new DmaBuf({ name: 'buffer', size: 8192, exporter, events });
  const machine = new PeerMachine();
  return {
    exporter,
    buffer,
    machine,
    attach(importer) {
      const attachment = buffer.attach(machine.api, machine.device, importer);
      if (typeof attachment === 'number') throw new Error('refused');
      return attachment;
    },
  };
}

describe('dma-buf (drivers/dma-buf/dma-buf.c)', () => {
  test('a static importer pins while it maps; a dynamic one does not', () => {
    const { exporter, buffer, machine, attach } = shared();
    for (const importer of [null, DYNAMIC]) {
      const attachment = attach(importer);
      buffer.reservation.withLock(() => {
        const list = buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL);
        buffer.unmapAttachment(machine.cpu, attachment, list as ScatterList, DMA_BIDIRECTIONAL);
      });
      buffer.detach(attachment);
    }
    expect(exporter.calls).toEqual(['pin', 'map', 'unmap', 'unpin', 'map', 'unmap']);
  });

  test('a map that fails unpins; a pin that fails maps nothing', () => {
    const { exporter, buffer, machine, attach } = shared();
    const attachment = attach(null);
    buffer.reservation.lock();
    exporter.mapResult = ENOMEM;
    expect(buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL)).toBe(ENOMEM);
    exporter.pinResult = EBUSY;
    expect(buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL)).toBe(EBUSY);
    expect(exporter.calls).toEqual(['pin', 'map', 'unpin', 'pin']);
    expect(attachment.mappings).toBe(0);
  });

  test('a static importer waits for kernel fences in the map; if nothing can signal them it gets nothing', () => {
    const events = new EventQueue();
    const { exporter, buffer, machine, attach } = shared(events);
    const attachment = attach(null);
    const fence = new DmaFence(1, 1, 'a move');
    buffer.reservation.lock();
    buffer.reservation.addFence(fence, RESERVATION_USAGE.kernel);
    expect(buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL)).toBe(EDEADLK);
    expect(exporter.calls).toEqual(['pin', 'map', 'unmap', 'unpin']);
    events.schedule(picoseconds(700), { handleEvent: () => fence.signal(events.now) }, 0);
    expect(typeof buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL)).toBe('object');
    expect(machine.cpu.now).toBe(700);
  });

  test('a dynamic importer is given the mapping at once and must wait itself', () => {
    const { buffer, machine, attach } = shared();
    const attachment = attach(DYNAMIC);
    buffer.reservation.lock();
    buffer.reservation.addFence(new DmaFence(1, 1, 'a move'), RESERVATION_USAGE.kernel);
    expect(typeof buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL)).toBe('object');
  });

  test('invalidation reaches dynamic importers that take it, in the order of their attaching', () => {
    const { buffer, machine, attach } = shared();
    const told: string[] = [];
    const importer = (name: string): DmaBufImporter => ({
      allowPeer2peer: false,
      invalidateMappings: () => told.push(name),
    });
    attach(importer('first'));
    attach(null);
    attach({ allowPeer2peer: true });
    attach(importer('second'));
    buffer.reservation.withLock(() => {
      buffer.invalidateMappings(machine.cpu);
    });
    expect(told).toEqual(['first', 'second']);
  });

  test('an importer is revocable if it can be told to let go', () => {
    const { attach } = shared();
    expect([DYNAMIC, { allowPeer2peer: true }, null].map((importer) => attach(importer).revocable)).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('who promises to let go at once and does not is found', () => {
    const { buffer, machine, attach } = shared();
    const attachment = attach({ ...DYNAMIC, invalidatesSynchronously: true });
    buffer.reservation.lock();
    buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL);
    expect(() => {
      buffer.invalidateMappings(machine.cpu);
    }).toThrow('promised to let go of buffer at once');
  });

  test('ranges are given only to importers that can let go, by exporters that have them', () => {
    const { buffer, machine, attach } = shared();
    const attachments = [attach(DYNAMIC), attach(null)];
    buffer.reservation.lock();
    expect(attachments.map((attachment) => buffer.getRanges(machine.cpu, attachment))).toEqual([
      EOPNOTSUPP,
      EOPNOTSUPP,
    ]);
  });

  test('misuse is an error: no lock, pin by a static importer, detach or release too early', () => {
    const { buffer, machine, attach } = shared();
    const attachment = attach(null);
    const { cpu } = machine;
    expect(() => buffer.mapAttachment(cpu, attachment, DMA_BIDIRECTIONAL)).toThrow('without the reservation lock');
    expect(() => buffer.reservation.withLock(() => buffer.pin(cpu, attachment))).toThrow('attached statically');
    buffer.reservation.withLock(() => buffer.mapAttachment(cpu, attachment, DMA_BIDIRECTIONAL));
    expect(() => {
      buffer.detach(attachment);
    }).toThrow('1 live mappings');
    expect(() => {
      buffer.release(cpu);
    }).toThrow('while devices are attached');
  });
});
