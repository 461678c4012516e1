/**
 * What a region of memory and a work request cost their CPU outside the DMA API. No published figure was found for the verbs' own share, so
 * the values are assumed and stand here by name to be changed.
 * Leaves out: system calls and the copy of their arguments, huge pages pinned at once.
 */
import type { Picoseconds } from '../../time/picoseconds.ts';
import { resolveDriverCosts, type DriverCostParameter } from '../driverCosts.ts';

export type RdmaCostName =
  | 'rdmaPinBatch'
  | 'rdmaPinPage'
  | 'rdmaUnpinPage'
  | 'rdmaAppendVector'
  | 'rdmaFindPageSize'
  | 'rdmaTableEntry'
  | 'rdmaUmrPost'
  | 'rdmaCacheLookup'
  | 'rdmaPostRequest'
  | 'rdmaDoorbell'
  | 'rdmaPollCompletion';

type RdmaCostParameter = DriverCostParameter<RdmaCostName>;

const NOT_PUBLISHED = 'no published figure was found';

const PARAMETERS: readonly RdmaCostParameter[] = [
  parameter('rdmaPinBatch', 150, 'pin_user_pages_fast itself, for at most 512 pages'),
  parameter('rdmaPinPage', 20, 'each page pinned: the walk to its entry and an atomic count of its folio'),
  parameter('rdmaUnpinPage', 10, 'each page unpinned, and marked dirty where the adapter may have written'),
  parameter('rdmaAppendVector', 5, 'each contiguous run that is appended to the list of a region'),
  parameter('rdmaFindPageSize', 4, 'each run that the search for the best page size looks at'),
  parameter('rdmaTableEntry', 2, 'each entry of an adapter’s table written into the buffer of a work request'),
  parameter('rdmaUmrPost', 120, 'building and posting one UMR work request, without the wait for the adapter'),
  parameter('rdmaCacheLookup', 60, 'looking for a key of the right size among those kept'),
  parameter('rdmaPostRequest', 50, 'building one work request, without its doorbell'),
  parameter('rdmaDoorbell', 30, 'each doorbell: a posted write to the adapter, as the CPU sees it'),
  parameter('rdmaPollCompletion', 25, 'each completion taken from its queue'),
];

export type RdmaCosts = Readonly<Record<RdmaCostName, Picoseconds>>;

export function rdmaCostParameters(): readonly RdmaCostParameter[] {
  return PARAMETERS;
}

/** Overrides replace values by name, in ns. */
export function resolveRdmaCosts(overrides: Readonly<Partial<Record<RdmaCostName, number>>> = {}): RdmaCosts {
  return resolveDriverCosts(PARAMETERS, overrides);
}

function parameter(name: RdmaCostName, value: number, help: string): RdmaCostParameter {
  return { name, value, unit: 'ns', source: NOT_PUBLISHED, mark: 'assumed', help };
}
