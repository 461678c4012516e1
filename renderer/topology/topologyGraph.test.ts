import ELK from 'elkjs/lib/elk.bundled.js';
import { describe, expect, it } from 'vitest';
import type { Part } from '../../engine/lab/schema.ts';
import { linkBytesPerSecond, nodeLines, partFacts, placeFacts } from './partFacts.ts';
import { elkGraph, NODE_HEIGHT, NODE_WIDTH, placements, topologyGraph } from './topologyGraph.ts';
import { sampleParts } from '../testing/sampleLab.ts';

describe('the graph of a topology', () => {
  it('follows a DMA access from memory to the device', () => {
    const { edges } = topologyGraph(sampleParts);
    expect(edges.map(({ id }) => id)).toEqual(['memory0-iommu0', 'iommu0-port0', 'port0-nvme0']);
    expect(edges.at(-1)?.kind).toBe('link');
  });

  it('joins the port to memory where there is no IOMMU', () => {
    const { edges } = topologyGraph(sampleParts.filter(({ kind }) => kind !== 'iommu'));
    expect(edges.map(({ id }) => id)).toContain('memory0-port0');
  });

  it('leads from a root port through switches to the drives below them', () => {
    const inner = { id: 'inner', kind: 'switch', parent: 'outer' };
    const { nodes, edges } = topologyGraph([
      ...sampleParts.filter(({ kind }) => kind !== 'nvme'),
      ...([{ id: 'outer', kind: 'switch', parent: 'port0' }, inner] as Part[]),
      ...['a', 'b'].map((id) => ({ ...sampleParts.at(-1)!, id, parent: 'inner' }) as Part),
    ]);
    const links = edges.filter(({ kind }) => kind === 'link').map(({ id }) => id);
    expect(links).toEqual(['port0-outer', 'outer-inner', 'inner-a', 'inner-b']);
    expect(nodes.find(({ id }) => id === 'inner')?.socketId).toBe(null);
  });

  it('is laid out without overlap, insides inside their socket', async () => {
    const second = sampleParts.map((part) => ({
      ...part,
      id: `${part.id}b`,
      ...('parent' in part ? { parent: `${part.parent}b` } : {}),
    })) as Part[];
    const graph = topologyGraph([...sampleParts, ...second]);
    const places = placements(await new ELK().layout(elkGraph(graph)));
    expect(places.size).toBe(graph.nodes.length + graph.sockets.length);
    for (const one of graph.nodes) {
      const place = places.get(one.id)!;
      expect(place.width).toBe(NODE_WIDTH);
      const socket = one.socketId === null ? null : places.get(one.socketId)!;
      if (socket) expect(place.x + NODE_WIDTH).toBeLessThanOrEqual(socket.width);
      for (const other of graph.nodes) {
        if (one === other || one.socketId !== other.socketId) continue;
        const against = places.get(other.id)!;
        const apart = Math.abs(place.x - against.x) >= NODE_WIDTH || Math.abs(place.y - against.y) >= NODE_HEIGHT;
        expect(apart).toBe(true);
      }
    }
  });
});

describe('the facts of a part', () => {
  it('carry their units', () => {
    const plain = (text: string): string => text.replaceAll('\u202f', ' ');
    const port = sampleParts.find(({ kind }) => kind === 'rootPort')!;
    expect(partFacts(port).map(({ value }) => plain(value))).toContain('7.88 GB/s');
    expect(plain(nodeLines(port)[0] ?? '')).toBe('PCIe 4 ×4, 7.88 GB/s');
  });

  it('say where Linux finds the part, and in which IOMMU group', () => {
    const texts = (id: string): string[] =>
      placeFacts(
        sampleParts.find((part) => part.id === id)!,
        sampleParts,
      ).map(({ value }) => value);
    expect(texts('port0')).toEqual(['0000:00:01.0']);
    expect(texts('nvme0')[0]).toBe('0000:01:00.0');
    expect(texts('nvme0')).toHaveLength(2);
    expect(texts('socket0')).toEqual([]);
  });

  it('name the access control of a port, or that there is none', () => {
    const port = sampleParts.find(({ kind }) => kind === 'rootPort')!;
    const control = (acs?: string[]): string =>
      partFacts({ ...port, ...(acs === undefined ? {} : { acs }) } as Part).find(({ key }) => key === 'acs')!.value;
    expect([control(), control([]), control(['requestRedirect', 'sourceValidation'])]).toEqual([
      'as Linux switches it on',
      'off',
      'request redirect, source validation',
    ]);
  });

  it('take line coding into account: PCIe Base Specification, 8b/10b before 8 GT/s', () => {
    expect(linkBytesPerSecond(1, 1)).toBe(250e6);
    expect(linkBytesPerSecond(3, 1)).toBeCloseTo(984.6e6, -5);
  });
});
