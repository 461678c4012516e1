import { describe, expect, it } from 'vitest';
import type { DomainType } from '../dma/device.ts';
import type { KernelProfileName } from '../dma/kernels/profiles.ts';
import { Bio } from '../drivers/bio.ts';
import { fillPattern, patternTag } from '../memory/dataPattern.ts';
import type { SchemeName } from '../schemes/scheme.ts';
import { RandomStream } from '../time/random.ts';
import { BioWorkload, type BioWorkloadOptions } from '../workloads/bio.ts';
import { blockSizeRange } from '../workloads/bioPattern.ts';
import { ReplayWorkload } from '../workloads/replay.ts';
import type { Recording } from '../workloads/recordedRequest.ts';
import { physAddr } from '../memory/addresses.ts';
import { nvmeMachine, type NvmeMachine } from './testing/nvmeMachine.ts';

const KIB = 1024;
const PAGE = 4096;
const SCHEMES: readonly SchemeName[] = ['map_sg', 'two_step'];
const DOMAINS: readonly DomainType[] = ['strict', 'lazy', 'passthrough', 'none'];
const COMBINATIONS = SCHEMES.flatMap((scheme) => DOMAINS.map((domain) => ({ scheme, domain })));

function workloadOn(machine: NvmeMachine, options: Partial<BioWorkloadOptions>): BioWorkload {
  const workload = new BioWorkload(
    machine,
    {
      name: 'bio0',
      rw: 'randread',
      readPercent: 50,
      blockSizes: [{ bytes: 128 * KIB, weight: 1 }],
      regionBytes: 64 * 1024 * KIB,
      queueDepth: 16,
      ioCount: 200,
      contiguity: 'scattered',
      cpus: 1,
      verify: true,
      ...options,
    },
    new RandomStream(1),
  );
  workload.start();
  return workload;
}

function runOn(machine: NvmeMachine, options: Partial<BioWorkloadOptions>): BioWorkload {
  const workload = workloadOn(machine, options);
  machine.run(() => workload.done);
  return workload;
}

/** Scattered pages, and a bio over them. */
function scatteredBio(machine: NvmeMachine, write: boolean, sector: number, pages: number) {
  const numbers = Array.from({ length: pages }, () => {
    const page = machine.frames.allocateContiguous(2);
    return page;
  });
  let ended = false;
  const bio = new Bio({ handleEvent: () => (ended = true) }, 0, 0);
  bio.reset(write, sector);
  for (const page of numbers) bio.addPage(page * PAGE, PAGE, page, machine.driver.profile);
  const submit = () => {
    const cpu = machine.work.cpus[0]!;
    cpu.begin(machine.events.now);
    machine.driver.submitBio(cpu, bio);
    machine.run(() => ended);
  };
  return { bio, numbers, submit };
}

describe.each(COMBINATIONS)('$scheme in a $domain domain', ({ scheme, domain }) => {
  it('brings a 128 KiB read byte for byte into scattered pages', () => {
    const machine = nvmeMachine({ scheme, domain });
    const { bio, numbers, submit } = scatteredBio(machine, false, 4242, 32);
    submit();
    expect(bio.failed).toBe(false);
    const expected = new Uint32Array(1024);
    const got = new Uint32Array(1024);
    numbers.forEach((page, index) => {
      for (let block = 0; block < 8; block += 1) {
        fillPattern(expected, block * 128, patternTag(4242 + index * 8 + block, 0));
      }
      machine.memory.readBytes(physAddr(page * PAGE), new Uint8Array(got.buffer), 0, PAGE);
      expect(got).toEqual(expected);
    });
  });

  it('writes what the pages hold and reads it back into others', () => {
    const machine = nvmeMachine({ scheme, domain });
    const out = scatteredBio(machine, true, 64, 32);
    out.numbers.forEach((page, index) => {
      for (let word = 0; word < 1024; word += 1) machine.memory.writeWord(page, word, index * 7919 + word * word);
    });
    out.submit();
    expect(machine.drive.media.rawBlockCount).toBeGreaterThan(200);
    const back = scatteredBio(machine, false, 64, 32);
    back.submit();
    back.numbers.forEach((page, index) => {
      for (let word = 0; word < 1024; word += 1) {
        if (machine.memory.readWord(page, word) !== (index * 7919 + word * word) >>> 0) throw new Error(`word ${word}`);
      }
    });
    expect(machine.metrics.log.entries().filter((entry) => entry.severity === 'error')).toEqual([]);
  });

  it('keeps every block where it belongs under a mixed load of all sizes', () => {
    const machine = nvmeMachine({ scheme, domain, cpus: 2 });
    const workload = runOn(machine, { rw: 'randrw', blockSizes: blockSizeRange(4 * KIB, 160 * KIB), cpus: 2 });
    expect([workload.completed, workload.failed, workload.mismatches]).toEqual([200, 0, 0]);
    expect(machine.driver.requestsInFlight).toBe(0);
    expect(machine.metrics.bookkeepingBytes).toBe(0);
  });
});

