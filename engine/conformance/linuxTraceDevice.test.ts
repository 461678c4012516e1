import { describe, expect, it } from 'vitest';
import { traceText } from '../lab/recordingFiles.ts';
import { RandomStream } from '../time/random.ts';
import { conformRecording } from './linuxTrace.ts';
import type { FileResult } from './report.ts';
import { fixture, linesOf } from './testRecordings.ts';

const STRICT = ['device-6.12-strict-q1', 'r4k-rand-qd16'] as const;
const LAZY_WRITES = ['device-7.3-lazy-q2', 'w64k-rand-qd16-frag'] as const;
const LAZY_READS = ['device-7.3-lazy-q2', 'r128k-seq-qd1-frag'] as const;
const ALL: readonly (readonly [string, string])[] = [STRICT, LAZY_WRITES, LAZY_READS];

function logOf(folder: string, name: string): string[] {
  const { deviceLog } = fixture(folder, name);
  if (deviceLog === undefined) throw new Error(`${folder} has no device log`);
  return traceText('device.log', deviceLog)
    .split('\n')
    .filter((line) => line !== '');
}

function conform(folder: string, name: string, log: readonly string[], trace?: readonly string[]): FileResult {
  const files = fixture(folder, name);
  return conformRecording({
    ...files,
    deviceLog: Buffer.from(log.join('\n')),
    trace: trace === undefined ? files.trace : Buffer.from(trace.join('\n')),
  });
}

/** The `ordinal`th line like that after the first command of the trace. */
function lineLike(log: readonly string[], pattern: RegExp, ordinal: number): number {
  let left = ordinal;
  const begin = log.findIndex((line) => line.startsWith('pci_nvme_io_cmd'));
  for (let index = begin + 100; index < log.length; index += 1) {
    if (!pattern.test(log[index] ?? '')) continue;
    if (left === 0) return index;
    left -= 1;
  }
  throw new Error(`no line like ${pattern}`);
}

