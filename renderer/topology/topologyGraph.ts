/**
 * The topology as a graph: sockets are boxes that hold their memory, IOMMU and root ports; switches and devices stand outside, at
 * the end of their link. Edges follow the way of a DMA access: memory, IOMMU, root port, switches, device. Pure: ELK lays it out, and Vue Flow
 * shows it. Nodes have a fixed size, because ELK can only lay out what it knows the size of.
 */
import { isDevice } from '../../engine/lab/deviceFunctions.ts';
import type { Part } from '../../engine/lab/schema.ts';

export const NODE_WIDTH = 170;
export const NODE_HEIGHT = 66;
const SOCKET_HEADER = 34;

export interface GraphNode {
  readonly id: string;
  readonly part: Part;
  readonly socketId: string | null;
}

export interface GraphEdge {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  /** A link is drawn stronger than the inside of a socket. */
  readonly kind: 'inside' | 'link';
}

export interface TopologyGraph {
  readonly sockets: readonly Part[];
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

export interface ElkShape {
  id: string;
  x?: number;
  y?: number;
  width?: number;
  height?: number;
  layoutOptions?: Record<string, string>;
  children?: ElkShape[];
  edges?: { id: string; sources: string[]; targets: string[] }[];
}

export interface Placement {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function parentOf(part: Part): string | null {
  return part.kind === 'socket' ? null : part.parent;
}

export function topologyGraph(parts: readonly Part[]): TopologyGraph {
  const byId = new Map(parts.map((part) => [part.id, part]));
  const sockets = parts.filter((part) => part.kind === 'socket');
  const nodes = parts
    .filter((part) => part.kind !== 'socket')
    .map((part): GraphNode => {
      const parent = byId.get(parentOf(part) ?? '');
      return { id: part.id, part, socketId: parent?.kind === 'socket' ? parent.id : null };
    });
  const edges: GraphEdge[] = [];
  const join = (source: string, target: string, kind: GraphEdge['kind']): void => {
    edges.push({ id: `${source}-${target}`, source, target, kind });
  };
  for (const socket of sockets) {
    const inside = (kind: Part['kind']): GraphNode[] =>
      nodes.filter((node) => node.socketId === socket.id && node.part.kind === kind);
    const memories = inside('memory');
    const iommus = inside('iommu');
    const ports = inside('rootPort');
    // Without an IOMMU a bus address is a physical address, and the port reaches memory directly.
    const nextToPorts = iommus.length > 0 ? iommus : memories;
    for (const memory of memories) for (const iommu of iommus) join(memory.id, iommu.id, 'inside');
    for (const port of ports) for (const next of nextToPorts) join(next.id, port.id, 'inside');
  }
  for (const { part } of nodes) {
    if ((isDevice(part) || part.kind === 'switch') && byId.has(part.parent)) join(part.parent, part.id, 'link');
  }
  return { sockets, nodes, edges };
}

/** The graph as ELK wants it: layered from left to right, across the border of the boxes. */
export function elkGraph(graph: TopologyGraph): ElkShape {
  const shape = (node: GraphNode): ElkShape => ({ id: node.id, width: NODE_WIDTH, height: NODE_HEIGHT });
  const spacing = { 'elk.spacing.nodeNode': '18', 'elk.layered.spacing.nodeNodeBetweenLayers': '30' };
  return {
    id: 'root',
    layoutOptions: {
      'elk.algorithm': 'layered',
      'elk.direction': 'RIGHT',
      'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
      'elk.padding': '[top=8,left=8,bottom=8,right=8]',
      ...spacing,
    },
    children: [
      ...graph.sockets.map((socket) => ({
        id: socket.id,
        layoutOptions: { 'elk.padding': `[top=${SOCKET_HEADER + 10},left=16,bottom=16,right=16]`, ...spacing },
        children: graph.nodes.filter((node) => node.socketId === socket.id).map(shape),
      })),
      ...graph.nodes.filter((node) => node.socketId === null).map(shape),
    ],
    edges: graph.edges.map(({ id, source, target }) => ({ id, sources: [source], targets: [target] })),
  };
}

/** Places of all shapes, those inside a box relative to the box, as both ELK and Vue Flow count. */
export function placements(laidOut: ElkShape): Map<string, Placement> {
  const found = new Map<string, Placement>();
  for (const shape of laidOut.children ?? []) {
    const { id, x = 0, y = 0, width = NODE_WIDTH, height = NODE_HEIGHT } = shape;
    found.set(id, { x, y, width, height });
    for (const [inner, place] of placements(shape)) found.set(inner, place);
  }
  return found;
}
