/**
 * Names of the SMMUv3: events by their mnemonics (Arm SMMUv3 specification IHI 0070, 7.3), and levels of lookup as Arm numbers them (Arm DDI
 * 0487, D8.2): 3 has the pages, and a lookup begins at 0, or later where addresses are short. What is read of streams is kept in
 * configuration caches (IHI 0070, 3.21.1).
 */
import {
  FAULT_CONTEXT_NOT_PRESENT,
  FAULT_RESERVED_BITS,
  FAULT_ROOT_NOT_PRESENT,
  FAULT_TYPE_BLOCKED,
  OWN_FAULT,
} from '../faults.ts';
import {
  hexadecimal,
  isDenied,
  lacksPermission,
  pageTableWords,
  type FaultPlace,
  type VendorNames,
} from '../faultNames.ts';
import {
  C_BAD_CD,
  C_BAD_STE,
  C_BAD_STREAMID,
  C_BAD_SUBSTREAMID,
  F_ACCESS,
  F_CD_FETCH,
  F_PERMISSION,
  F_STE_FETCH,
  F_STREAM_DISABLED,
  F_TRANSLATION,
} from './smmuEvents.ts';

const F_BAD_ATS_TREQ = 0x05;
const LAST_LEVEL = 3;

const EVENTS: ReadonlyMap<number, readonly [name: string, words: string]> = new Map([
  [C_BAD_STREAMID, ['C_BAD_STREAMID', 'the stream table has no entry for the StreamID']],
  [F_STE_FETCH, ['F_STE_FETCH', 'the stream table entry cannot be read']],
  [C_BAD_STE, ['C_BAD_STE', 'the stream table entry is not valid']],
  [F_BAD_ATS_TREQ, ['F_BAD_ATS_TREQ', 'the stream table entry does not allow translation requests']],
  [F_STREAM_DISABLED, ['F_STREAM_DISABLED', 'stage 1 does not take transactions without a SubstreamID']],
  [C_BAD_SUBSTREAMID, ['C_BAD_SUBSTREAMID', 'the stream has no such SubstreamID']],
  [F_CD_FETCH, ['F_CD_FETCH', 'the context descriptor cannot be read']],
  [C_BAD_CD, ['C_BAD_CD', 'the context descriptor is not valid']],
  [F_TRANSLATION, ['F_TRANSLATION', '']],
  [F_ACCESS, ['F_ACCESS', '']],
  [F_PERMISSION, ['F_PERMISSION', '']],
]);

export const SMMU_NAMES: VendorNames = {
  deviceCache: 'configuration cache',
  deviceEntries: 'stream table entry and context descriptor',
  level: (level) => LAST_LEVEL - level,
  fault: (reason, place) => {
    if (reason === FAULT_CONTEXT_NOT_PRESENT) {
      return { number: 0, code: 'no event', words: 'the stream table entry aborts every transaction' };
    }
    const number = eventOf(reason, place);
    const [name, words] = EVENTS.get(number) ?? ['', ''];
    const stage = place.tables === 'second' ? ', stage 2' : '';
    return {
      number,
      code: `event ${hexadecimal(number)}, ${name}${stage}`,
      words: words === '' ? pageTableWords(reason, place) : words,
    };
  },
};

function eventOf(reason: number, place: FaultPlace): number {
  if (reason >= OWN_FAULT) return reason - OWN_FAULT;
  if (reason === FAULT_TYPE_BLOCKED) return F_BAD_ATS_TREQ;
  if (reason === FAULT_ROOT_NOT_PRESENT) return C_BAD_STREAMID;
  if (reason === FAULT_RESERVED_BITS || !isDenied(reason) || place.permissions === 0) return F_TRANSLATION;
  return lacksPermission(place) ? F_PERMISSION : F_ACCESS;
}
