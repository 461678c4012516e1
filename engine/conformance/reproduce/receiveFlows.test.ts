import { describe, expect, it } from 'vitest';
import { FANDS_PARAMETERS, FandsMachine, RECEIVE_MODES, type FandsParameters } from './fandsMachine.ts';

function receive(flows: number, packets: number, changes: Partial<FandsParameters> = {}): FandsMachine {
  const machine = new FandsMachine(flows, 256, RECEIVE_MODES.strict, 1, { ...FANDS_PARAMETERS, ...changes });
  machine.receive(packets);
  return machine;
}

describe('receiving flows', () => {
  it('take every packet that found room, each once', () => {
    const machine = receive(10, 5_000);
    machine.close();
    expect(machine.nic.refused).toBe(0);
    expect(machine.flows.packets).toBe(machine.nic.packets);
  });

  it('lose more packets the more senders share the buffer of the adapter (RFC 5681)', () => {
    const lost = (flows: number): number => receive(flows, 30_000).nic.drops;
    const few = lost(5);
    expect(few).toBeGreaterThan(0);
    expect(lost(40)).toBeGreaterThan(3 * few);
  });

  it('lose fewer with a larger buffer', () => {
    const lost = (packetsBuffered: number): number => receive(20, 30_000, { packetsBuffered }).nic.drops;
    expect(lost(32)).toBeGreaterThan(lost(256));
  });

  it('lose next to nothing with one flow, which the window of its socket holds back', () => {
    expect(receive(1, 20_000).nic.drops).toBeLessThan(20);
  });

  it('unmap more when senders wait longer for what they lost', () => {
    const unmaps = (retransmissionTime: number): number =>
      receive(40, 60_000, { retransmissionTime }).counters.get('iommuUnmaps');
    expect(unmaps(200_000)).toBeGreaterThan(1.2 * unmaps(2_000));
  });
});
