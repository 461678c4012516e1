import { expect, it } from 'vitest';
import type { RunFrame } from '../../engine/lab/runTypes.ts';
import type { FrameDelivery } from '../ipc/contract.ts';
import { FrameChannel } from './frameChannel.ts';

function page() {
  const got: string[] = [];
  let listener: (event: { data: unknown }) => void = () => undefined;
  return {
    got,
    answer: (data: unknown) => listener({ data }),
    port: {
      postMessage: ({ frame }: FrameDelivery) => got.push(`${frame.comparisonId}${frame.count}`),
      on: (_event: 'message', next: typeof listener) => (listener = next),
      start: () => undefined,
      close: () => got.push('closed'),
    },
  };
}

const frame = (comparisonId: string, count: number) => ({ comparisonId, count }) as RunFrame;

it('keeps only the newest frame of each run for a page that lags', () => {
  const channel = new FrameChannel();
  const { got, answer, port } = page();
  channel.attach(port);
  for (let count = 0; count < 100; count++) {
    channel.send(1, frame('a', count));
    channel.send(1, frame('b', count));
  }
  expect(got).toEqual(['a0', 'b0']);
  answer({ credit: 'a' });
  expect(got).toEqual(['a0', 'b0', 'a99']);
  answer({ credit: 'a' });
  answer({ credit: 'a' });
  channel.send(1, frame('a', 100));
  expect(got).toEqual(['a0', 'b0', 'a99', 'a100']);
});

it('takes no credit that was not owed, and no nonsense', () => {
  const channel = new FrameChannel();
  const { got, answer, port } = page();
  channel.attach(port);
  for (const data of [null, 1, 'a', {}, { credit: 1 }, { credit: 'nobody' }]) answer(data);
  channel.send(1, frame('a', 0));
  expect(got).toEqual(['a0']);
});

it('starts afresh with a page that was loaded again', () => {
  const channel = new FrameChannel();
  const first = page();
  const second = page();
  channel.attach(first.port);
  channel.send(1, frame('a', 0));
  channel.attach(second.port);
  channel.send(1, frame('a', 1));
  first.answer({ credit: 'a' });
  channel.send(1, frame('a', 2));
  expect(first.got).toEqual(['a0', 'closed']);
  expect(second.got).toEqual(['a1']);
});
