/** Columns side by side do the same work: I/O number n has the same bytes in the same pages, whatever the scheme costs. */
import { describe, expect, it } from 'vitest';
import type { DomainType } from '../dma/device.ts';
import type { SchemeName } from '../schemes/scheme.ts';
import { RandomStream } from '../time/random.ts';
import { BioWorkload, type BioWorkloadOptions } from '../workloads/bio.ts';
import { nvmeMachine } from './testing/nvmeMachine.ts';

/** Every I/O in order of submission, as text, and how the run ended. */
function submissions(scheme: SchemeName, domain: DomainType, options: Partial<BioWorkloadOptions>) {
  const machine = nvmeMachine({ scheme, domain });
  const { driver } = machine;
  const submit = driver.submitBio.bind(driver);
  const seen: string[] = [];
  driver.submitBio = (cpu, bio) => {
    const vectors = Array.from(bio.phys.subarray(0, bio.vectorCount));
    seen.push(`${String(bio.write)} ${bio.sector} ${vectors.join()} ${bio.length.subarray(0, bio.vectorCount).join()}`);
    submit(cpu, bio);
  };
  const workload = new BioWorkload(
    machine,
    {
      name: 'bio0',
      rw: 'randrw',
      readPercent: 70,
      blockSizes: [4096, 16_384, 131_072].map((bytes) => ({ bytes, weight: 1 })),
      regionBytes: 2 ** 30,
      queueDepth: 32,
      ioCount: 1500,
      contiguity: 0.5,
      cpus: 1,
      verify: true,
      ...options,
    },
    new RandomStream(3),
  );
  workload.start();
  machine.run(() => workload.done);
  return { seen, ended: [workload.completed, workload.failed, workload.mismatches] };
}

describe('the I/Os of a generator', () => {
  it.each<Partial<BioWorkloadOptions>>([{ contiguity: 0.5 }, { contiguity: 'contiguous' }, { queueDepth: 1 }])(
    'lie in the same pages in every column (%o)',
    (options) => {
      const strict = submissions('map_sg', 'strict', options);
      const lazy = submissions('map_sg', 'lazy', options);
      const passthrough = submissions('map_sg', 'passthrough', options);
      expect(strict.ended).toEqual([1500, 0, 0]);
      expect(lazy.seen).toEqual(strict.seen);
      expect(passthrough.seen).toEqual(strict.seen);
      expect(submissions('two_step', 'strict', options).seen).toEqual(strict.seen);
      const premapped = submissions('premapped', 'strict', options);
      expect(premapped).toEqual(strict);
    },
  );

  it('ends with a ring so short that I/Os wait for each other, and with fewer I/Os than buffers', () => {
    // 1 MiB buffers: the ring is no longer than twice the depth.
    const blockSizes = [4096, 1_048_576].map((bytes) => ({ bytes, weight: 1 }));
    expect(submissions('two_step', 'lazy', { blockSizes, ioCount: 600, queueDepth: 64 }).ended).toEqual([600, 0, 0]);
    expect(submissions('two_step', 'lazy', { ioCount: 5 }).ended).toEqual([5, 0, 0]);
  });
});
