/**
 * Random lives of processes with a device that mirrors one of them by the protocol of interval notifiers: it must never use a
 * page that the process has no more, what it writes is what the process reads, and in the end everything is given back.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AddressSpace } from './addressSpace.ts';
import { HMM_PFN_VALID, HMM_PFN_WRITE, HmmPfnList } from './hmmPfn.ts';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from './hmmRangeFault.ts';
import { READ_MUST_WAIT, type IntervalNotifier } from './intervalNotifier.ts';
import { EBUSY } from './memoryErrors.ts';
import {
  beginMigration,
  convertRange,
  forkAddressSpace,
  migratePage,
  movePageToPeer,
  movePageToRam,
} from './pageMovement.ts';
import { FOLL_PCI_P2PDMA, FOLL_WRITE, pinUserPages, unpinUserPages } from './pinUserPages.ts';
import { PEER_PAGE, PEER_PAGES, TestProcesses } from './testProcess.ts';

const PAGES = 1040;
const START = 0x20_0000;
/** Where random actions happen: the edge between a huge region and small pages. */
const WINDOW_START = START + 500;
const WINDOW_PAGES = 24;

/** A device with a page table of its own, filled by hmm_range_fault and emptied by invalidations. */
class Mirror {
  readonly translations = new Map<number, { frame: number; writable: boolean }>();
  readonly notifier: IntervalNotifier;
  private readonly machine: TestProcesses;

  constructor(machine: TestProcesses) {
    this.machine = machine;
    this.notifier = machine.notify(START, PAGES, (range, sequence) => {
      this.notifier.setSequence(sequence);
      for (const page of this.translations.keys()) {
        if (page >= range.start && page < range.end) this.translations.delete(page);
      }
      return true;
    });
  }

  /** What a fault of the device does. `between`: what other CPUs do after the walk and before the driver's lock is taken. */
  fault(page: number, pages: number, write: boolean, between: () => void): void {
    const { machine, notifier } = this;
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const sequence = notifier.readBegin();
      if (sequence === READ_MUST_WAIT) return;
      const pfns = new HmmPfnList(pages);
      const defaultFlags = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
      const range = { mm: machine.mm, notifier, start: page, end: page + pages, pfns, defaultFlags, pfnFlagsMask: 0 };
      const ret = hmmRangeFault({ ...range, notifierSequence: sequence });
      if (ret !== 0 && ret !== EBUSY) return;
      if (attempt === 0) between();
      if (ret === EBUSY || notifier.readRetry(sequence)) continue;
      pfns.flags.forEach((flags, index) => {
        if ((flags & HMM_PFN_VALID) === 0) return;
        const writable = (flags & HMM_PFN_WRITE) !== 0;
        this.translations.set(page + index, { frame: pfns.pages[index]!, writable });
      });
      return;
    }
  }

  /** Every translation is one that the process has right now. */
  check(mm: AddressSpace): void {
    for (const [page, { frame, writable }] of this.translations) {
      if (mm.table.pageOf(page) !== frame) throw new Error(`the device uses a stale frame for page ${String(page)}`);
      const write = mm.areas.find(page)!.writable && (mm.table.flagsOf(page) & 2) !== 0;
      if (writable && !write) throw new Error(`the device may write page ${String(page)}, the process may not`);
    }
  }
}

const action = fc.record({
  what: fc.constantFrom(
    'cpuWrite',
    'cpuWrite',
    'cpuRead',
    'fault',
    'fault',
    'racedFault',
    'racedFault',
    'deviceWrite',
    'deviceWrite',
    'unmap',
    'remap',
    'protect',
    'allow',
    'discard',
    'migrate',
    'migrateSlowly',
    'toPeer',
    'toRam',
    'share',
    'private',
    'fork',
    'childWrite',
    'childExit',
    'pin',
    'unpin',
    'startOther',
    'endOther',
  ),
  page: fc.integer({ min: 0, max: WINDOW_PAGES - 1 }),
  pages: fc.integer({ min: 1, max: 6 }),
  value: fc.integer({ min: 1, max: 255 }),
  write: fc.boolean(),
});
type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;

