/**
 * A run at a chosen moment: its IOVA space, what the caches of its IOMMU hold, and what an access to one address would meet.
 * Nothing of it is stored with a run: the run is computed again up to that moment with a listener that notes who took each
 * range, which gives exactly what was there, since a run depends on its inputs alone. Stepped in slices like a run, so that
 * whoever waits can give up.
 */
import { IovaLedger } from '../dma/iova/iovaLedger.ts';
import { iovaSnapshot } from '../dma/iova/iovaSnapshot.ts';
import { LabError } from '../time/labError.ts';
import type { RecordingFiles } from '../workloads/recordedRequest.ts';
import { ENGINE_VERSION } from './engineVersion.ts';
import type { MomentSnapshot } from './momentNames.ts';
import type { MachineDevice } from './buildDevices.ts';
import { suggestNames } from './nearestNames.ts';
import { deviceFunctions } from './deviceFunctions.ts';
import { costParameters, type CostParameter } from './presets.ts';
import { LabRun } from './run.ts';
import type { RunResult } from './runTypes.ts';
import type { LabDocument } from './schema.ts';
import { inspectWalk, type WalkRequest } from './walkInspection.ts';

export class RunInspection {
  private readonly run: LabRun;
  /** By device; those that share an IOVA space have one. */
  private readonly ledgers: ReadonlyMap<string, IovaLedger>;
  private readonly costs: readonly CostParameter[];
  /** The device that stands first in the document. */
  private readonly firstDevice: string;
  private at: number;

  private constructor(
    run: LabRun,
    ledgers: ReadonlyMap<string, IovaLedger>,
    costs: readonly CostParameter[],
    firstDevice: string,
    at: number,
  ) {
    this.run = run;
    this.firstDevice = firstDevice;
    this.ledgers = ledgers;
    this.costs = costs;
    this.at = at;
  }

  /**
   * `of`: the kept run that is looked into. It can be computed again only by the engine and from the lab that made it;
   * anything else would show another run's space, and is refused.
   */
  static prepare(
    lab: LabDocument,
    comparisonId: string,
    recordings: ReadonlyMap<string, RecordingFiles>,
    at: number,
    of: Pick<RunResult, 'id' | 'engineVersion'> | null,
  ): RunInspection {
    if (!Number.isSafeInteger(at) || at < 0) {
      throw new LabError('moment', `${at} is no moment of a run.`, 'Give picoseconds from 0.');
    }
    if (of !== null && of.engineVersion !== ENGINE_VERSION) {
      throw new LabError(
        `run ${of.id}`,
        `it was made by version ${of.engineVersion} of the emulator, and this is ${ENGINE_VERSION}.`,
        'Run it again to look into it.',
      );
    }
    const ledgers = new Map<string, IovaLedger>();
    const run = LabRun.prepare(lab, comparisonId, recordings, (clock, devices) => {
      const ledger = new IovaLedger().follow(clock);
      for (const id of devices) ledgers.set(id, ledger);
      return ledger;
    });
    if (of !== null && of.id !== run.id) {
      throw new LabError(
        `run ${of.id}`,
        'the lab has changed since this run, so it can no longer be computed again.',
        'Undo the change, or run it again.',
      );
    }
    for (const iommu of run.machine.iommus.values()) iommu.iotlb.countsUses = true;
    const firstDevice = deviceFunctions(lab.topology.parts)[0]?.id ?? '';
    return new RunInspection(run, ledgers, costParameters(lab), firstDevice, at);
  }

  /** A later moment is reached from here; false: this one has passed, and the run must be computed anew. */
  moveTo(at: number): boolean {
    if (!Number.isSafeInteger(at) || at < this.run.machine.events.now) return false;
    this.at = at;
    return true;
  }

  advance(maxEvents: number): 'running' | 'done' {
    return this.run.advance(maxEvents, this.at);
  }

  /** Virtual time that the computation has come to. */
  get reached(): number {
    return Math.min(this.at, this.run.machine.events.now);
  }

  /** When the run ended; null: it goes on behind the moment that the computation has come to. */
  get end(): number | null {
    return this.run.ended ? this.run.machine.events.now : null;
  }

  /**
   * `wanted`: the address whose translation is looked at. `device`: the one that is looked at, by the id of its part or by its PCI
   * address; null: the first of the lab.
   */
  snapshot(wanted: WalkRequest | null = null, device: string | null = null): MomentSnapshot {
    const { at, costs } = this;
    const chosen = this.device(device ?? this.firstDevice);
    const { dma, iommu } = chosen;
    const ledger = this.ledgers.get(chosen.id)!;
    const space = iovaSnapshot(at, chosen.device, dma.translatedDevice(chosen.device), ledger);
    if (iommu === null) return { at, space, caches: [], walk: null };
    const iotlb = iommu.iotlb.look();
    const pagingCache = iommu.pagingCache.look();
    const { sourceId } = chosen.device;
    const place = { at, iommu, sourceId, iotlb, pagingCache, costs };
    return { at, space, caches: [...iotlb, ...pagingCache], walk: wanted === null ? null : inspectWalk(place, wanted) };
  }

  private device(name: string): MachineDevice {
    const { devices } = this.run.machine;
    const found = devices.find(({ id, device }) => id === name || device.name === name);
    if (found !== undefined) return found;
    const ids = devices.map(({ id }) => id);
    throw new LabError('device', `there is no device "${name}".`, suggestNames(name, ids));
  }
}
