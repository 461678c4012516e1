/** Each misuse of the two-step API is told, and the uses that the API allows are not (Documentation/core-api/dma-api.rst). */
import { beforeEach, describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { DMA_ATTR_MMIO, DMA_FROM_DEVICE, DMA_TO_DEVICE, type DmaDirection } from '../attributes.ts';
import { DmaIovaState } from '../twoStep.ts';
import { CheckedMachine } from './testCheckedMachine.ts';

const PHYS = 0x100_0000;
const FAR = 0x10_0000;
let machine: CheckedMachine;
let state: DmaIovaState;

beforeEach(() => {
  machine = new CheckedMachine();
  state = new DmaIovaState();
});

function alloc(pages: number, phys = PHYS): void {
  expect(machine.api.dmaIovaTryAlloc(machine.cpu, machine.device, state, phys, pages * PAGE_SIZE)).toBe(true);
}

function link(phys: number, offset: number, size = PAGE_SIZE, direction: DmaDirection = DMA_TO_DEVICE): number {
  return machine.api.dmaIovaLink(machine.cpu, machine.device, state, phys, offset, size, direction, 0);
}

function sync(offset: number, size: number): void {
  machine.api.dmaIovaSync(machine.cpu, machine.device, state, offset, size);
}

function unlink(offset: number, size: number, direction: DmaDirection = DMA_TO_DEVICE): void {
  machine.api.dmaIovaUnlink(machine.cpu, machine.device, state, offset, size, direction, 0);
}

function destroy(length: number, direction: DmaDirection = DMA_TO_DEVICE): void {
  machine.api.dmaIovaDestroy(machine.cpu, machine.device, state, length, direction, 0);
}

function free(): void {
  machine.api.dmaIovaFree(machine.cpu, machine.device, state);
}

describe('what the API allows', () => {
  it('is a range linked in order, synchronised, used and destroyed', () => {
    alloc(4, PHYS + 0xe00);
    link(PHYS + 0xe00, 0, 0x200);
    link(PHYS + FAR, 0x200, 2 * PAGE_SIZE);
    link(PHYS + 3 * FAR, 0x200 + 2 * PAGE_SIZE, 0x800);
    sync(0, 0x200 + 2 * PAGE_SIZE + 0x800);
    for (let page = 0; page < 4; page += 1) expect(machine.touch(state.address + page * PAGE_SIZE, false)).toBe(true);
    destroy(0x200 + 2 * PAGE_SIZE + 0x800);
    expect(machine.kinds).toEqual([]);
  });

  it('is a range whose pages come and go one by one, as in on-demand paging', () => {
    alloc(8, 0);
    for (const page of [5, 2, 7]) {
      link(PHYS + page * FAR, page * PAGE_SIZE);
      sync(page * PAGE_SIZE, PAGE_SIZE);
    }
    unlink(2 * PAGE_SIZE, PAGE_SIZE);
    link(PHYS, 2 * PAGE_SIZE);
    sync(2 * PAGE_SIZE, PAGE_SIZE);
    for (const page of [5, 2, 7]) unlink(page * PAGE_SIZE, PAGE_SIZE);
    free();
    expect(machine.kinds).toEqual([]);
  });

  it('is a range given back after a link failed', () => {
    alloc(2);
    link(PHYS, 0);
    expect(link(PHYS, PAGE_SIZE, 0)).not.toBe(0);
    destroy(PAGE_SIZE);
    expect(machine.kinds).toEqual([]);
  });
});

describe('what it does not', () => {
  it('an offset linked twice', () => {
    alloc(2);
    link(PHYS, 0);
    expect(link(PHYS + FAR, 0)).not.toBe(0);
    expect(machine.kinds).toEqual(['linkTwice']);
    expect(machine.messages[0]).toContain('[linked offset=0] [linked size=4096 bytes]');
  });

  it('a link outside the range', () => {
    alloc(2);
    link(PHYS, PAGE_SIZE, 2 * PAGE_SIZE);
    expect(machine.kinds).toEqual(['linkOutside']);
    expect(machine.messages[0]).toContain('[allocation size=8192 bytes] [link offset+size=12288]');
  });

  it('a link inside the range that starts within a page', () => {
    alloc(3);
    link(PHYS, 0, 0x800);
    link(PHYS + FAR + 0x800, 0x800, 0x800);
    expect(machine.kinds).toContain('linkUnaligned');
  });

  it('an access of the device before the sync', () => {
    alloc(1);
    link(PHYS, 0);
    machine.touch(state.address, false);
    machine.touch(state.address, false);
    expect(machine.kinds).toEqual(['useBeforeSync']);
    expect(machine.checker.misuses[0]).toMatchObject({
      cpu: -1,
      call: `device reads(addr=0x${state.address.toString(16)})`,
    });
    expect(machine.checker.misuses[0]?.history.map(({ text }) => text.split('(')[0])).toEqual([
      'dma_iova_try_alloc',
      'dma_iova_link',
    ]);
  });

  it('accesses before the sync, once for a request and again for the next', () => {
    alloc(4, 0);
    for (const page of [0, 1]) link(PHYS + page * FAR, page * PAGE_SIZE);
    for (const page of [0, 1]) machine.touch(state.address + page * PAGE_SIZE, false);
    expect(machine.kinds).toEqual(['useBeforeSync']);
    link(PHYS + 2 * FAR, 2 * PAGE_SIZE);
    machine.touch(state.address + 2 * PAGE_SIZE, false);
    machine.touch(state.address, false);
    expect(machine.kinds).toEqual(['useBeforeSync', 'useBeforeSync']);
  });

  it('an unlink in another direction', () => {
    alloc(1);
    link(PHYS, 0, PAGE_SIZE, DMA_TO_DEVICE);
    unlink(0, PAGE_SIZE, DMA_FROM_DEVICE);
    expect(machine.kinds).toEqual(['unlinkOtherAttributes']);
    expect(machine.messages[0]).toContain(
      '[linked with DMA_TO_DEVICE attrs=0x0] [unlinked with DMA_FROM_DEVICE attrs=0x0]',
    );
  });

  it('nothing where RAM and peers’ memory of one range are undone at once', () => {
    alloc(2);
    link(PHYS, 0);
    const { api, cpu, device } = machine;
    api.dmaIovaLink(cpu, device, state, PHYS + FAR, PAGE_SIZE, PAGE_SIZE, DMA_TO_DEVICE, DMA_ATTR_MMIO);
    sync(0, 2 * PAGE_SIZE);
    destroy(2 * PAGE_SIZE);
    expect(machine.kinds).toEqual([]);
  });

  it('peers’ memory alone undone as if it were RAM, at once or by itself', () => {
    const { api, cpu, device } = machine;
    alloc(1);
    api.dmaIovaLink(cpu, device, state, PHYS, 0, PAGE_SIZE, DMA_TO_DEVICE, DMA_ATTR_MMIO);
    sync(0, PAGE_SIZE);
    destroy(PAGE_SIZE);
    alloc(2);
    link(PHYS, 0);
    api.dmaIovaLink(cpu, device, state, PHYS + FAR, PAGE_SIZE, PAGE_SIZE, DMA_TO_DEVICE, DMA_ATTR_MMIO);
    sync(0, 2 * PAGE_SIZE);
    unlink(PAGE_SIZE, PAGE_SIZE);
    expect(machine.kinds).toEqual(['unlinkOtherAttributes', 'unlinkOtherAttributes']);
  });

  it('a destroy in another direction', () => {
    alloc(1);
    link(PHYS, 0);
    destroy(PAGE_SIZE, DMA_FROM_DEVICE);
    expect(machine.kinds).toEqual(['unlinkOtherAttributes']);
  });

  it('a range freed with links in it', () => {
    alloc(2);
    link(PHYS, 0);
    free();
    expect(machine.kinds).toEqual(['freeWithLinks']);
  });

  it('a range destroyed with another length than was linked', () => {
    alloc(2);
    link(PHYS, 0);
    link(PHYS + FAR, PAGE_SIZE);
    destroy(PAGE_SIZE);
    expect(machine.kinds).toEqual(['destroyOtherLength']);
    expect(machine.messages[0]).toContain('[linked size=8192 bytes] [destroy size=4096 bytes]');
  });

  it('an unlink where nothing is linked', () => {
    alloc(3);
    link(PHYS, 0);
    link(PHYS + FAR, 2 * PAGE_SIZE);
    unlink(0, 3 * PAGE_SIZE);
    expect(machine.kinds).toEqual(['unlinkHole']);
    expect(machine.messages[0]).toContain('[hole at offset=4096]');
  });

  it('a call on a range that is gone, with what happened to it', () => {
    alloc(1);
    link(PHYS, 0);
    destroy(PAGE_SIZE);
    free();
    expect(machine.kinds).toEqual(['stateNotInUse']);
    expect(machine.checker.misuses[0]?.history.at(-1)?.text).toMatch(/^dma_iova_destroy/);
  });

  it('an access after the range was destroyed, which a lazy domain lets through', () => {
    machine = new CheckedMachine({ domain: 'lazy', profile: '6.17' });
    alloc(1);
    link(PHYS, 0);
    sync(0, PAGE_SIZE);
    const { address } = state;
    machine.touch(address, false);
    destroy(PAGE_SIZE);
    expect(machine.touch(address, false)).toBe(true);
    expect(machine.kinds).toEqual(['useAfterUnmap']);
  });

  it('a range whose state was used for another', () => {
    alloc(1);
    alloc(1);
    free();
    machine.api.driverUnbound(machine.cpu, machine.device);
    expect(machine.kinds).toEqual(['pendingAtRelease']);
  });
});

it('bounds the history of a range, and says how much it left out', () => {
  alloc(1);
  for (let count = 0; count < 50; count += 1) {
    link(PHYS, 0);
    unlink(0, PAGE_SIZE);
  }
  unlink(0, PAGE_SIZE);
  const [misuse] = machine.checker.misuses;
  expect(misuse?.history).toHaveLength(32);
  expect(misuse?.omitted).toBe(101 - 32);
  expect(misuse?.history[0]?.text).toMatch(/^dma_iova_try_alloc/);
  expect(misuse?.history.at(-1)?.text).toMatch(/^dma_iova_unlink/);
});
