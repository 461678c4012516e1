/**
 * The root complex's side of a function's requests: it has their address translated, moves their bytes, and knows how long the data
 * of a read takes and when writes are visible: in the order in which they came (PCI Express Base Specification 2.4.1).
 * Leaves out: when requests come and completions leave (linkCarrier.ts, pathCarrier.ts); relaxed ordering.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';
import type { ByteMemory } from '../memory/byteMemory.ts';
import type { DataTiming } from '../memory/memoryTiming.ts';
import type { EventQueue } from '../time/eventQueue.ts';
import type { FabricCosts, FabricOptions } from './fabric.ts';
import { FAILED, PAGE_OFFSET_MASK, type Operation } from './operation.ts';
import type { Translator } from './translator.ts';

export class MemoryAccess {
  /** When all writes so far are visible in memory. */
  postedUntil = 0;
  /** When the translation that `translate` asked for last is known. */
  translatedAt = 0;
  /** How long the data takes that `read` fetched last. */
  memoryTime = 0;
  private readonly sourceId: number;
  private readonly events: EventQueue;
  private readonly memory: ByteMemory;
  private readonly translator: Translator | null;
  private readonly timing: DataTiming | null;
  private readonly costs: FabricCosts;

  constructor(fabric: FabricOptions, sourceId: number, translator: Translator | null) {
    this.sourceId = sourceId;
    this.events = fabric.events;
    this.memory = fabric.memory;
    this.translator = translator;
    this.timing = fabric.memoryTiming ?? null;
    this.costs = fabric.costs;
  }

  /** The physical page of the byte at `from`, or -1 when the access is refused, which the operation then knows. */
  translate(operation: Operation, from: number, write: boolean, accesses: number): number {
    const { translator, events } = this;
    const busPage = Math.floor((operation.address + from) / PAGE_SIZE);
    if (translator === null) {
      this.translatedAt = events.now;
      return busPage;
    }
    const allowed = translator.translate(this.sourceId, busPage, write, accesses, events.now);
    this.translatedAt = translator.readyAt;
    if (allowed) return translator.physPage;
    operation.status = FAILED;
    return -1;
  }

  /** The bytes of a part of a write land, or are dropped where the page is -1; its last TLP comes at `lastTlp`. */
  write(operation: Operation, from: number, bytes: number, page: number, lastTlp: number): void {
    let visible = Math.max(lastTlp, this.translatedAt);
    if (page >= 0) {
      const offset = (operation.address + from) & PAGE_OFFSET_MASK;
      this.memory.writeBytes(page * PAGE_SIZE + offset, operation.bytes, operation.offset + from, bytes);
      if (this.timing !== null) visible = this.timing.dataWrite(page, offset, bytes, visible);
    }
    this.postedUntil = Math.max(this.postedUntil, visible);
  }

  /** The bytes of a part of a read are fetched, or are zeros where the page is -1. */
  read(operation: Operation, from: number, bytes: number, page: number): void {
    this.memoryTime = this.costs.memoryRead;
    if (page >= 0) {
      const offset = (operation.address + from) & PAGE_OFFSET_MASK;
      const { timing, translatedAt } = this;
      this.memory.readBytes(page * PAGE_SIZE + offset, operation.bytes, operation.offset + from, bytes);
      if (timing !== null) this.memoryTime = timing.dataRead(page, offset, bytes, translatedAt) - translatedAt;
    } else {
      operation.bytes.fill(0, operation.offset + from, operation.offset + from + bytes);
    }
  }
}