describe('the device log beside a trace', () => {
  it('makes the device’s side of every request count', () => {
    expect(conformRecording(fixture(...STRICT))).toMatchObject({ agree: 400, total: 400, skipped: [] });
    expect(conformRecording(fixture(...LAZY_WRITES))).toMatchObject({ agree: 80, total: 80, skipped: [] });
    expect(conformRecording(fixture(...LAZY_READS))).toMatchObject({ agree: 60, total: 60, skipped: [] });
  });

  type Change = (log: string[], at: number) => void;
  const drop: Change = (log, at) => log.splice(at, 1);
  const repeat: Change = (log, at) => log.splice(at, 0, log[at] ?? '');
  const swap: Change = (log, at) => {
    [log[at], log[at + 1]] = [log[at + 1] ?? '', log[at] ?? ''];
  };
  const replace =
    (pattern: RegExp, by: string): Change =>
    (log, at) => {
      const line = log[at] ?? '';
      expect(line).toMatch(pattern);
      log[at] = line.replace(pattern, by);
    };

  it.each<readonly [string, readonly [string, string], RegExp, Change, RegExp, RegExp]>([
    [
      'a fill where the entry was cached',
      STRICT,
      /page_hit .* iova 0xffffd008/,
      replace(/page_hit IOTLB page hit/, 'page_update IOTLB page update'),
      /^IOTLB fill shadow doorbell of submission queue 1/,
      /^IOTLB hit shadow doorbell of submission queue 1/,
    ],
    [
      'a hit where a descriptor had dropped the entry',
      LAZY_READS,
      /page_update .* iova 0xfffa1000/,
      replace(/page_update IOTLB page update/, 'page_hit IOTLB page hit'),
      /^IOTLB hit range 0\+0x1000/,
      /^IOTLB fill range 0\+0x1000/,
    ],
    [
      'another page behind the data',
      STRICT,
      /page_update .* iova 0xfffdf000/,
      replace(/slpte 0x1(\w+)/, 'slpte 0x2$1'),
      /^IOTLB fill range 0\+0x0 entry 0x2/,
      /^IOTLB fill range 0\+0x0 entry 0x1/,
    ],
    [
      'another permission',
      LAZY_READS,
      /page_update .* iova 0xfffa1000/,
      replace(/(\w)2 domain/, '$13 domain'),
      /entry 0x\w+3 mask/,
      /entry 0x\w+2 mask/,
    ],
    ['no translation', STRICT, /vtd_dmar_translate/, drop, /without its translation/, /^IOTLB/],
    [
      'another queue entry',
      STRICT,
      /page_hit .* iova 0xfffe0\w40 /,
      replace(/40 slpte/, '80 slpte'),
      /submission queue 1 entry/,
      /submission queue 1 entry/,
    ],
    ['another PRP1', STRICT, /map_prp/, replace(/prp1 0x\w+/, 'prp1 0xabc000'), /prp1 0xabc000/, /prp1 range 0\+0x0/],
    ['another SGL', LAZY_READS, /map_sgl/, replace(/type 0x0/, 'type 0x2'), /map_sgl type 0x2/, /map_sgl type 0x0/],
    [
      'another length of data',
      LAZY_READS,
      /map_addr .* len 131072/,
      replace(/len 131072/, 'len 65536'),
      /map_addr range 0\+0x0 len 65536/,
      /map_addr range 0\+0x0 len 131072/,
    ],
    [
      'another block of the medium',
      STRICT,
      /pci_nvme_read/,
      replace(/lba 0x/, 'lba 0x1'),
      /read lba 0x1/,
      /read lba 0x/,
    ],
    [
      'a page looked up twice',
      STRICT,
      /page_update .* iova 0xfffdf000/,
      repeat,
      /without its translation/,
      /^IOTLB fill/,
    ],
    ['lookups in another order', LAZY_READS, /vtd_dmar_translate/, swap, /without its translation/, /^IOTLB/],
    ['a command that is not there', STRICT, /pci_nvme_io_cmd/, drop, /nothing more/, /the drive fetches the command/],
    [
      'a descriptor that is not there',
      STRICT,
      /inv_desc_iotlb_pages/,
      drop,
      /nothing more/,
      /iotlb invalidate page addr range 0\+0x0 mask 0/,
    ],
    [
      'a descriptor for more pages',
      STRICT,
      /inv_desc_iotlb_pages/,
      replace(/mask 0x0/, 'mask 0x1'),
      /nothing more/,
      /iotlb invalidate page addr range 0\+0x0 mask 0/,
    ],
    [
      'a descriptor of another domain',
      LAZY_READS,
      /inv_desc_iotlb_pages/,
      replace(/domain 0x3/, 'domain 0x4'),
      /nothing more/,
      /iotlb invalidate page/,
    ],
    [
      'a descriptor too many',
      LAZY_READS,
      /inv_desc_iotlb_pages/,
      repeat,
      /which the trace lacks|nothing more/,
      /nothing more|wait/,
    ],
    ['no wait behind a descriptor', LAZY_READS, /inv_desc_wait_sw/, drop, /nothing more/, /wait descriptor/],
    ['a wait too many', STRICT, /inv_desc_wait_sw/, repeat, /wait descriptor writes to/, /nothing more/],
    [
      'a transfer that never ends',
      LAZY_READS,
      /rw_complete_cb/,
      drop,
      /IOTLB hit event index/,
      /the transfer completes/,
    ],
    ['a doorbell with another tail', LAZY_READS, /doorbell_sq sqid 1/, replace(/tail (\d+)/, 'tail 9$1'), /./, /./],
    ['a drive that was not rung', LAZY_READS, /doorbell_sq sqid 1/, drop, /without having been rung/, /nothing more/],
  ])('disagrees about %s', (_what, [folder, name], pattern, change, recorded, emulated) => {
    const log = logOf(folder, name);
    change(log, lineLike(log, pattern, 5));
    const result = conform(folder, name, log);
    expect(result.agree).toBeLessThan(result.total);
    expect(result.total).toBe(conformRecording(fixture(folder, name)).total);
    expect(result.firstDifference?.unit).toMatch(/of its device\.log$/);
    expect(result.firstDifference?.recorded ?? 'nothing more').toMatch(recorded);
    expect(result.firstDifference?.emulated ?? 'nothing more').toMatch(emulated);
  });

  it('disagrees when descriptors change places', () => {
    const log = logOf(...STRICT);
    const found = log.findIndex(
      (line, index) =>
        line.startsWith('vtd_inv_desc_iotlb_pages') &&
        log[index + 2]?.startsWith('vtd_inv_desc_iotlb_pages') === true &&
        line !== log[index + 2],
    );
    [log[found], log[found + 2]] = [log[found + 2] ?? '', log[found] ?? ''];
    const result = conform(...STRICT, log);
    expect(result.agree).toBeLessThan(400);
  });

  it('agrees with every stretch of its trace', () => {
    const random = new RandomStream(5);
    for (const recording of ALL) {
      const log = logOf(...recording);
      const trace = linesOf(...recording);
      for (let round = 0; round < 3; round += 1) {
        const from = random.below(Math.floor(trace.length / 2));
        const to = from + 400 + random.below(trace.length - from - 400);
        const stretch = trace.slice(from, to);
        const result = conform(...recording, log, stretch);
        expect(result.firstDifference).toBeNull();
        expect(result.agree).toBe(result.total);
      }
    }
  });

  it('leaves out, with a reason, what it is too short for', () => {
    const log = logOf(...STRICT);
    const result = conform(...STRICT, log.slice(0, 5000));
    expect(result.firstDifference).toBeNull();
    const cut = result.skipped.find(({ reason }) => reason === 'the device log ends before the request does');
    expect(result.total + (cut?.count ?? 0)).toBe(400);
    expect(result.agree).toBe(result.total);
    expect(result.total).toBeGreaterThan(100);
  });

  it('may begin late: what the IOTLB held then shows in its hits', () => {
    const log = logOf(...STRICT);
    expect(conform(...STRICT, log.slice(250))).toMatchObject({ agree: 400, total: 400 });
  });

  it('of another boot is refused', () => {
    const { deviceLog } = fixture(...STRICT);
    expect(deviceLog).toBeDefined();
    const log = logOf(...STRICT);
    expect(() => conform(...LAZY_READS, log)).toThrow(/no request of the trace is in this device log/);
  });
});
