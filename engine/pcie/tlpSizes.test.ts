/** Cutting of requests and completions (PCI Express Base Specification 2.2.2, 2.2.7, 2.3.1.1), against a cut byte by byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dmaAddr } from '../memory/addresses.ts';
import { PhysicalMemory } from '../memory/physicalMemory.ts';
import { Counters } from '../metrics/counters.ts';
import { EventQueue } from '../time/eventQueue.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import { Fabric } from './fabric.ts';
import { TlpSizes } from './tlpSizes.ts';

const HEADER_OF_REQUEST = 24;
const HEADER_OF_COMPLETION = 20;
const PAGE = 4096;

interface Cut {
  readonly payload: number;
  readonly request: number;
  readonly completion: number;
  readonly boundary: number;
}

/** Byte by byte: where a TLP of a write or a read request begins, at most so long and never across 4 KiB. */
function naiveRequests(start: number, bytes: number, most: number): number[] {
  const lengths: number[] = [];
  let length = 0;
  for (let at = start; at < start + bytes; at += 1) {
    if (length === most || (at % PAGE === 0 && length > 0)) {
      lengths.push(length);
      length = 0;
    }
    length += 1;
  }
  return [...lengths, length];
}

/** Of one read request, byte by byte: a completion ends at the last boundary that a full payload reaches, or with the request. */
function naiveCompletions(start: number, bytes: number, { payload, completion, boundary }: Cut): number[] {
  const most = Math.min(payload, completion);
  const lengths: number[] = [];
  let from = start;
  while (from < start + bytes) {
    let to = from;
    for (let end = from + 1; end <= from + most; end += 1) if (end % boundary === 0) to = end;
    to = Math.min(to, start + bytes);
    lengths.push(to - from);
    from = to;
  }
  return lengths;
}

const cuts: fc.Arbitrary<Cut> = fc.record({
  payload: fc.constantFrom(128, 256, 512, 1024, 2048, 4096),
  request: fc.constantFrom(128, 256, 512, 1024, 2048, 4096),
  completion: fc.constantFrom(128, 256, 4096),
  boundary: fc.constantFrom(64, 128),
});

function sizes(cut: Cut): TlpSizes {
  return new TlpSizes({
    maxPayloadSize: cut.payload,
    maxReadRequestSize: cut.request,
    completionBytes: cut.completion,
    readCompletionBoundary: cut.boundary,
  });
}

describe('within a page', () => {
  test('completions are as long as MPS and the read completion boundary allow (2.3.1.1)', () => {
    const part = fc
      .nat(PAGE - 1)
      .chain((start) => fc.tuple(fc.constant(start), fc.integer({ min: 1, max: PAGE - start })));
    fc.assert(
      fc.property(cuts, part, (cut, [start, bytes]) => {
        let at = start;
        let completions = 0;
        for (const length of naiveRequests(start, bytes, cut.request)) {
          completions += naiveCompletions(at, length, cut).length;
          at += length;
        }
        expect(sizes(cut).completionTlps(start, bytes)).toBe(completions);
      }),
      { seed: 23, numRuns: 400 },
    );
  });

  test.each([
    [0, 4096, 16],
    [0x20, 256, 2],
    [0x20, 4064, 16],
    [0x3f, 2, 1],
  ])('a read from offset %i of %i bytes gets %i completions of at most 256, cut at 64', (start, bytes, completions) => {
    const cut = { payload: 256, request: 4096, completion: 4096, boundary: 64 };
    expect(naiveCompletions(start, bytes, cut)).toHaveLength(completions);
    expect(sizes(cut).completionTlps(start, bytes)).toBe(completions);
  });
});

describe('on the wire', () => {
  const request = fc.record({
    write: fc.boolean(),
    start: fc.nat(5 * PAGE),
    bytes: fc.integer({ min: 1, max: 3 * PAGE }),
  });

  test('a request of a function takes as many TLPs and bytes as its cut says, headers included', () => {
    fc.assert(
      fc.property(cuts, request, fc.boolean(), (cut, { write, start, bytes }, belowSwitch) => {
        const events = new EventQueue();
        const counters = new Counters();
        const none = nanoseconds(0);
        const costs = { rootComplex: none, memoryRead: none, mmioWrite: none };
        const memory = new PhysicalMemory(2 ** 16);
        const link = {
          generation: 3,
          lanes: 8,
          maxPayloadSize: cut.payload,
          maxReadRequestSize: cut.request,
          completionBytes: cut.completion,
          readCompletionBoundary: cut.boundary,
          propagation: none,
        };
        const root = new Fabric({ events, memory, translator: null, costs, counters }).addRootPort(link);
        const port = belowSwitch ? root.addSwitch().addDownstreamPort(link) : root;
        const device = port.addFunction(0x100);
        const nobody = { handleEvent: () => undefined };
        const data = new Uint8Array(bytes);
        if (write) device.write(dmaAddr(start), bytes, data, 0, nobody, 0, 0);
        else device.read(dmaAddr(start), bytes, data, 0, nobody, 0, 0);
        while (events.step());
        const requests = naiveRequests(start, bytes, write ? cut.payload : cut.request);
        const completions: number[] = [];
        let at = start;
        for (const length of requests) {
          if (!write) completions.push(...naiveCompletions(at, length, cut));
          at += length;
        }
        const sum = (lengths: readonly number[]): number => lengths.reduce((total, length) => total + length, 0);
        expect(counters.get('tlps')).toBe(requests.length + completions.length);
        expect(counters.get('linkBytesUpstream')).toBe(
          requests.length * HEADER_OF_REQUEST + (write ? sum(requests) : 0),
        );
        expect(counters.get('linkBytesDownstream')).toBe(completions.length * HEADER_OF_COMPLETION + sum(completions));
      }),
      { seed: 23, numRuns: 150 },
    );
  });
});
