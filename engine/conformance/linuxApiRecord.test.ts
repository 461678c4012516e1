/** Lines of recordings of DMA API calls: what is read, and what is refused with file and line. */
import { describe, expect, it } from 'vitest';
import { parseRecord, parseRecords } from './linuxApiRecord.ts';

function refusal(text: string): string {
  try {
    parseRecords('f.jsonl', text);
  } catch (error) {
    return error instanceof Error ? error.message : 'something odd';
  }
  return 'nothing was refused';
}

describe('a record', () => {
  it('is a command with its options, the fields that were printed, and events with their stars', () => {
    const text =
      '{"i":3,"cmd":"map m0 phys=A[0]+0x10 size=64","dma":"0x1010","ev":[["map","0x1000","0x9000",4096],["fq_timer*"]]}';
    expect(parseRecord('f', 1, text)).toEqual({
      line: 1,
      index: 3,
      command: 'map m0 phys=A[0]+0x10 size=64',
      word: 'map',
      names: ['m0'],
      options: new Map([
        ['phys', 'A[0]+0x10'],
        ['size', '64'],
      ]),
      fields: { dma: '0x1010' },
      events: [
        { name: 'map', starred: false, values: ['0x1000', '0x9000', 4096] },
        { name: 'fq_timer', starred: true, values: [] },
      ],
    });
  });

  it('without events says so, which is not the same as no event', () => {
    expect(parseRecord('f', 1, '{"i":0,"cmd":"walk m"}').events).toBeNull();
    expect(parseRecord('f', 1, '{"i":0,"cmd":"delay 1","ev":[]}').events).toEqual([]);
  });

  it('keeps integers beyond 2^53 exact, and leaves text alone that only looks like one', () => {
    const { fields } = parseRecord(
      'f',
      1,
      '{"i":0,"cmd":"env","a":18446744073709551615,"b":"1111111111111111111","c":[9007199254740991]}',
    );
    expect(fields).toEqual({ a: 18446744073709551615n, b: '1111111111111111111', c: [9007199254740991] });
  });

  it('tells two large integers apart that are the same double', () => {
    const large = (digits: string): unknown => parseRecord('f', 1, `{"i":0,"cmd":"env","a":${digits}}`).fields['a'];
    expect(large('18446744073709551615')).not.toEqual(large('18446744073709551614'));
  });
});

describe('what is no record', () => {
  it.each([
    ['an empty file', '', /^f\.jsonl: there is no record in it/],
    ['a line cut off', '{"i":0,"cmd":"env"}\n{"i":1,"cmd":"ma', /^f\.jsonl:2: this is not JSON .*cut off or damaged/],
    ['another value', '[1]', /^f\.jsonl:1: this is not a JSON object/],
    ['a record without number', '{"cmd":"env"}', /^f\.jsonl:1: its number "i" is missing/],
    ['a record without command', '{"i":0}', /^f\.jsonl:1: its command "cmd" is missing/],
    ['an empty command', '{"i":0,"cmd":" "}', /its command "cmd" is empty/],
    ['events that are no list', '{"i":0,"cmd":"env","ev":{}}', /"ev" is not a list/],
    ['an event without name', '{"i":0,"cmd":"env","ev":[[1]]}', /begins with its name/],
    ['deep nesting', `{"i":0,"cmd":"env","a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /^f\.jsonl:1: /],
    ['a million values', `{"i":0,"cmd":"env","a":[${'1,'.repeat(1_000_000)}1]}`, /holds more than 400000 values/],
    ['a line without end', `{"i":0,"cmd":"${'x'.repeat(9_000_000)}"}`, /^f\.jsonl:1: the line has 90/],
  ])('%s', (_what, text, message) => {
    expect(refusal(text)).toMatch(message);
  });
});
