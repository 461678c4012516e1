/**
 * DMA of machines that encrypt their memory, with a device that really reads and writes (Linux arch/x86/mm/mem_encrypt.c
 * `force_dma_unencrypted`; kernel/dma/direct.h; Documentation/arch/x86/amd-memory-encryption.rst).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DMA_MAPPING_ERROR, dmaAddr } from '../memory/addresses.ts';
import { ConfidentialMemory } from '../memory/confidentialMemory.ts';
import { PageKinds } from '../memory/pageKinds.ts';
import type { DmaPort } from '../pcie/dmaPort.ts';
import { Fabric } from '../pcie/fabric.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import {
  DMA_ATTR_CC_SHARED,
  DMA_ATTR_REQUIRE_COHERENT,
  DMA_BIDIRECTIONAL,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
} from './attributes.ts';
import { dmaBitMask } from './device.ts';
import { MemoryEncryption } from './memoryEncryption.ts';
import { BOUNCE_POOL, TestMachine } from './testMachine.ts';

const C_BIT = 47;
const SLOTS = 512;
const BUFFER = 0x1000_0000;
const COSTS = { rootComplex: nanoseconds(90), memoryRead: nanoseconds(10), mmioWrite: nanoseconds(250) };
const LINK = { generation: 3, lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };

/** A machine that encrypts, and a device. In a guest the host's fabric has no key; on a host the C-bit asks for it. */
class EncryptingMachine {
  readonly machine: TestMachine;
  readonly kinds = new PageKinds({ confidential: true });
  readonly behind: ConfidentialMemory;
  private readonly events = new EventQueue();
  private readonly port: DmaPort;

  constructor(where: 'guest' | 'host', dmaMask = dmaBitMask(64)) {
    this.kinds.setPrivate(BOUNCE_POOL / 4096, SLOTS / 2, false);
    const guest = where === 'guest';
    this.machine = new TestMachine({
      domain: 'none',
      iommu: false,
      pageKinds: this.kinds,
      encryption: new MemoryEncryption(C_BIT),
      swiotlbSlots: SLOTS,
      swiotlbForce: guest,
      device: { forceUnencrypted: guest, dmaMask },
    });
    const { memory, counters } = this.machine;
    this.behind = new ConfidentialMemory(memory, this.kinds, guest ? null : C_BIT);
    const fabric = new Fabric({ events: this.events, memory: this.behind, translator: null, costs: COSTS, counters });
    this.port = fabric.addRootPort(LINK).addFunction(this.machine.device.sourceId);
  }

  deviceWrites(address: number, bytes: Uint8Array): void {
    this.port.write(dmaAddr(address), bytes.length, bytes, 0, { handleEvent: () => undefined }, 0, 0);
    while (this.events.step());
  }

  deviceReads(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.port.read(dmaAddr(address), length, bytes, 0, { handleEvent: () => undefined }, 0, 0);
    while (this.events.step());
    return bytes;
  }
}

const transfer = fc.record({
  offset: fc.integer({ min: 0, max: 4095 }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 12_000 }),
});

