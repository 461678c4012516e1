/**
 * The DMA API of a device without translation: the DMA address is the physical address, as long as the device can reach it
 * (Linux kernel/dma/direct.c, kernel/dma/direct.h: `dma_direct_map_phys`, `dma_direct_map_sg`).
 * Leaves out: bounce buffers for memory beyond the device's mask, encrypted memory, bus offsets.
 */
import { DMA_MAPPING_ERROR, type DmaAddr } from '../memory/addresses.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { Cpu } from '../time/cpu.ts';
import { picoseconds } from '../time/picoseconds.ts';
import type { DmaCosts } from './costs.ts';
import type { DmaDevice } from './device.ts';
import { EIO } from './errno.ts';
import type { ScatterList } from './scatterList.ts';

export class DirectDma {
  readonly device: DmaDevice;
  private readonly costs: DmaCosts;
  private readonly log: EventLog | null;

  constructor(device: DmaDevice, costs: DmaCosts, log: EventLog | null) {
    this.device = device;
    this.costs = costs;
    this.log = log;
  }

  mapPhys(cpu: Cpu, phys: number, size: number): DmaAddr {
    cpu.spend(this.costs.directMapCall);
    return this.reach(cpu, phys, size, this.device.dmaMask);
  }

  unmapPhys(cpu: Cpu): void {
    cpu.spend(this.costs.directUnmapCall);
  }

  mapSg(cpu: Cpu, list: ScatterList): number {
    cpu.spend(picoseconds(this.costs.directMapSgCall + list.count * this.costs.directMapSgPerEntry));
    for (let index = 0; index < list.count; index += 1) {
      const address = this.reach(cpu, list.phys[index]!, list.length[index]!, this.device.dmaMask);
      if (address === DMA_MAPPING_ERROR) return EIO;
      list.dmaAddress[index] = address;
      list.dmaLength[index] = list.length[index]!;
    }
    list.mappedCount = list.count;
    return list.count;
  }

  unmapSg(cpu: Cpu, list: ScatterList): void {
    cpu.spend(picoseconds(this.costs.directUnmapSgCall + list.count * this.costs.directUnmapSgPerEntry));
  }

  /** Coherent memory lies where the device reaches it; its own mask decides. */
  mapCoherent(cpu: Cpu, phys: number, size: number): DmaAddr {
    return this.reach(cpu, phys, size, this.device.coherentDmaMask);
  }

  private reach(cpu: Cpu, phys: number, size: number, limit: number): DmaAddr {
    const { device } = this;
    if (phys + size - 1 <= limit) return phys as DmaAddr;
    const address = `0x${phys.toString(16)}`;
    const mask = `0x${limit.toString(16)}`;
    this.log?.add(cpu.now, 'warning', device.name, `DMA addr ${address}+${size} overflow (mask ${mask}, bus limit 0)`);
    return DMA_MAPPING_ERROR;
  }
}
