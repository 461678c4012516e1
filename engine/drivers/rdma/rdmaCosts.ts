/**
 * What a region of memory and a work request cost their CPU outside the DMA API. No published figure was found for the verbs' own share, so
 * the values are assumed and stand here by name to be changed.
 * Leaves out: system calls and the copy of their arguments, huge pages pinned at once.
 */
import { LabError } from '../../time/labError.ts';
import { nanoseconds, type Picoseconds } from '../../time/picoseconds.ts';

type RdmaCostName =
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

interface RdmaCostParameter {
  readonly name: RdmaCostName;
  readonly value: number;
  readonly unit: 'ns';
  readonly source: string;
  readonly mark: 'measured' | 'derived' | 'assumed';
  readonly help: string;
}

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

/** Turns the parameters into picoseconds. Overrides replace values by name, in ns. */
export function resolveRdmaCosts(overrides: Readonly<Partial<Record<RdmaCostName, number>>> = {}): RdmaCosts {
  const cost = ({ name, value }: RdmaCostParameter): [RdmaCostName, Picoseconds] => {
    const chosen = overrides[name] ?? value;
    if (!Number.isFinite(chosen) || chosen < 0) {
      const problem = `${String(chosen)} is no cost.`;
      throw new LabError(`costs.overrides.${name}`, problem, 'Give a number of ns that is 0 or more.');
    }
    return [name, nanoseconds(chosen)];
  };
  return Object.fromEntries(PARAMETERS.map(cost)) as Record<RdmaCostName, Picoseconds>;
}

function parameter(name: RdmaCostName, value: number, help: string): RdmaCostParameter {
  return { name, value, unit: 'ns', source: NOT_PUBLISHED, mark: 'assumed', help };
}
