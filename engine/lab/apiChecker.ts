/**
 * The API checker of a lab: which DMA API its machine gets (plain, checked, or with a driver that makes mistakes on purpose),
 * and the names that the document and the window use. The page sees the lab, not the DMA API.
 */
import { ApiChecker } from '../dma/checker/apiChecker.ts';
import { CheckedDmaApi } from '../dma/checker/checkedDmaApi.ts';
import { CheckedTranslator } from '../dma/checker/deviceAccess.ts';
import { FaultyDmaApi } from '../dma/checker/faultyDmaApi.ts';
import { KernelAreas } from '../dma/checker/kernelAreas.ts';
import type { DmaDevice } from '../dma/device.ts';
import { DmaApi } from '../dma/dmaApi.ts';
import type { DmaApiOptions } from '../dma/dmaApiOptions.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { Translator } from '../pcie/translator.ts';
import type { Cpu } from '../time/cpu.ts';
import type { Comparison, LabDocument } from './schema.ts';

/** `dev_driver_string` of the drives' driver. */
const DRIVER = 'nvme';
/** Pages that 52 bits of physical address reach. */
const PHYSICAL_PAGES = 2 ** 40;

export interface LabChecker {
  /** Null: the lab does not want to hear of misuses. */
  readonly checker: ApiChecker | null;
  /** What the fabric of a socket asks for translations. */
  translatorFor(translator: Translator | null, node: number): Translator | null;
  /** The API of devices on that socket. */
  createDma(options: DmaApiOptions, node: number): DmaApi;
  /** The workloads are done: nothing that the driver mapped for them may be left. */
  releaseDriver(cpu: Cpu, device: DmaDevice, dma: DmaApi): void;
}

export function createChecker(lab: LabDocument, comparison: Comparison, log: EventLog): LabChecker {
  const mode = lab.apiChecker ?? 'off';
  const faults = comparison.driverFaults ?? [];
  if (mode === 'off' && faults.length === 0) {
    return {
      checker: null,
      translatorFor: (translator) => translator,
      createDma: (options) => new DmaApi(options),
      releaseDriver: () => undefined,
    };
  }
  // A driver's mistakes are made above the checked API; unheard where the lab leaves the checker off.
  const checker = new ApiChecker({
    mode: mode === 'off' ? 'report' : mode,
    log: mode === 'off' ? null : log,
    heard: mode !== 'off',
    driver: DRIVER,
  });
  const accesses: (CheckedTranslator | null)[] = [];
  return {
    checker: mode === 'off' ? null : checker,
    translatorFor: (translator, node) => {
      const watched = translator === null ? null : new CheckedTranslator(translator, checker);
      accesses[node] = watched;
      return watched;
    },
    createDma: (options, node) => {
      const areas = new KernelAreas();
      areas.add('invalid', options.memory.pages, PHYSICAL_PAGES - options.memory.pages);
      const all = { ...options, checker, accesses: accesses[node] ?? null, areas };
      return faults.length === 0 ? new CheckedDmaApi(all) : new FaultyDmaApi({ ...all, faults });
    },
    releaseDriver: (cpu, device, dma) => {
      if (dma instanceof CheckedDmaApi) dma.driverUnbound(cpu, device, true);
    },
  };
}
