/**
 * How the points of a page-fault measurement are called: a size (`64KiB`), the whole message in faults of at most what the adapter
 * takes at once; `ats_pri_one_page_SIZE`, one page a request; `SIZE_batch_N`, faults of at most N pages.
 */
export interface FaultingMessage {
  readonly bytes: number;
  /** Faults of at most so many pages; null: what the adapter takes. */
  readonly batch: number | null;
  /** By page requests, one page each, instead of the adapter's own paging. */
  readonly pageRequests: boolean;
}

const POINT = /^(?<paging>ats_pri_one_page_)?(?<size>\d{1,9})(?<unit>B|KiB|MiB)(?:_batch_(?<batch>\d{1,6}))?$/;
const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20 };
const LARGEST_MESSAGE = 2 ** 28;

/** Null: it names no message that can be run. */
export function faultingMessage(name: string): FaultingMessage | null {
  const groups = POINT.exec(name)?.groups;
  const bytes = Number(groups?.['size']) * (UNITS[groups?.['unit'] ?? ''] ?? NaN);
  const batch = groups?.['batch'] === undefined ? null : Number(groups['batch']);
  if (!(bytes >= 1 && bytes <= LARGEST_MESSAGE) || batch === 0) return null;
  return { bytes, batch, pageRequests: groups?.['paging'] !== undefined };
}

export function isMessage(name: string): boolean {
  return faultingMessage(name) !== null;
}
