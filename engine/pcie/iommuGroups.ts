/**
 * IOMMU groups: the smallest sets of functions that access control keeps apart (Linux drivers/iommu/iommu.c `pci_device_group`,
 * `get_pci_function_alias_group`; drivers/pci/pci.c `pci_acs_enabled`, `pci_acs_path_enabled`). A function is apart from its neighbours
 * when every port on its way up isolates, that is, has source validation, request and completion redirect and upstream forwarding
 * switched on; functions of one device are apart from each other only when each of them isolates as well.
 * Leaves out: aliases of bridges to conventional PCI and of devices with quirks, and quirks that stand in for missing ACS.
 */
import {
  ACS_COMPLETION_REDIRECT,
  ACS_REQUEST_REDIRECT,
  ACS_SOURCE_VALIDATION,
  ACS_UPSTREAM_FORWARDING,
  isSameDevice,
  type PortNode,
} from './portTree.ts';

/** `REQ_ACS_FLAGS`. */
const ISOLATING = ACS_SOURCE_VALIDATION | ACS_REQUEST_REDIRECT | ACS_COMPLETION_REDIRECT | ACS_UPSTREAM_FORWARDING;

/** A number for each function, in the order in which they are found: the same number, the same group. */
export function iommuGroups(functions: readonly PortNode[]): Map<PortNode, number> {
  const groups = new Map<PortNode, number>();
  let next = 0;
  for (const node of functions) {
    const found = existingGroup(node, functions, groups);
    groups.set(node, found ?? next);
    if (found === undefined) next += 1;
  }
  return groups;
}

/** `pci_device_group`: the group of the highest port from which on something does not isolate, or of a function of the same device. */
function existingGroup(
  node: PortNode,
  functions: readonly PortNode[],
  groups: ReadonlyMap<PortNode, number>,
): number | undefined {
  let highest = node;
  for (let port = node.upstream; port !== null; port = port.upstream) {
    if (isolatesUpward(port, functions)) break;
    highest = port;
    const group = groups.get(port);
    if (group !== undefined) return group;
  }
  if (isolates(highest, functions)) return undefined;
  const alike = functions.filter((other) => other !== highest && isSameDevice(other, highest));
  for (const other of alike) {
    const group = isolates(other, functions) ? undefined : groups.get(other);
    if (group !== undefined) return group;
  }
  return undefined;
}

/** `pci_acs_path_enabled` from a port to the root. */
function isolatesUpward(port: PortNode, functions: readonly PortNode[]): boolean {
  for (let at: PortNode | null = port; at !== null; at = at.upstream) if (!isolates(at, functions)) return false;
  return true;
}

/**
 * `pci_acs_enabled`: ports by their bits; a device of a single function has nobody to be kept apart from. Virtual functions do not count
 * as functions of a device of several (drivers/pci/iov.c `pci_iov_scan_device`), and are never taken to reach each other.
 */
function isolates(node: PortNode, functions: readonly PortNode[]): boolean {
  if (node.physicalFunction !== null) return true;
  const port = node.kind === 'root_port' || node.kind === 'switch_downstream';
  const beside = (other: PortNode): boolean =>
    other !== node && other.physicalFunction === null && isSameDevice(other, node);
  if (!port && !functions.some(beside)) return true;
  return (node.acs & ISOLATING) === ISOLATING;
}