describe('a run', () => {
  it('comes out the same every time', () => {
    const once = () => {
      const machine = nvmeMachine({ cpus: 2 });
      runOn(machine, { rw: 'randrw', cpus: 2 });
      return [machine.events.now, machine.metrics.counters.toRecord()];
    };
    expect(once()).toEqual(once());
  });

  it('holds the memory of its buffers and its region, however long it is', () => {
    const machine = nvmeMachine();
    const options = { rw: 'randrw', blockSizes: [{ bytes: 4 * KIB, weight: 1 }], verify: false } as const;
    const workload = workloadOn(machine, { ...options, ioCount: 100_000, queueDepth: 32 });
    machine.run(() => workload.completed >= 20_000);
    const early = machine.memory.touchedPages;
    machine.run(() => workload.done);
    expect(workload.failed).toBe(0);
    expect(machine.memory.touchedPages).toBeLessThanOrEqual(early + 8);
    expect(machine.drive.media.rawBlockCount).toBe(0);
    expect(machine.drive.commandsInFlight).toBe(0);
  }, 60_000);

  it('waits in the queue when there are more I/Os than tags', () => {
    const workload = runOn(nvmeMachine({ queueDepth: 4 }), { queueDepth: 64 });
    expect([workload.completed, workload.failed, workload.mismatches]).toEqual([200, 0, 0]);
  });

  it('works for a drive without SGLs, and for odd sizes and a part of a page', () => {
    const machine = nvmeMachine({ sgl: false });
    const sizes = [512, 1024, 4608, 12_288, 131_072].map((bytes) => ({ bytes, weight: 1 }));
    const workload = runOn(machine, { rw: 'randrw', blockSizes: sizes, contiguity: 0.5 });
    expect([workload.completed, workload.failed, workload.mismatches]).toEqual([200, 0, 0]);
  });

  it('cuts 1 MiB into 8 requests behind an IOMMU, and 512 KiB of contiguous memory into links of one run', () => {
    const machine = nvmeMachine({ domain: 'lazy' });
    runOn(machine, { blockSizes: [{ bytes: 1024 * KIB, weight: 1 }], ioCount: 20, contiguity: 'contiguous' });
    expect(machine.metrics.counters.get('requests')).toBe(160);
    expect(machine.metrics.counters.get('iommuMaps')).toBeLessThan(200);
  });
});

describe('golden scenarios (counts that the code of the kernel gives)', () => {
  const perRequest = (profile: KernelProfileName, scheme: SchemeName, domain: DomainType) => {
    const machine = nvmeMachine({ profile, scheme, domain });
    const before = machine.metrics.counters.toRecord();
    runOn(machine, { ioCount: 100, queueDepth: 1 });
    const after = machine.metrics.counters.toRecord();
    const gained = (name: keyof typeof after) => after[name] - before[name];
    return {
      maps: gained('iommuMaps') / 100,
      unmaps: gained('iommuUnmaps') / 100,
      iovas: (gained('iovaAllocFast') + gained('iovaAllocSlow')) / 100,
      pageFlushes: gained('invalidationsPage') / 100,
      queued: gained('flushQueueEntries') / 100,
      bookkeeping: machine.metrics.bookkeepingPeak,
    };
  };

  it('1 and 3: a 128 KiB request of scattered pages makes 1 IOVA, 32 maps, 1 unmap; what is kept is 16 bytes or 1 KiB', () => {
    const lazy617 = perRequest('6.17', 'two_step', 'lazy');
    expect(lazy617).toEqual({ maps: 32, unmaps: 1, iovas: 1, pageFlushes: 0, queued: 1, bookkeeping: 16 });
    const lazy73 = perRequest('7.3', 'two_step', 'lazy');
    expect(lazy73).toEqual({ maps: 32, unmaps: 1, iovas: 1, pageFlushes: 1, queued: 0, bookkeeping: 16 });
    const sg = perRequest('7.3', 'map_sg', 'lazy');
    expect(sg).toEqual({ maps: 32, unmaps: 1, iovas: 1, pageFlushes: 0, queued: 1, bookkeeping: 1024 });
    const strict = perRequest('6.12', 'map_sg', 'strict');
    expect(strict).toEqual({ maps: 32, unmaps: 1, iovas: 1, pageFlushes: 1, queued: 0, bookkeeping: 1024 });
  });

  it('4: passthrough maps nothing', () => {
    const passthrough = perRequest('7.3', 'two_step', 'passthrough');
    expect(passthrough).toMatchObject({ maps: 0, unmaps: 0, iovas: 0, pageFlushes: 0, queued: 0 });
  });
});