describe('a confidential guest', () => {
  test('every streaming mapping goes through the shared pool, and both sides see the same bytes', () => {
    fc.assert(
      fc.property(transfer, ({ offset, bytes }) => {
        const world = new EncryptingMachine('guest');
        const { machine, behind } = world;
        const { api, cpu, device, memory } = machine;
        const phys = BUFFER + offset;
        memory.writeBytes(phys, bytes, 0, bytes.length);
        const out = api.dmaMapPhys(cpu, device, phys, bytes.length, DMA_TO_DEVICE, 0);
        expect(machine.swiotlb!.contains(out)).toBe(true);
        expect(world.deviceReads(out, bytes.length)).toEqual(bytes);
        api.dmaUnmapPhys(cpu, device, out, bytes.length, DMA_TO_DEVICE, 0);
        const answer = bytes.map((byte) => byte ^ 0xff);
        const back = api.dmaMapPhys(cpu, device, phys, bytes.length, DMA_FROM_DEVICE, 0);
        world.deviceWrites(back, answer);
        api.dmaUnmapPhys(cpu, device, back, bytes.length, DMA_FROM_DEVICE, 0);
        expect(machine.bytes(phys, bytes.length)).toEqual(answer);
        expect(behind.garbledAccesses).toBe(0);
        expect(machine.swiotlb!.used).toBe(0);
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  test('a device that is handed the physical address of private memory finds ciphertext', () => {
    const world = new EncryptingMachine('guest');
    const { machine, behind } = world;
    machine.fill(BUFFER, 64, 0x11);
    expect(world.deviceReads(BUFFER, 64)).not.toEqual(new Uint8Array(64).fill(0x11));
    expect(behind.garbledAccesses).toBe(1);
  });

  test('what may not be copied cannot be mapped; what is shared already is mapped where it lies', () => {
    const world = new EncryptingMachine('guest');
    const { machine, kinds } = world;
    const { api, cpu, device } = machine;
    const { dmaSkipSync } = device;
    const refused = api.dmaMapPhys(cpu, device, BUFFER, 4096, DMA_BIDIRECTIONAL, DMA_ATTR_REQUIRE_COHERENT);
    expect(refused).toBe(DMA_MAPPING_ERROR);
    expect(device.dmaSkipSync).toBe(dmaSkipSync);
    kinds.setPrivate(BUFFER / 4096, 1, false);
    machine.fill(BUFFER, 16, 0x22);
    expect(api.dmaMapPhys(cpu, device, BUFFER, 4096, DMA_BIDIRECTIONAL, DMA_ATTR_CC_SHARED)).toBe(BUFFER);
    expect(world.deviceReads(BUFFER, 16)).toEqual(new Uint8Array(16).fill(0x22));
  });

  test('coherent memory is shared for as long as it lives', () => {
    const world = new EncryptingMachine('guest');
    const { machine, kinds, behind } = world;
    const { api, cpu, device } = machine;
    const memory = api.dmaAllocCoherent(cpu, device, 8192)!;
    world.deviceWrites(memory.address + 4096, Uint8Array.of(1, 2, 3));
    expect([...machine.bytes(memory.phys + 4096, 3)]).toEqual([1, 2, 3]);
    expect(behind.garbledAccesses).toBe(0);
    api.dmaFreeCoherent(cpu, device, 8192, memory);
    expect(kinds.isPrivate(memory.phys / 4096)).toBe(true);
  });
});

describe('a host that encrypts its memory', () => {
  test('a device that can set the C-bit reaches memory in place', () => {
    const world = new EncryptingMachine('host');
    const { machine } = world;
    const { api, cpu, device } = machine;
    machine.fill(BUFFER, 4096, 0x33);
    const address = api.dmaMapPhys(cpu, device, BUFFER, 4096, DMA_BIDIRECTIONAL, 0);
    expect(address).toBe(BUFFER + 2 ** C_BIT);
    expect(world.deviceReads(address, 32)).toEqual(new Uint8Array(32).fill(0x33));
    world.deviceWrites(address + 8, Uint8Array.of(7));
    expect(machine.bytes(BUFFER + 8, 1)[0]).toBe(7);
    expect(world.deviceReads(BUFFER, 32)).not.toEqual(machine.bytes(BUFFER, 32));
  });

  test('one whose addresses end below the C-bit gets a copy', () => {
    const world = new EncryptingMachine('host', dmaBitMask(32));
    const { machine } = world;
    const { api, cpu, device } = machine;
    machine.fill(BUFFER, 4096, 0x44);
    const address = api.dmaMapPhys(cpu, device, BUFFER, 4096, DMA_TO_DEVICE, 0);
    expect(machine.swiotlb!.contains(address)).toBe(true);
    expect(world.deviceReads(address, 32)).toEqual(new Uint8Array(32).fill(0x44));
  });

  test('one whose addresses end below the C-bit is told of the largest copy (dma_direct_get_required_mask)', () => {
    const { api, cpu, device } = new EncryptingMachine('host', dmaBitMask(40)).machine;
    expect(api.dmaGetRequiredMask(device)).toBe(dmaBitMask(C_BIT + 1));
    expect(api.dmaAddressingLimited(device)).toBe(true);
    const largest = api.dmaMaxMappingSize(device);
    expect(largest).toBe(256 * 1024);
    expect(api.dmaMapPhys(cpu, device, BUFFER, largest, DMA_TO_DEVICE, 0)).not.toBe(DMA_MAPPING_ERROR);
    expect(api.dmaMapPhys(cpu, device, BUFFER, largest + 1, DMA_TO_DEVICE, 0)).toBe(DMA_MAPPING_ERROR);
  });
});
