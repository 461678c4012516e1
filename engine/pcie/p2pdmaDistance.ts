/**
 * Whether and how one function reaches another's memory, and how far apart they are (Linux drivers/pci/p2pdma.c:
 * `calc_map_type_and_dist`, `host_bridge_whitelist`, `cpu_supports_p2pdma`, `pci_p2pdma_map_type`,
 * `pci_p2pdma_distance_many`). The answer is kept per provider and client, as the kernel does: ACS bits that change later
 * change nothing for a pair that has been asked about.
 * Leaves out: the proposal to decide by class of transaction instead of one redirect flag.
 */
import type { P2pdmaProvider } from '../memory/pageKinds.ts';
import type { P2pdmaMapType, P2pdmaTopology } from './p2pdma.ts';
import { redirectsPeers, type HostBridge, type PortNode, type PortTree } from './portTree.ts';

/** What decides whether every host bridge of the machine passes peer-to-peer traffic. */
export interface CpuIdentity {
  readonly vendor: 'amd' | 'intel' | 'other';
  /** Displayed family: 0x17 is Zen. */
  readonly family: number;
}

const INTEL = 0x8086;
const GOOGLE = 0x1ae0;
/** Host bridges of Intel that pass it between their own root ports only: Xeon E5 and E7 v3. */
const INTEL_ONE_BRIDGE: ReadonlySet<number> = new Set([0x3c00, 0x3c01, 0x2f00, 0x2f01]);
/** Host bridges of Intel that pass it among each other: Skylake-E and later. */
const INTEL_ANY_BRIDGE: ReadonlySet<number> = new Set([0x2030, 0x2031, 0x2032, 0x2033, 0x2020, 0x09a2]);
const FIRST_ZEN_FAMILY = 0x17;

export interface P2pdmaPath {
  readonly type: Exclude<P2pdmaMapType, 'none'>;
  /** Hops on both sides: 0 the same function, 2 neighbours below one port, 4 two ports of one switch. */
  readonly distance: number;
  /** What the kernel logs for the client, worst news last. */
  readonly messages: readonly string[];
}

export class P2pdmaDistances implements P2pdmaTopology {
  /** Times that a path was walked, not found in the cache. */
  calculations = 0;
  private readonly tree: PortTree;
  private readonly cpu: CpuIdentity;
  private readonly warn: ((message: string) => void) | null;
  /** For each provider the answers by client: `p2pdma->map_types`. */
  private readonly mapTypes = new Map<P2pdmaProvider, Map<number, P2pdmaMapType>>();

  /** `warn` receives the kernel's messages, each with the client's name in front. */
  constructor(tree: PortTree, cpu: CpuIdentity, warn: ((message: string) => void) | null = null) {
    this.tree = tree;
    this.cpu = cpu;
    this.warn = warn;
  }

  mapType(provider: P2pdmaProvider, clientSourceId: number): P2pdmaMapType {
    return this.mapTypes.get(provider)?.get(clientSourceId) ?? this.calculate(provider, clientSourceId, true).type;
  }

  /** `pci_p2pdma_distance_many`: the sum over all clients, or -1 when one of them cannot. */
  distance(provider: P2pdmaProvider, clientSourceIds: readonly number[], verbose = false): number {
    if (clientSourceIds.length === 0) return -1;
    let total = 0;
    let supported = true;
    for (const client of clientSourceIds) {
      const path = this.calculate(provider, client, verbose);
      if (path.type === 'not_supported') {
        supported = false;
        if (!verbose) break;
      }
      total += path.distance;
    }
    return supported ? total : -1;
  }

