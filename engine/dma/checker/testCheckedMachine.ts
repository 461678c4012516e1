/** The small machine of the DMA tests with the checker switched on, and its device's accesses watched. */
import { PAGE_SIZE } from '../../memory/addresses.ts';
import { dmaCostParameters, resolveDmaCosts } from '../kernels/costs.ts';
import { createDmaDevice, type DmaDevice, type DomainType } from '../device.ts';
import { kernelProfile, type KernelProfileName } from '../kernels/profiles.ts';
import { TestMachine } from '../testMachine.ts';
import { ApiChecker } from './apiChecker.ts';
import { CheckedDmaApi } from './checkedDmaApi.ts';
import { CheckedTranslator } from './deviceAccess.ts';
import { KernelAreas } from './kernelAreas.ts';
import type { MisuseKind } from './misuse.ts';

export interface CheckedMachineOptions {
  readonly mode?: 'report' | 'stop';
  readonly domain?: DomainType;
  readonly profile?: KernelProfileName;
  readonly device?: Partial<DmaDevice>;
}

export class CheckedMachine {
  readonly base = new TestMachine({ traced: false });
  readonly cpu = this.base.cpu;
  readonly areas = new KernelAreas();
  readonly checker: ApiChecker;
  readonly accesses: CheckedTranslator;
  readonly device: DmaDevice;
  readonly api: CheckedDmaApi;

  constructor(options: CheckedMachineOptions = {}) {
    const { memory, frames, counters, log, iommu } = this.base;
    const profile = options.profile ?? '7.3';
    this.checker = new ApiChecker({ mode: options.mode ?? 'report', log, driver: 'nvme' });
    this.accesses = new CheckedTranslator(iommu, this.checker);
    this.device = createDmaDevice({ name: '0000:00:04.0', sourceId: 0x20, ...options.device });
    this.api = new CheckedDmaApi({
      profile: kernelProfile(profile),
      costs: resolveDmaCosts(dmaCostParameters('recorded-instructions', profile)),
      memory,
      frames,
      iommu,
      counters,
      trace: null,
      timers: null,
      cpus: 1,
      log,
      checker: this.checker,
      areas: this.areas,
      accesses: this.accesses,
    });
    this.api.attach(this.device, options.domain ?? 'strict');
  }

  /** The device touches one page; false: the IOMMU refused. */
  touch(address: number, write: boolean): boolean {
    return this.accesses.translate(this.device.sourceId, Math.floor(address / PAGE_SIZE), write, 1, this.cpu.now);
  }

  get kinds(): MisuseKind[] {
    return this.checker.misuses.map(({ kind }) => kind);
  }

  get messages(): string[] {
    return this.checker.misuses.map(({ message }) => message);
  }
}
