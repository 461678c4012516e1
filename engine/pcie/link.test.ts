import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nanoseconds } from '../time/picoseconds.ts';
import { Link } from './link.ts';

function link(maxPayloadSize: number, maxReadRequestSize: number): Link {
  return new Link({ generation: 3, lanes: 8, maxPayloadSize, maxReadRequestSize, propagation: nanoseconds(120) });
}

/** Byte by byte: a request takes up to MRRS bytes, a completion runs to the last boundary of 64 that MPS reaches. */
function naiveCompletions(start: number, bytes: number, maxPayloadSize: number, maxReadRequestSize: number): number {
  let completions = 0;
  for (let request = start; request < start + bytes; request += maxReadRequestSize) {
    const end = Math.min(request + maxReadRequestSize, start + bytes);
    let from = request;
    while (from < end) {
      const reach = from + maxPayloadSize;
      from = Math.min(end, reach - (reach % 64));
      completions += 1;
    }
  }
  return completions;
}

test('completions are as long as MPS and the read completion boundary allow (PCIe 2.3.1.1), against a naive cut', () => {
  const size = fc.constantFrom(128, 256, 512, 1024, 4096);
  fc.assert(
    fc.property(size, size, fc.nat(4095), fc.integer({ min: 1, max: 4096 }), (payload, request, start, bytes) => {
      expect(link(payload, request).completionTlps(start, bytes)).toBe(
        naiveCompletions(start, bytes, payload, request),
      );
    }),
  );
});

test('a direction carries one thing after the other, whatever the order of asking in time', () => {
  const { upstream } = link(256, 512);
  const first = upstream.reserve(280, 0);
  expect(first).toBe(upstream.duration(280));
  expect(upstream.reserve(280, 10)).toBe(2 * first);
  expect(upstream.reserve(280, 10 * first)).toBe(11 * first);
});

test('an x8 link of generation 3 carries 7.88 GB/s (pcie-bench: 7.88 Gb/s a lane)', () => {
  const { upstream } = link(256, 512);
  expect(1e12 / (upstream.duration(1e6) / 1e6)).toBeCloseTo(7.88e9, -7);
});

test('an unknown generation is refused', () => {
  const options = { lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };
  expect(() => new Link({ ...options, generation: 7 })).toThrow('no PCIe generation 7');
});
