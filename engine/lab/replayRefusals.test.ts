import { describe, expect, it } from 'vitest';
import { nvmeMachine, type NvmeMachine } from './testing/nvmeMachine.ts';
import { physAddr } from '../memory/addresses.ts';
import type { Recording } from '../workloads/recordedRequest.ts';
import { ReplayWorkload } from '../workloads/replay.ts';

/** One write of these vectors; `bytes`: what the recording says they add up to. */
function recordingOf(vectors: readonly (readonly [number, number])[], bytes?: number): Recording {
  const request = {
    index: 0,
    cpu: 0,
    completionCpu: 0,
    write: true,
    lba: 0,
    bytes: bytes ?? vectors.reduce((sum, [, length]) => sum + length, 0),
    vectors: vectors.map(([phys, length]) => ({ phys: physAddr(phys), length })),
    segments: vectors.length,
    poolPages: 0,
    completeOrder: 0,
  };
  return {
    id: 'a/recording',
    kernelRelease: '7.3.0',
    kernelProfile: '7.3',
    domain: 'strict',
    cpus: 1,
    queueDepth: 1,
    requests: [request],
  };
}

function replayOn(machine: NvmeMachine, recording: Recording): ReplayWorkload {
  return new ReplayWorkload(machine, recording, { name: 'replay0' });
}

describe('a replay of a recording that lies', () => {
  it.each<[string, Recording, RegExp]>([
    ['an address beyond 52 bits', recordingOf([[2 ** 60, 4096]]), /Request 0 of recording "a\/recording".*52 bits/],
    ['an address outside the memory', recordingOf([[2 ** 50, 4096]]), /outside the machine's free memory/],
    ['a length of terabytes', recordingOf([[0x20_0000, 2 ** 45]]), /ends beyond the drive/],
    [
      'a piece of a doubleword',
      recordingOf([
        [0x20_0000, 510],
        [0x30_0000, 2],
      ]),
      /not whole doublewords/,
    ],
    ['a segment without bytes', recordingOf([[0x20_0000, 0]]), /not whole doublewords/],
    ['less than a block', recordingOf([[0x20_0000, 100]]), /not whole blocks/],
    ['segments that do not add up', recordingOf([[0x20_0000, 4096]], 8192), /8192 bytes, but segments of 4096/],
  ])('refuses %s at once', (_, recording, message) => {
    expect(() => replayOn(nvmeMachine(), recording)).toThrow(message);
  });

  it('ends a request with an error when the driver cannot cut it into blocks, as bio_split_io_at does', () => {
    const vectors = [
      [0x20_0000, 100],
      [0x30_0000, 412],
    ] as const;
    const machine = nvmeMachine({ scheme: 'map_sg' });
    const workload = replayOn(machine, recordingOf(vectors));
    workload.start();
    let steps = 0;
    machine.run(() => workload.done || (steps += 1) > 10_000);
    expect([workload.completed, workload.failed]).toEqual([1, 1]);
    expect(machine.driver.requestsInFlight).toBe(0);
    expect(machine.metrics.log.entries().map((entry) => entry.message)).toEqual([
      expect.stringMatching(/write of 512 bytes at sector 0, it cannot be cut into whole blocks/),
    ]);
  });

  it('moves the same request whole where the driver has no boundary', () => {
    const machine = nvmeMachine({ scheme: 'two_step' });
    const workload = replayOn(
      machine,
      recordingOf([
        [0x20_0000, 100],
        [0x30_0000, 412],
      ]),
    );
    workload.start();
    machine.run(() => workload.done);
    expect([workload.completed, workload.failed]).toEqual([1, 0]);
  });
});