interface World {
  readonly machine: TestProcesses;
  readonly mirror: Mirror;
  readonly children: AddressSpace[];
  readonly pins: { at: number; list: Float64Array; count: number }[];
  /** Invalidations that other CPUs have begun; their pages go at the end. */
  readonly others: { start: number; end: number }[];
  nextPeer: number;
}

/** The process has given these pages away, so what a pin holds is no longer its page. */
function forgetPins(world: World, start: number, end: number): void {
  for (const pin of world.pins) if (pin.at < end && pin.at + pin.count > start) pin.at = -1;
}

/** A pinned page stays the process's page for as long as the process keeps it. */
function checkPins({ machine, pins }: World): void {
  for (const { at, list, count } of pins) {
    for (let index = 0; at >= 0 && index < count; index += 1)
      expect(machine.mm.table.pageOf(at + index)).toBe(list[index]);
  }
}

/** Changes of the process that any CPU may make at any time. */
function change(world: World, { what, page, pages, value }: Action): void {
  const { machine, children, pins } = world;
  const { mm } = machine;
  const at = WINDOW_START + page;
  switch (what) {
    case 'cpuWrite':
      machine.setByte(at, value);
      break;
    case 'cpuRead':
      machine.byte(at);
      break;
    case 'unmap':
      forgetPins(world, at, at + pages);
      mm.unmap(at, pages);
      break;
    case 'remap':
      forgetPins(world, at, at + pages);
      mm.map({ at, pages });
      break;
    case 'protect':
    case 'allow':
      mm.protect(at, pages, { writable: what === 'allow' });
      break;
    case 'discard':
      forgetPins(world, at, at + pages);
      mm.discard(at, pages);
      break;
    case 'migrate':
      migratePage(mm, at);
      break;
    case 'migrateSlowly':
      beginMigration(mm, at);
      break;
    case 'toPeer':
      if (movePageToPeer(mm, at, PEER_PAGE + (world.nextPeer % PEER_PAGES)) === 0) world.nextPeer += 1;
      break;
    case 'toRam':
      movePageToRam(mm, at);
      break;
    case 'share':
    case 'private':
      convertRange(mm, at, pages, what === 'private');
      break;
    case 'fork': {
      if (children.length >= 3) break;
      const child = forkAddressSpace(mm, 'child');
      if (child !== null) children.push(child);
      break;
    }
    case 'childWrite':
      if (children.length > 0) machine.setByte(at, value, children[value % children.length]);
      break;
    case 'childExit':
      children.shift()?.exit();
      break;
    case 'pin': {
      const list = new Float64Array(pages);
      const count = pinUserPages(mm, at, pages, FOLL_WRITE | FOLL_PCI_P2PDMA, list);
      if (count > 0) pins.push({ at, list, count });
      break;
    }
    case 'unpin': {
      const pin = pins.shift();
      if (pin !== undefined) unpinUserPages(machine.pages, pin.list, pin.count, true);
      break;
    }
    case 'startOther':
      if (world.others.length >= 2) break;
      world.others.push({ start: at, end: at + pages });
      mm.notifiers.invalidateRangeStart({ start: at, end: at + pages, event: 'clear', blockable: true });
      break;
    case 'endOther': {
      const other = world.others.shift();
      if (other === undefined) break;
      forgetPins(world, other.start, other.end);
      mm.zap(other.start, other.end);
      mm.notifiers.invalidateRangeEnd();
      break;
    }
    case 'fault':
    case 'racedFault':
    case 'deviceWrite':
      break;
  }
}

function act(world: World, step: Action, meanwhile: Action): void {
  const { machine, mirror } = world;
  const at = WINDOW_START + step.page;
  switch (step.what) {
    case 'fault':
      mirror.fault(at, step.pages, step.write, () => undefined);
      break;
    case 'racedFault':
      mirror.fault(at, step.pages, step.write, () => {
        change(world, meanwhile);
      });
      break;
    case 'deviceWrite': {
      const translation = mirror.translations.get(at);
      if (translation?.writable !== true) break;
      machine.memory.writeBytes(translation.frame * 4096, Uint8Array.of(step.value), 0, 1);
      expect(machine.byte(at)).toBe(step.value);
      break;
    }
    default:
      change(world, step);
  }
}

