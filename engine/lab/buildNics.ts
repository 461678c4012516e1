/** The RDMA adapters of a lab, each with another host at the other end of its cable, whose own side limits nothing. */
import { FarHost } from '../devices/rdmaNic/farHost.ts';
import { RdmaNic, type RdmaNicOptions } from '../devices/rdmaNic/rdmaNic.ts';
import { nanoseconds } from '../time/picoseconds.ts';
import type { AttachedDevice, DeviceSurroundings } from './buildDevices.ts';
import type { PartOf } from './schema.ts';

export interface MachineNic extends AttachedDevice {
  readonly kind: 'nic';
  readonly nic: RdmaNic;
  readonly farHost: FarHost;
  /** Payload of one packet. */
  readonly packetBytes: number;
}

/** Bits on the cable in a byte, and picoseconds in which a cable of 1 Gb/s carries a bit. */
const BITS = 8;
const PICOSECONDS_PER_BIT = 1000;
/** Preamble, Ethernet, IP, UDP, base transport header, checksums and the gap between frames of RoCE v2. */
const PACKET_OVERHEAD_BYTES = 82;
const TABLE_WAYS = 4;
/** In a microsecond. */
const NANOSECONDS = 1000;
/** The least of the RNR timers that drivers set for connections to memory on demand; assumed. */
const NOT_READY_DELAY = nanoseconds(10_000);
const FAR_LINK = {
  generation: 5,
  lanes: 16,
  maxPayloadSize: 512,
  maxReadRequestSize: 4096,
  propagation: nanoseconds(10),
};

export function buildNic(
  attached: AttachedDevice,
  part: PartOf<'nic'>,
  { events, costs }: DeviceSurroundings,
): MachineNic {
  const options: RdmaNicOptions = {
    mtu: part.maxPacketBytes,
    picosecondsPerByte: (BITS * PICOSECONDS_PER_BIT) / part.gigabitsPerSecond,
    packetOverheadBytes: PACKET_OVERHEAD_BYTES,
    packetInterval: nanoseconds(part.packetNs),
    propagation: nanoseconds(part.cableNs),
    notReadyDelay: NOT_READY_DELAY,
    faultEvent: nanoseconds(part.pageFaultUs * NANOSECONDS),
    resume: nanoseconds(part.resumeUs * NANOSECONDS),
    faultEvents: 64,
    tableCache: { sets: part.tableCacheLines / TABLE_WAYS, ways: TABLE_WAYS },
  };
  const farHost = new FarHost({ events, link: FAR_LINK, costs: costs.fabric, nic: options });
  return {
    ...attached,
    kind: 'nic',
    nic: new RdmaNic(attached.port, events, options),
    farHost,
    packetBytes: options.mtu,
  };
}
