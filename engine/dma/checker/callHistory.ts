/**
 * The calls that touched one mapping, oldest first, bounded: the first ones say how it came about, the last ones how it came
 * to the misuse, and what lies between is only counted. Arguments are kept as numbers and put into words when a misuse is
 * reported, which is rare.
 */
import { dmaDirectionName } from './misuseMessages.ts';
import type { CheckedCall } from './misuse.ts';

const FIRST_CALLS = 8;
const LAST_CALLS = 24;

/** Arguments by their names in the kernel. */
export type CallArguments = Readonly<Record<string, number>>;

export interface RecordedCall {
  readonly at: number;
  readonly cpu: number;
  readonly name: string;
  readonly arguments: CallArguments;
}

export class CallHistory {
  omitted = 0;
  private readonly first: RecordedCall[] = [];
  private readonly last: RecordedCall[] = [];

  add(call: RecordedCall): void {
    if (this.first.length < FIRST_CALLS) {
      this.first.push(call);
      return;
    }
    this.last.push(call);
    if (this.last.length > LAST_CALLS) {
      this.last.shift();
      this.omitted += 1;
    }
  }

  /** Calls so far, kept or not. */
  get total(): number {
    return this.first.length + this.last.length + this.omitted;
  }

  describe(): CheckedCall[] {
    return [...this.first, ...this.last].map((call) => ({ at: call.at, cpu: call.cpu, text: describeCall(call) }));
  }
}

export function describeCall(call: Pick<RecordedCall, 'name' | 'arguments'>): string {
  const words = Object.entries(call.arguments).map(([name, value]) => `${name}=${describeArgument(name, value)}`);
  return `${call.name}(${words.join(', ')})`;
}

function describeArgument(name: string, value: number): string {
  if (name === 'dir') return dmaDirectionName(value);
  if (name === 'nents' || name === 'result' || name === 'cpu' || value < 0) return String(value);
  return `0x${value.toString(16)}`;
}
