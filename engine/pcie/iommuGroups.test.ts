/**
 * IOMMU groups of random fabrics with arbitrary access control and virtual functions, against the parts into which a plain graph falls:
 * one edge for each reason of Linux 6.12 why two functions are not kept apart (drivers/iommu/iommu.c `pci_device_group`,
 * drivers/pci/pci.c `pci_acs_enabled`; PCI Express Base Specification 6.12.1, drivers/pci/iov.c `pci_iov_add_virtfn`).
 */
import { expect, test } from 'vitest';
import { RandomStream } from '../time/random.ts';
import { iommuGroups } from './iommuGroups.ts';
import type { PortNode } from './portTree.ts';
import { randomFabric } from './testFabrics.ts';

/** Source validation, request redirect, completion redirect, upstream forwarding. */
const SV_RR_CR_UF = 0b1_1101;

type Devices = ReadonlyMap<PortNode, number>;

/** The functions that software finds at the same device number of the same bus. */
function inSlot(node: PortNode, all: readonly PortNode[], devices: Devices): PortNode[] {
  return all.filter((other) => other.physicalFunction === null && devices.get(other) === devices.get(node));
}

/** Whether nothing passes from a function to another beside it. */
function keepsApart(node: PortNode, all: readonly PortNode[], devices: Devices): boolean {
  if ((node.acs & SV_RR_CR_UF) === SV_RR_CR_UF) return true;
  if (node.kind === 'root_port' || node.kind === 'switch_downstream') return false;
  // nobody is beside the only function of a device, nor, as Linux has it, beside a virtual one
  return node.physicalFunction !== null || inSlot(node, all, devices).length === 1;
}

function portsAbove(node: PortNode): PortNode[] {
  return node.upstream === null ? [] : [node.upstream, ...portsAbove(node.upstream)];
}

/** Each function with all that can be reached from it over edges, as the lowest place of one of them. */
function partsOfGraph(all: readonly PortNode[], devices: Devices): number[] {
  const part = all.map((_, index) => index);
  const join = (one: PortNode, other: PortNode): void => {
    const [left, right] = [part[all.indexOf(one)]!, part[all.indexOf(other)]!];
    for (let at = 0; at < part.length; at += 1)
      if (part[at] === Math.max(left, right)) part[at] = Math.min(left, right);
  };
  for (const node of all) {
    const above = portsAbove(node);
    if (above.some((port) => !keepsApart(port, all, devices))) join(node, above[0]!);
    if (keepsApart(node, all, devices)) continue;
    for (const other of inSlot(node, all, devices)) if (!keepsApart(other, all, devices)) join(node, other);
  }
  return part;
}

test('are the parts of the graph of all that is not kept apart', () => {
  const random = new RandomStream(29).fork('groups of all kinds');
  const seen = {
    alone: 0,
    virtualAlone: 0,
    virtualJoined: 0,
    withoutAri: 0,
    furtherBus: 0,
    split: 0,
    acrossBridge: 0,
    inSlot: 0,
  };
  for (let draw = 0; draw < 600; draw += 1) {
    const { tree, devices } = randomFabric(random, { virtualFunctions: true, mixedDevices: true });
    // most ports isolate, so that fabrics fall into several groups of several functions
    for (const node of tree.functions) if (random.below(10) < 7) node.acs |= SV_RR_CR_UF;
    const all = tree.functions;
    const found = iommuGroups(all);
    const parts = partsOfGraph(all, devices);
    const groups = all.map((node) => found.get(node)!);
    expect(groups.map((group) => groups.indexOf(group))).toEqual(parts);
    for (const [at, node] of all.entries()) {
      const size = parts.filter((part) => part === parts[at]).length;
      if (size === 1) seen.alone += 1;
      if (node.kind === 'switch_upstream' && size > 1 && inSlot(node, all, devices).length > 1) seen.acrossBridge += 1;
      const { physicalFunction } = node;
      if (physicalFunction === null) {
        const mates = inSlot(node, all, devices).filter((mate) => parts[all.indexOf(mate)] === parts[at]);
        if (mates.length > 1 && portsAbove(node).every((port) => keepsApart(port, all, devices))) seen.inSlot += 1;
        continue;
      }
      seen[size === 1 ? 'virtualAlone' : 'virtualJoined'] += 1;
      if (node.sourceId >>> 8 !== physicalFunction.sourceId >>> 8) seen.furtherBus += 1;
      else if ((node.sourceId & 0xff) < 8) seen.withoutAri += 1;
    }
    const numbers = new Set(parts);
    if (numbers.size > 1 && numbers.size < all.length) seen.split += 1;
  }
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(100);
});