function live(steps: readonly Action[], confidential: boolean, hugePages: boolean): void {
  const machine = new TestProcesses({ confidential });
  const { mm, pages, frames } = machine;
  const freeBefore = frames.freePages;
  mm.map({ at: START, pages: PAGES, hugePages });
  const mirror = new Mirror(machine);
  const world: World = { machine, mirror, children: [], pins: [], others: [], nextPeer: 0 };
  steps.forEach((step, index) => {
    act(world, step, steps[(index + 7) % steps.length]!);
    mirror.check(mm);
    checkPins(world);
  });
  while (world.others.length > 0) change(world, { ...steps[0]!, what: 'endOther' });
  for (const child of world.children) child.exit();
  mm.exit();
  expect(mirror.translations.size).toBe(0);
  expect(mm.notifiers.remove(mirror.notifier)).toBe(true);
  for (const { list, count } of world.pins) unpinUserPages(pages, list, count, true);
  expect([pages.held, pages.pinned, mm.table.size, mm.migrations.size]).toEqual([0, 0, 0, 0]);
  expect(frames.freePages).toBe(freeBefore);
}

test('a device that follows the protocol never uses a stale page, and all pages and pins are returned', () => {
  fc.assert(fc.property(fc.array(action, { minLength: 30, maxLength: 160 }), fc.boolean(), fc.boolean(), live), {
    numRuns: 300,
    seed: 5,
  });
});

test('a device that does not ask whether its sequence is stale is caught by the same check', () => {
  const machine = new TestProcesses();
  machine.mm.map({ at: START, pages: PAGES });
  const mirror = new Mirror(machine);
  machine.setByte(WINDOW_START, 1);
  const frame = machine.mm.table.pageOf(WINDOW_START);
  migratePage(machine.mm, WINDOW_START);
  mirror.translations.set(WINDOW_START, { frame, writable: true });
  expect(() => {
    mirror.check(machine.mm);
  }).toThrow('stale');
});

/** What takes bytes away. */
const LOSING: ReadonlySet<string> = new Set(['unmap', 'remap', 'discard', 'share', 'private', 'startOther']);

function bytesOf(machine: TestProcesses, mm: AddressSpace): number[] {
  return Array.from({ length: WINDOW_PAGES }, (_, page) => machine.byte(WINDOW_START + page, mm));
}

test('the bytes of a process are its own through moves, forks and pins, against a plain array', () => {
  const steps = fc.array(action, { minLength: 30, maxLength: 120 });
  fc.assert(
    fc.property(steps, (list) => {
      const machine = new TestProcesses();
      const { mm } = machine;
      mm.map({ at: START, pages: PAGES, hugePages: true });
      const mirror = new Mirror(machine);
      const world: World = { machine, mirror, children: [], pins: [], others: [], nextPeer: 0 };
      const naive = new Array<number>(WINDOW_PAGES).fill(0);
      const naiveChildren: number[][] = [];
      list.forEach((step, index) => {
        const { what, page, value } = step;
        const at = WINDOW_START + page;
        const child = value % Math.max(1, world.children.length);
        const childWrites = world.children[child]?.areas.find(at)?.writable === true;
        const deviceWrites = mirror.translations.get(at)?.writable === true;
        if (LOSING.has(what)) return;
        if (what === 'cpuWrite') {
          if (machine.setByte(at, value) === 0) naive[page] = value;
        } else {
          act(world, step, { ...list[(index + 3) % list.length]!, what: 'migrate' });
        }
        if (what === 'deviceWrite' && deviceWrites) naive[page] = value;
        if (what === 'childWrite' && childWrites) naiveChildren[child]![page] = value;
        if (what === 'childExit') naiveChildren.shift();
        if (what === 'fork' && world.children.length > naiveChildren.length) naiveChildren.push([...naive]);
        expect(bytesOf(machine, mm)).toEqual(naive);
        expect(world.children.map((process) => bytesOf(machine, process))).toEqual(naiveChildren);
      });
    }),
    { numRuns: 100, seed: 6 },
  );
});