  private calculate(provider: P2pdmaProvider, clientSourceId: number, verbose: boolean): P2pdmaPath {
    this.calculations += 1;
    const owner = this.tree.find(provider.sourceId);
    const client = this.tree.find(clientSourceId);
    if (owner === null || client === null) return { type: 'not_supported', distance: -1, messages: [] };
    const path = calculateP2pdmaPath(owner, client, this.cpu);
    if (verbose && this.warn !== null) for (const message of path.messages) this.warn(`${client.name}: ${message}`);
    let types = this.mapTypes.get(provider);
    if (types === undefined) {
      types = new Map();
      this.mapTypes.set(provider, types);
    }
    types.set(clientSourceId, path.type);
    return path;
  }
}

/** `calc_map_type_and_dist`. */
export function calculateP2pdmaPath(provider: PortNode, client: PortNode, cpu: CpuIdentity): P2pdmaPath {
  const redirecting: PortNode[] = [];
  let distanceOfProvider = 0;
  let distanceOfClient = 0;
  let common: PortNode | null = null;
  for (let above: PortNode | null = provider; above !== null && common === null; above = above.upstream) {
    if (redirectsPeers(above)) redirecting.push(above);
    distanceOfClient = 0;
    let below: PortNode | null = client;
    while (below !== null && below !== above) {
      below = below.upstream;
      distanceOfClient += 1;
    }
    if (below === null) distanceOfProvider += 1;
    else common = above;
  }
  const distance = distanceOfProvider + distanceOfClient;
  const messages: string[] = [];
  if (common !== null) {
    for (let below: PortNode | null = client; below !== null && below !== common; below = below.upstream) {
      if (redirectsPeers(below)) redirecting.push(below);
    }
    if (redirecting.length === 0) return { type: 'bus_addr', distance, messages };
    const ports = redirecting.map((port) => port.name).join(';');
    messages.push(
      `ACS redirect is set between the client and provider (${provider.name})`,
      `to disable ACS redirect for this path, add the kernel parameter: pci=disable_acs_redir=${ports}`,
    );
  }
  if (cpuSupportsP2pdma(cpu)) return { type: 'thru_host_bridge', distance, messages };
  const refusing = refusingHostBridges(provider.hostBridge, client.hostBridge);
  if (refusing.length === 0) return { type: 'thru_host_bridge', distance, messages };
  // the kernel hands its "redirect seen" to the parameter that asks for a warning, so only then the bridge is named
  if (common !== null) for (const bridge of refusing) messages.push(...unlistedMessage(bridge));
  messages.push(
    `cannot be used for peer-to-peer DMA as the client and provider (${provider.name}) do not share an upstream bridge or whitelisted host bridge`,
  );
  return { type: 'not_supported', distance, messages };
}

/** `cpu_supports_p2pdma`: every AMD processor since Zen. */
function cpuSupportsP2pdma(cpu: CpuIdentity): boolean {
  return cpu.vendor === 'amd' && cpu.family >= FIRST_ZEN_FAMILY;
}

/** `host_bridge_whitelist`: those of the two that stand in the way; the kernel stops at the first. */
function refusingHostBridges(provider: HostBridge, client: HostBridge): readonly HostBridge[] {
  if (provider === client) return passesPeers(provider, true) ? [] : [provider];
  if (!passesPeers(provider, false)) return [provider];
  return passesPeers(client, false) ? [] : [client];
}

function passesPeers({ identity }: HostBridge, sameBridge: boolean): boolean {
  if (identity === null) return false;
  if (identity.vendorId === GOOGLE) return true;
  if (identity.vendorId !== INTEL) return false;
  return INTEL_ANY_BRIDGE.has(identity.deviceId) || (sameBridge && INTEL_ONE_BRIDGE.has(identity.deviceId));
}

/** A bridge that is on the list for one bridge only says nothing. */
function unlistedMessage({ name, identity }: HostBridge): readonly string[] {
  if (identity === null || (identity.vendorId === INTEL && INTEL_ONE_BRIDGE.has(identity.deviceId))) return [];
  const hex = (value: number): string => value.toString(16).padStart(4, '0');
  return [`Host bridge ${name} not in P2PDMA whitelist: ${hex(identity.vendorId)}:${hex(identity.deviceId)}`];
}
