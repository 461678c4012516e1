import { describe, expect, it } from 'vitest';
import { traceText } from '../lab/recordingFiles.ts';
import { TestTrace } from '../lab/testTrace.ts';
import { conformRecording } from './linuxTrace.ts';
import type { FileResult } from './report.ts';
import { files, fixture } from './testRecordings.ts';

describe('requests that are not whole', () => {
  it('are outside the count, with a reason', () => {
    const trace = new TestTrace()
      .completePage(7, 0x500)
      .submitPage(1, 0x100, 0x5000)
      .completePage(1, 0x100)
      .setup(4, { pid: 9 }, 'nvme_cmd_read', 'nvme1')
      .event('block_rq_issue: 259,1 R 4096 () 8 + 8 be,0,4 [fio]', { pid: 9 })
      .submitPage(2, 0x100, 0x5000)
      .setup(3)
      .alloc(0x101, 1);
    const result = conformRecording(files(trace.text()));
    expect(result).toMatchObject({ agree: 1, total: 1, firstDifference: null });
    expect(result.skipped).toEqual(
      expect.arrayContaining([
        { reason: 'in flight when the recording began', count: 1 },
        { reason: 'a request of another drive', count: 1 },
        { reason: 'in flight when the recording ended', count: 1 },
        { reason: 'preparing it was given up, or the recording ends inside it', count: 1 },
      ]),
    );
  });

  it('but a command without data is a request that makes no call', () => {
    const trace = new TestTrace().submitPage(1, 0x100, 0x5000).completePage(1, 0x100);
    trace.setup(2, {}, 'nvme_cmd_flush').issue(0).complete(2, { flag: 'h' });
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 2, total: 2 });
    trace.setup(4, {}, 'nvme_cmd_write_zeroes').issue(65536).complete(4, { flag: 'h' });
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 3, total: 3 });
    trace.setup(3, {}, 'nvme_cmd_flush').issue(0).unmap(0x100, 4096, { flag: 'h' }).complete(3, { flag: 'h' });
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 3, total: 4 });
  });
});

describe('lines that cannot all be true are a disagreement, not a request cut off by the recording', () => {
  const strict = ['7.3-strict', 'pio-unal512'] as const;
  const passthrough = ['6.12-pt', 'r4k-rand-qd16'] as const;
  const deep = ['6.12-lazy', 'r4k-rand-qd16'] as const;

  function mutate(
    [folder, name]: readonly [string, string],
    pattern: RegExp,
    change: (line: string) => readonly string[],
  ): FileResult {
    const all = fixture(folder, name);
    const lines = traceText(name, all.trace)
      .split('\n')
      .filter((line) => !line.startsWith('#'));
    const matching = lines.flatMap((line, index) => (pattern.test(line) ? [index] : []));
    const chosen = matching[Math.floor(matching.length / 2)] ?? -1;
    lines.splice(chosen, 1, ...change(lines[chosen] ?? ''));
    return conformRecording({ ...all, trace: Buffer.from(lines.join('\n')) });
  }

  const changed = (from: RegExp, to: string) => (line: string) => [line.replace(from, to)];
  const cases = [
    ['no nvme_setup_cmd', / nvme_setup_cmd: /, () => []],
    ['no block_rq_issue', / block_rq_issue: /, () => []],
    ['nvme_setup_cmd twice', / nvme_setup_cmd: /, (line: string) => [line, line]],
    ['nvme_complete_rq twice', / nvme_complete_rq: /, (line: string) => [line, line]],
    ['another cmdid at setup', / nvme_setup_cmd: /, changed(/cmdid=\d+/, 'cmdid=4095')],
    ['another cmdid at completion', / nvme_complete_rq: /, changed(/cmdid=\d+/, 'cmdid=4095')],
    ['another qid at setup', / nvme_setup_cmd: /, changed(/qid=\d+/, 'qid=7')],
    ['another qid at completion', / nvme_complete_rq: /, changed(/qid=\d+/, 'qid=7')],
    ['another use of the tag at completion', / nvme_complete_rq: /, changed(/cmdid=\d/, 'cmdid=9')],
    ['another drive at setup', / nvme_setup_cmd: /, changed(/nvme0:/, 'nvme1:')],
  ] as const;

  it.each(cases)('%s', (_what, pattern, change) => {
    for (const recording of [strict, deep, passthrough]) {
      const result = mutate(recording, pattern, change);
      expect(result.agree).toBeLessThan(result.total);
      expect(result.firstDifference).not.toBeNull();
    }
  });

  it('every request lacks its block_rq_issue', () => {
    const all = fixture(...strict);
    const text = traceText('test', all.trace)
      .split('\n')
      .filter((line) => !line.startsWith('#') && !line.includes(' block_rq_issue: '))
      .join('\n');
    expect(conformRecording({ ...all, trace: Buffer.from(text) })).toMatchObject({ agree: 0, total: 150 });
  });

  it('while a command that took back its mapping and was tried again is only skipped', () => {
    const trace = new TestTrace()
      .setup(1)
      .alloc(0x100, 1)
      .map(0x100, 0x5000, 4096)
      .mapped(0x100, 0x5000, 4096)
      .unmap(0x100, 4096)
      .flushPage(0x100)
      .free(0x100, 1)
      .unmapped(0x100, 4096)
      .submitPage(0x1001, 0x100, 0x5000)
      .completePage(0x1001, 0x100);
    expect(conformRecording(files(trace.text()))).toMatchObject({ agree: 1, total: 1 });
  });

  it('and a recording in which nothing can be compared is bad input', () => {
    const trace = new TestTrace().completePage(7, 0x500).submitPage(1, 0x100, 0x5000);
    expect(() => conformRecording(files(trace.text()))).toThrow(/no request in it can be compared/);
  });
});

describe('direction and size are what the block layer asked for, not what the driver did', () => {
  const recordings = [
    ['6.12-strict', 'pio-unal512', 150],
    ['7.3-strict', 'pio-unal512', 150],
    ['6.12-pt', 'pio-scat32', 150],
    ['7.3-lazy', 'w64k-rand-qd16-frag', 400],
  ] as const;

  function replaced(folder: string, name: string, change: (text: string) => string): FileResult {
    const all = fixture(folder, name);
    return conformRecording({ ...all, trace: Buffer.from(change(traceText(name, all.trace))) });
  }

  it.each(recordings)('%s/%s with opcodes or sizes changed', (folder, name, total) => {
    const flipped = replaced(folder, name, (text) =>
      text.replace(/nvme_cmd_(read|write)/g, (_all, which) => (which === 'read' ? 'nvme_cmd_write' : 'nvme_cmd_read')),
    );
    expect(flipped).toMatchObject({ agree: 0, total });
    expect(flipped.firstDifference?.recorded).toMatch(/ dir=(TO|FROM)_DEVICE /);
    const resized = replaced(folder, name, (text) => text.replace(/(block_rq_issue: \S+ \S+) \d+/g, '$1 1536'));
    expect(resized).toMatchObject({ agree: 0, total });
    expect(resized.firstDifference?.emulated).toBe('1536 bytes mapped');
  });
});
