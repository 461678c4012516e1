import { expect, test } from 'vitest';
import { nanoseconds } from '../time/picoseconds.ts';
import { Link } from './link.ts';

function link(): Link {
  return new Link({
    generation: 3,
    lanes: 8,
    maxPayloadSize: 256,
    maxReadRequestSize: 512,
    propagation: nanoseconds(120),
  });
}

test('a direction carries one thing after the other, whatever the order of asking in time', () => {
  const { upstream } = link();
  const first = upstream.reserve(280, 0);
  expect(first).toBe(upstream.duration(280));
  expect(upstream.reserve(280, 10)).toBe(2 * first);
  expect(upstream.reserve(280, 10 * first)).toBe(11 * first);
});

test('an x8 link of generation 3 carries 7.88 GB/s (pcie-bench: 7.88 Gb/s a lane)', () => {
  const { upstream } = link();
  expect(1e12 / (upstream.duration(1e6) / 1e6)).toBeCloseTo(7.88e9, -7);
});

test('an unknown generation is refused', () => {
  const options = { lanes: 8, maxPayloadSize: 256, maxReadRequestSize: 512, propagation: nanoseconds(120) };
  expect(() => new Link({ ...options, generation: 7 })).toThrow('no PCIe generation 7');
});
