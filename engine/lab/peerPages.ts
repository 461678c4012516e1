/** The memory of a machine's peers as processes get it mapped: page after page, and where there is no more, a word to the user. */
import { LabError } from '../time/labError.ts';
import type { PageKinds } from '../memory/pageKinds.ts';
import type { MachineDevice } from './buildDevices.ts';

export class PeerPages {
  /** Null: the machine has no such memory. */
  readonly kinds: PageKinds | null;
  private readonly devices: readonly MachineDevice[];

  constructor(devices: readonly MachineDevice[], kinds: PageKinds | null) {
    this.devices = devices;
    this.kinds = kinds;
  }

  /** The next physical page of a GPU that nobody has. */
  next(peer: string): number {
    const gpu = this.devices.find(({ id }) => id === peer);
    if (gpu?.kind !== 'gpu') throw new Error(`the machine has no GPU "${peer}"`);
    const page = gpu.driver.blocks.allocate(1);
    if (page !== -1) return page;
    const remedy = 'Use more, or less of it in the layouts of workloads.';
    throw new LabError(`topology.parts[${peer}].memoryMiB`, 'the workloads want more of its memory.', remedy);
  }
}
