import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { DMA_BIDIRECTIONAL } from '../attributes.ts';
import { EOPNOTSUPP } from '../errno.ts';
import type { ScatterList } from '../scatterList.ts';
import { TestMachine } from '../testMachine.ts';
import type { DmaBufAttachment, DmaBufImporter } from './dmaBuf.ts';
import { RangeMapping } from './rangeMapping.ts';
import { SystemExporter } from './systemExporter.ts';

const PAGES = 6;

function heapBuffer(machine: TestMachine): SystemExporter {
  return new SystemExporter({ name: 'heap', pages: PAGES, frames: machine.frames, events: null });
}

function attachTo(exporter: SystemExporter, machine: TestMachine, importer: DmaBufImporter | null): DmaBufAttachment {
  const attachment = exporter.buffer.attach(machine.api, machine.device, importer);
  if (typeof attachment === 'number') throw new Error('a heap takes everybody');
  return attachment;
}

function mapped(attachment: DmaBufAttachment, machine: TestMachine): ScatterList {
  const { buffer } = attachment;
  const list = buffer.reservation.withLock(() => buffer.mapAttachment(machine.cpu, attachment, DMA_BIDIRECTIONAL));
  if (typeof list === 'number') throw new Error(`the mapping failed: ${String(list)}`);
  return list;
}

function unmap(attachment: DmaBufAttachment, machine: TestMachine, list: ScatterList): void {
  const { buffer } = attachment;
  buffer.reservation.withLock(() => {
    buffer.unmapAttachment(machine.cpu, attachment, list, DMA_BIDIRECTIONAL);
  });
}

describe('a buffer of RAM (drivers/dma-buf/heaps/system_heap.c)', () => {
  test('several devices map it at once, and its pages come back in the end', () => {
    const machine = new TestMachine({ device: { maxSegmentSize: 2 ** 32 - 1 } });
    const free = machine.frames.freePages;
    const exporter = heapBuffer(machine);
    const attachments = [attachTo(exporter, machine, null), attachTo(exporter, machine, null)];
    const lists = attachments.map((attachment) => mapped(attachment, machine));
    const pages = exporter.ranges.flatMap(({ phys, length }) =>
      Array.from({ length: length / PAGE_SIZE }, (_, index) => phys / PAGE_SIZE + index),
    );
    for (const list of lists) {
      expect(list.mappedCount).toBe(1);
      expect(pages.map((_, page) => machine.deviceSees(list.dmaAddress[0]! + page * PAGE_SIZE))).toEqual(pages);
    }
    const tables = free - machine.frames.freePages - PAGES;
    for (const [index, attachment] of attachments.entries()) {
      unmap(attachment, machine, lists[index]!);
      exporter.buffer.detach(attachment);
    }
    exporter.buffer.release(machine.cpu);
    expect(free - machine.frames.freePages).toBe(tables);
  });

  test('a bounced mapping shows the device’s bytes to a CPU that begins its access, and the CPU’s to the device after its end', () => {
    const machine = new TestMachine({ domain: 'none', iommu: false, swiotlbSlots: 1024, swiotlbForce: true });
    const exporter = heapBuffer(machine);
    const attachment = attachTo(exporter, machine, null);
    const list = mapped(attachment, machine);
    const page = exporter.ranges.at(-1)!.phys;
    const bounce = list.dmaAddress[list.mappedCount - 1]!;
    expect(bounce).not.toBe(page);

    machine.memory.writeWord(bounce / PAGE_SIZE, 3, 77);
    expect(machine.memory.readWord(page / PAGE_SIZE, 3)).toBe(0);
    exporter.beginCpuAccess(machine.cpu, DMA_BIDIRECTIONAL);
    expect(machine.memory.readWord(page / PAGE_SIZE, 3)).toBe(77);

    machine.memory.writeWord(page / PAGE_SIZE, 3, 78);
    exporter.endCpuAccess(machine.cpu, DMA_BIDIRECTIONAL);
    expect(machine.memory.readWord(bounce / PAGE_SIZE, 3)).toBe(78);
    unmap(attachment, machine, list);
    expect(machine.swiotlb!.used).toBe(0);
  });

  test('gives its ranges to importers that can let go, which map them without a scatterlist', () => {
    const machine = new TestMachine();
    const exporter = heapBuffer(machine);
    const { reservation } = exporter.buffer;
    const fixed = attachTo(exporter, machine, null);
    const dynamic = attachTo(exporter, machine, { allowPeer2peer: false, invalidateMappings: () => undefined });
    reservation.lock();
    expect(exporter.buffer.getRanges(machine.cpu, fixed)).toBe(EOPNOTSUPP);
    const ranges = exporter.buffer.getRanges(machine.cpu, dynamic);
    if (typeof ranges === 'number') throw new Error('refused');
    const mapping = new RangeMapping(machine.api, machine.device, DMA_BIDIRECTIONAL);
    expect(mapping.map(machine.cpu, ranges)).toBe(0);
    expect(mapping.runs).toEqual([{ address: mapping.state.address, length: PAGES * PAGE_SIZE }]);
    mapping.unmap(machine.cpu);
    exporter.buffer.putRanges(machine.cpu, dynamic, ranges);
    reservation.unlock();
    exporter.buffer.detach(dynamic);
  });
});
