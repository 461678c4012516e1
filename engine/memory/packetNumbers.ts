/**
 * With what a packet of an emulated flow begins, so that whoever finds it in memory knows which it is: its number in the flow, and the count
 * of packets that the flow had sent before it, both 32 bits, little-endian. Our own invention.
 */

export const SEQUENCE_BYTES = 8;

export function numberOf(packet: DataView): number {
  return packet.getUint32(0, true);
}

/** How many packets its flow had sent before it. */
export function orderOf(packet: DataView): number {
  return packet.getUint32(4, true);
}