describe('a translation that is refused', () => {
  it('ends the command with a Data Transfer Error that reaches log, driver and workload', () => {
    const machine = nvmeMachine({ domain: 'strict' });
    const { bio, submit } = scatteredBio(machine, false, 0, 2);
    const table = machine.dma.translatedDevice(machine.device)!.domain.table;
    const { drive } = machine;
    const ring = drive.writeSubmissionDoorbell.bind(drive);
    // Between mapping and doorbell somebody takes the mapping away: the drive meets an empty entry.
    drive.writeSubmissionDoorbell = (id, tail, at) => {
      for (let page = 0xf_f000; page <= 0xf_ffff; page += 1) {
        const phys = table.lookup(page);
        if (phys >= 0 && phys * PAGE === bio.phys[0]) table.unmap(page, 1);
      }
      ring(id, tail, at);
    };
    submit();
    expect(bio.failed).toBe(true);
    expect(machine.driver.errors).toBe(1);
    const messages = machine.metrics.log.entries().map((entry) => `${entry.source}: ${entry.message}`);
    expect(messages.some((message) => message.startsWith('nvme0: read of LBA 0'))).toBe(true);
    expect(messages.some((message) => message.includes('Data Transfer Error'))).toBe(true);
    expect(machine.metrics.counters.get('faults')).toBeGreaterThan(0);
  });
});

describe('a request that finds no resources', () => {
  it('is tried again and ends well when they come back', () => {
    const machine = nvmeMachine();
    const { bio, submit } = scatteredBio(machine, false, 0, 32);
    const { mapping } = machine.driver;
    const map = mapping.mapRequest.bind(mapping);
    let refusals = 3;
    mapping.mapRequest = (cpu, request, iod) => {
      refusals -= 1;
      return refusals >= 0 ? 'resource' : map(cpu, request, iod);
    };
    submit();
    expect(bio.failed).toBe(false);
    expect(bio.completedAt).toBeGreaterThan(9e9);
    expect(machine.metrics.mapLatency.count).toBe(1);
  });

  it('ends with an error when they never come back, and others may follow', () => {
    const machine = nvmeMachine();
    const { bio, submit } = scatteredBio(machine, false, 0, 64);
    const { mapping } = machine.driver;
    const map = mapping.mapRequest.bind(mapping);
    mapping.mapRequest = () => 'resource';
    submit();
    expect([bio.failed, machine.driver.errors]).toEqual([true, 1]);
    mapping.mapRequest = map;
    expect(runOn(machine, { ioCount: 20 }).failed).toBe(0);
  });

  it('ends with an error at once when it cannot be mapped at all', () => {
    const machine = nvmeMachine();
    const { bio, submit } = scatteredBio(machine, true, 0, 64);
    machine.driver.mapping.mapRequest = () => 'ioerr';
    submit();
    expect([bio.failed, machine.driver.errors, machine.driver.requestsInFlight]).toEqual([true, 2, 0]);
  });
});

describe('a replay', () => {
  const recording = (kernelProfile: '6.12' | '7.3'): Recording => ({
    id: 'made by hand',
    kernelRelease: '7.3.4',
    kernelProfile,
    domain: 'strict',
    cpus: 1,
    queueDepth: 4,
    requests: Array.from({ length: 40 }, (_, index) => ({
      index,
      cpu: 0,
      completionCpu: 0,
      write: index % 3 === 0,
      lba: index * 256,
      bytes: index === 7 ? 0 : 16 * KIB,
      vectors:
        index === 7
          ? []
          : [0, 1, 2, 3].map((page) => ({
              phys: physAddr((0x8000 + (index % 4) * 64 + page * (index % 2 === 0 ? 1 : 2)) * PAGE),
              length: PAGE,
            })),
      segments: index === 7 ? 0 : 4,
      poolPages: 0,
      completeOrder: index,
    })),
  });

  it.each(SCHEMES)('of recorded requests puts each block into the recorded pages (%s)', (scheme) => {
    const machine = nvmeMachine({ scheme });
    const workload = new ReplayWorkload(machine, recording('7.3'), { name: 'replay0' });
    workload.start();
    machine.run(() => workload.done);
    expect([workload.completed, workload.failed]).toEqual([40, 0]);
    // Request 38 read into pages that no later request wrote to.
    const expected = new Uint32Array(128);
    fillPattern(expected, 0, patternTag(38 * 256, 0));
    const got = new Uint32Array(128);
    machine.memory.readBytes(physAddr((0x8000 + 2 * 64) * PAGE), new Uint8Array(got.buffer), 0, 512);
    expect(got).toEqual(expected);
  });

  it('refuses a recording of a larger drive', () => {
    const machine = nvmeMachine({ capacityBytes: 2 ** 20 });
    expect(() => new ReplayWorkload(machine, recording('7.3'), { name: 'replay0' })).toThrow(/ends beyond the drive/);
  });
});
