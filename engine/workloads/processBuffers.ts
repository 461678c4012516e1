/** A process whose buffers are laid out as a workload wants them (rdmaBuffers.ts). */
import { PAGE_SIZE } from '../memory/addresses.ts';
import { AddressSpace } from '../memory/addressSpace.ts';
import { UserPages } from '../memory/userPages.ts';
import type { RandomStream } from '../time/random.ts';
import { layOutBuffers, type PeersPage } from './rdmaBuffers.ts';
import type { RdmaMachine, RdmaWorkloadOptions } from './rdmaMachine.ts';
import type { WorkloadMemory } from './workloadMemory.ts';

export class ProcessBuffers implements WorkloadMemory {
  readonly process: AddressSpace;
  readonly buffers: Float64Array;
  private readonly machine: Pick<RdmaMachine, 'peersPages'>;
  private readonly taken: PeersPage[] = [];

  constructor(
    machine: Pick<RdmaMachine, 'memory' | 'frames' | 'pageKinds' | 'peersPages'>,
    { name, layout, regions, regionBytes, messagesPerRegion }: RdmaWorkloadOptions,
    random: RandomStream,
  ) {
    const { memory, frames, pageKinds, peersPages } = machine;
    this.machine = machine;
    this.process = new AddressSpace({ name, pages: new UserPages(memory, frames, pageKinds) });
    this.buffers = layOutBuffers(
      { mm: this.process, frames, peersPages, taken: this.taken },
      random,
      layout,
      regions + (messagesPerRegion > 0 ? 1 : 0),
      Math.ceil(regionBytes / PAGE_SIZE),
      name,
    );
  }

  get isChanging(): boolean {
    return this.process.notifiers.active > 0;
  }

  read(address: number, target: Uint8Array): void {
    if (this.process.read(address, target) !== 0) throw new Error(`${this.process.name} cannot read its own memory`);
  }

  write(address: number, source: Uint8Array): void {
    if (this.process.write(address, source) !== 0) throw new Error(`${this.process.name} cannot write its own memory`);
  }

  release(): void {
    this.process.exit();
    for (const { peer, page } of this.taken) this.machine.peersPages.giveBack(peer, page);
  }
}
