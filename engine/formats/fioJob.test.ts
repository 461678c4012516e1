/** fio's HOWTO: "Job file format", "Parameter types", and the options by name. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LabError } from '../time/labError.ts';
import { looksLikeFioJobs, parseFioJobs, type FioJob } from './fioJob.ts';

function only(text: string): FioJob {
  const { jobs } = parseFioJobs(text, 'a.fio');
  expect(jobs).toHaveLength(1);
  return jobs[0]!;
}

function refusal(text: string): string {
  try {
    parseFioJobs(text, 'a.fio');
  } catch (error) {
    if (error instanceof LabError) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

const USUAL = `; a usual job
[global]
ioengine=io_uring
direct=1
bs=128k      ; of every job
iodepth=32
runtime=30s
time_based

[reader]
rw=randread
numjobs=4
filename=/dev/nvme0n1

# the second
[writer]
rw=randrw
rwmixread=70
bs=4k,8k
iodepth=1
cpus_allowed=0-3
`;

describe('a job file', () => {
  test('jobs take what [global] says before them, and say otherwise for themselves', () => {
    const { jobs, warnings } = parseFioJobs(USUAL, 'a.fio');
    expect(jobs.map(({ name, line }) => [name, line])).toEqual([
      ['reader', 10],
      ['writer', 16],
    ]);
    expect(jobs[0]).toMatchObject({
      pattern: 'randread',
      blockSizes: [{ bytes: 131_072, weight: 1 }],
      queueDepth: 32,
      clones: 4,
      seconds: 30,
      timeBased: true,
      files: ['/dev/nvme0n1'],
    });
    expect(jobs[1]).toMatchObject({ pattern: 'randrw', readPercent: 70, queueDepth: 1, clones: 1, files: [] });
    expect(warnings).toEqual([
      { line: 19, text: 'bs=4k,8k: writes get the size of reads' },
      { line: 21, text: 'cpus_allowed is not read' },
    ]);
  });

  test('a later [global] holds for later jobs only', () => {
    const { jobs } = parseFioJobs('[a]\n[global]\nbs=8k\n[b]\n[global]\nbs=16k\n[c]\n', 'a.fio');
    expect(jobs.map(({ blockSizes }) => blockSizes[0]!.bytes)).toEqual([4096, 8192, 16_384]);
  });

  test.each([
    ['4096', 4096],
    ['4k', 4096],
    ['4K', 4096],
    ['4kb', 4096],
    ['1m', 2 ** 20],
    ['0x1000', 4096],
    ['512Ki', 512_000],
  ])('the size %s is %i bytes (kb_base=1024)', (text, bytes) => {
    expect(only(`[a]\nbs=${text}`).blockSizes).toEqual([{ bytes, weight: 1 }]);
  });

  test('shares without a number get what the others leave', () => {
    expect(only('[a]\nbssplit=4k/50:64k/:128k/').blockSizes).toEqual([
      { bytes: 4096, weight: 50 },
      { bytes: 65_536, weight: 25 },
      { bytes: 131_072, weight: 25 },
    ]);
  });

  test('a range stands for its powers of two', () => {
    expect(only('[a]\nbsrange=4k-24k').blockSizes.map(({ bytes }) => bytes)).toEqual([4096, 8192, 16_384, 24_576]);
  });

  test('the last of rwmixread and rwmixwrite wins', () => {
    expect(only('[a]\nrw=rw\nrwmixread=30\nrwmixwrite=10').readPercent).toBe(90);
    expect(only('[a]\nrw=rw\nrwmixwrite=10\nrwmixread=30').readPercent).toBe(30);
  });

  test('buffers that io_uring registers, and those in huge pages', () => {
    const job = only('[a]\nioengine=io_uring\nfixedbufs\nmem=mmaphuge\ndirect=1');
    expect(job).toMatchObject({ registeredBuffers: true, hugeBuffers: true });
  });

  test('buffered I/O is named in a warning', () => {
    expect(parseFioJobs('[a]\nbuffered=1', 'a.fio').warnings).toEqual([
      { line: 2, text: 'without direct=1 the I/O goes through the page cache, which is left out: here it is direct' },
    ]);
  });
});

describe('what cannot be', () => {
  test.each([
    ['bs=4k', 'a.fio:1', 'before any section'],
    ['[global]\nbs=4k', 'a.fio', 'has no job'],
    ['[a]\nrw=randtrim', 'a.fio:2', 'trims are not emulated'],
    ['[a]\nrw=backwards', 'a.fio:2', 'no pattern of fio'],
    ['[a]\nbs=1000', 'a.fio:2', 'no whole number of sectors'],
    ['[a]\nbs=-4k', 'a.fio:2', 'is no size'],
    ['[a]\niodepth=0', 'a.fio:2', 'out of its range'],
    ['[a]\ninclude=other.fio', 'a.fio:2', 'reads another file'],
    ['[a]\nsize=${SIZE}', 'a.fio:2', 'environment variable'],
    ['[a]\nioengine=sync\niodepth=8', 'a.fio:2', 'one I/O in flight at most'],
    ['[a]\niodepth=8', 'a.fio:1', 'one I/O in flight at most'],
    ['[a]\nioengine=net', 'a.fio:2', 'makes no block I/O'],
    ['[a]\nbssplit=4k/80:8k/40', 'a.fio:2', 'more than 100 percent'],
    ['[a]\n=4', 'a.fio:2', 'neither an option nor a section'],
  ])('%j is refused at %s: %s', (text, place, problem) => {
    const message = refusal(text);
    expect(message).toContain(place);
    expect(message).toContain(problem);
  });

  test('any text is read or refused with a place', () => {
    const line = fc.oneof(
      fc.constantFrom('[a]', '[global]', 'bs=4k', 'rw=randread', 'size=10%', 'time_based', '; x', 'bssplit=4k/:8k/'),
      fc.string({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        try {
          const { jobs } = parseFioJobs(lines.join('\n'), 'a.fio');
          expect(jobs.length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(LabError);
          expect((error as LabError).message).toMatch(/^a\.fio/u);
        }
      }),
      { numRuns: 2000, seed: 12 },
    );
  });
});

test('a job file is told from a kernel trace by its first line that says something', () => {
  expect(looksLikeFioJobs('\n; fio\n# more\n[global]\n')).toBe(true);
  expect(looksLikeFioJobs('# tracer: nop\n#\n fio-123 [001] d..1. 12.3: map: x\n')).toBe(false);
  expect(looksLikeFioJobs('')).toBe(false);
});
