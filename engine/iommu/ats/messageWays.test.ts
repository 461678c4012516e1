/**
 * What translation requests, page requests and their responses take below switches (PCI Express Base Specification 1.3.3, 10.2, 10.4):
 * every link and switch on the way, up and down, with links of several widths so that none can stand for another.
 */
import { expect, test } from 'vitest';
import { ATS_READ } from '../../pcie/atsMessages.ts';
import { Link } from '../../pcie/link.ts';
import { PageRequestInterface } from '../../pcie/pageRequestInterface.ts';
import { NO_PASID, type AtsTranslator } from '../../pcie/translator.ts';
import { SwitchTiming, Way } from '../../pcie/way.ts';
import { EventQueue } from '../../time/eventQueue.ts';
import { nanoseconds, picoseconds } from '../../time/picoseconds.ts';
import { answerOfFaultReason, ATS_SUCCESS, TranslationAgent } from './translationAgent.ts';

const ROOT_COMPLEX = nanoseconds(90);
const WALK = nanoseconds(400);
/** From the root down: lanes and one way over the link, and the switch below it. */
const STEPS = [
  { lanes: 16, propagation: nanoseconds(120), latency: nanoseconds(100) },
  { lanes: 8, propagation: nanoseconds(70), latency: nanoseconds(130) },
  { lanes: 4, propagation: nanoseconds(30), latency: nanoseconds(0) },
] as const;
const REQUEST = 24;
const COMPLETION_OF_ONE_ENTRY = 20 + 8;

/** Third generation: 7.88 Gb/s a lane. */
const wire = (bytes: number, lanes: number): number => Math.ceil((bytes * 8000) / (7.88 * lanes));

function wayBelow(switches: number): Way {
  let way: Way | null = null;
  for (const [index, { lanes, propagation }] of STEPS.slice(0, switches + 1).entries()) {
    const link = new Link({ generation: 3, lanes, maxPayloadSize: 256, maxReadRequestSize: 512, propagation });
    const above = STEPS[index - 1];
    way = new Way(link, above === undefined ? null : new SwitchTiming({ latency: above.latency }), way);
  }
  return way!;
}

/** One way between function and root complex, by adding up. */
function oneWay(bytes: number, switches: number): number {
  let sum = 0;
  for (let step = 0; step <= switches; step += 1) sum += wire(bytes, STEPS[step]!.lanes) + STEPS[step]!.propagation;
  for (let step = 0; step < switches; step += 1) sum += STEPS[step]!.latency;
  return sum;
}

test.each([0, 1, 2])('below %i switches a translation request takes every link there and back (10.2)', (switches) => {
  const asked: number[] = [];
  const translator: AtsTranslator = {
    atsEnabled: true,
    physPage: 7,
    sizePages: 1,
    permissions: 3,
    fault: 0,
    readyAt: picoseconds(0),
    translationRequest(_sourceId, _pasid, _page, _write, at) {
      asked.push(at);
      (this as { readyAt: number }).readyAt = at + WALK;
      return true;
    },
  };
  const way = wayBelow(switches);
  const agent = new TranslationAgent({ translator, way, rootComplex: ROOT_COMPLEX, answerOf: answerOfFaultReason });
  expect(agent.request(0x300, NO_PASID, 5, 1, false, picoseconds(0))).toBe(ATS_SUCCESS);
  const arrives = oneWay(REQUEST, switches) + ROOT_COMPLEX;
  expect(asked).toEqual([arrives]);
  expect(agent.readyAt).toBe(arrives + WALK + ROOT_COMPLEX + oneWay(COMPLETION_OF_ONE_ENTRY, switches));
});

test.each([0, 1, 2])('below %i switches a page request and its response take every link (10.4)', (switches) => {
  const events = new EventQueue();
  const seen: number[] = [];
  const SERVICE = nanoseconds(2000);
  const target = {
    pageRequest: () => {
      seen.push(events.now);
      device.respond(0, picoseconds(events.now + SERVICE));
    },
  };
  const device = new PageRequestInterface({
    sourceId: 0x300,
    events,
    way: wayBelow(switches),
    rootComplex: ROOT_COMPLEX,
    target,
    allocation: 4,
  });
  device.request(NO_PASID, 5, 1, ATS_READ, () => seen.push(events.now));
  while (events.step());
  const arrives = oneWay(REQUEST, switches) + ROOT_COMPLEX;
  expect(seen).toEqual([arrives, arrives + SERVICE + ROOT_COMPLEX + oneWay(REQUEST, switches)]);
});
